package durable

import (
	"bytes"
	"context"
	"errors"
	"os"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/agiled/caddy-api-keys/internal/durable/journal"
)

// errFlushing means that Badger has more than one log, as it does while it flushes
// a memtable. A snapshot starts only when everything that it makes obsolete is in
// tables, or precedes the snapshot's mark in the only log.
var errFlushing = errors.New("a table is still being written")

// Snapshot replaces the journal's entries so far with a snapshot, while changes
// continue. It fails if Badger keeps flushing for long.
func (db *DB) Snapshot(ctx context.Context) (err error) {
	defer db.survive(&err)
	db.snapshotting.Lock()
	defer db.snapshotting.Unlock()
	if err := db.unusable.why(); err != nil { // a failed rebuild has left only part of the contents
		return err
	}
	if err := db.failed.why(); err != nil {
		return err
	}
	db.changes.Lock()
	txn, w, err := db.beginWhenFlushed(db.journal, time.Second)
	db.changes.Unlock()
	if err != nil {
		return err
	}
	defer txn.Discard()
	// Damaged tables must not replace an intact journal.
	err = db.badger.VerifyChecksum()
	if err == nil {
		err = writeSnapshot(db.Pacer(ctx), db.txn(txn), w)
	}
	if err == nil { // nor must what a merge has left
		err = db.prove(ctx, patientProof, db.readUnfailed)
	}
	if err != nil {
		return errors.Join(err, w.Discard())
	}
	db.changes.Lock()
	defer db.changes.Unlock()
	return w.Commit()
}

// beginWhenFlushed starts a snapshot once Badger has finished flushing. No change
// is made meanwhile, so this takes no longer than writing one table.
func (db *DB) beginWhenFlushed(of *journal.Journal, patience time.Duration) (*badger.Txn, *journal.SnapshotWriter, error) {
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) { // Badger does not notify
		txn, w, err := db.beginSnapshot(of)
		if !errors.Is(err, errFlushing) || time.Since(begun) > patience {
			return txn, w, err
		}
	}
}

// firstSnapshot makes the first snapshot of a new journal. Nothing else uses the
// journal or the database meanwhile.
func (db *DB) firstSnapshot(to *journal.Journal) error {
	txn, w, err := db.beginWhenFlushed(to, 10*time.Second)
	if err != nil {
		return err
	}
	defer txn.Discard()
	if err := writeSnapshot(Unpaced(context.Background()), db.txn(txn), w); err != nil {
		return errors.Join(err, w.Discard())
	}
	return w.Commit()
}

// beginSnapshot starts a snapshot, and returns it with the transaction to read it
// from.
func (db *DB) beginSnapshot(of *journal.Journal) (*badger.Txn, *journal.SnapshotWriter, error) {
	if err := db.spareSpace(); err != nil {
		return nil, nil, err
	}
	before, err := filesWith(db.path, ".mem")
	if err != nil || len(before) != 1 {
		return nil, nil, errors.Join(errFlushing, err)
	}
	// When this log was started, everything before it was in tables.
	files, err := footprintOf(db.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, errFlushing
	}
	if err != nil {
		return nil, nil, err
	}
	if err := db.note(func(txn *Txn) error {
		before, err := loadBase(txn)
		return errors.Join(err, save(txn, baseKey, baseRecord{of.End().Number, files, before.Since}))
	}); err != nil {
		return nil, nil, err
	}
	after, err := filesWith(db.path, ".mem")
	if err != nil || len(after) != 1 || after[0] != before[0] {
		return nil, nil, errors.Join(errFlushing, err)
	}
	w, err := of.Snapshot(db.WhileSpace)
	if err != nil {
		return nil, nil, err
	}
	return db.badger.NewTransaction(false), w, nil
}

// writeSnapshot writes all keys, except those that record what is known of Badger's files.
func writeSnapshot(pacer *Pacer, t *Txn, w *journal.SnapshotWriter) error {
	for key, value := range t.Below(nil) {
		if err := pacer.Step(); err != nil {
			return err
		}
		if bytes.Equal(key, journaledKey) || bytes.Equal(key, baseKey) || bytes.Equal(key, provenKey) {
			continue
		}
		if err := w.Write(key, value); err != nil {
			return err
		}
	}
	if t.err != nil {
		return t.err
	}
	return w.Finish()
}
