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

// errUnsettled says that Badger has more than one log: a snapshot is only begun
// when all that it makes superfluous is in tables, or in the one log before the
// mark of the snapshot.
var errUnsettled = errors.New("a table of Badger is being written")

// Snapshot has a snapshot take the place of the journal's entries so far. Changes are
// made meanwhile. It fails where Badger is writing a table for long.
func (db *DB) Snapshot(ctx context.Context) error {
	db.snapshotting.Lock()
	defer db.snapshotting.Unlock()
	db.changes.Lock()
	txn, w, err := db.beginSettled(db.journal, time.Second)
	db.changes.Unlock()
	if err != nil {
		return err
	}
	defer txn.Discard()
	// What is read must not be worse than the journal that it takes the place of.
	err = db.badger.VerifyChecksum()
	if err == nil {
		err = writeSnapshot(db.Pacer(ctx), txn, w)
	}
	if err != nil {
		return errors.Join(err, w.Discard())
	}
	db.changes.Lock()
	defer db.changes.Unlock()
	return w.Commit()
}

// beginSettled begins a snapshot once Badger has written its tables. No change is
// made meanwhile, so that takes the time of one table.
func (db *DB) beginSettled(of *journal.Journal, patience time.Duration) (*badger.Txn, *journal.SnapshotWriter, error) {
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) { // Badger does not say when
		txn, w, err := db.beginSnapshot(of)
		if !errors.Is(err, errUnsettled) || time.Since(begun) > patience {
			return txn, w, err
		}
	}
}

// firstSnapshot makes one for a journal that nobody else writes to, of a database that
// nobody else uses.
func (db *DB) firstSnapshot(to *journal.Journal) error {
	txn, w, err := db.beginSettled(to, 10*time.Second)
	if err != nil {
		return err
	}
	defer txn.Discard()
	if err := writeSnapshot(Unpaced(context.Background()), txn, w); err != nil {
		return errors.Join(err, w.Discard())
	}
	return w.Commit()
}

// beginSnapshot returns a snapshot to be written, and the transaction that has
// what it is of.
func (db *DB) beginSnapshot(of *journal.Journal) (*badger.Txn, *journal.SnapshotWriter, error) {
	if err := db.spareSpace(); err != nil {
		return nil, nil, err
	}
	before, err := filesWith(db.path, ".mem")
	if err != nil || len(before) != 1 {
		return nil, nil, errors.Join(errUnsettled, err)
	}
	// Before it was that one log, everything was in tables.
	files, err := footprintOf(db.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, errUnsettled
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
		return nil, nil, errors.Join(errUnsettled, err)
	}
	w, err := of.Snapshot(db.WhileSpace)
	if err != nil {
		return nil, nil, err
	}
	return db.badger.NewTransaction(false), w, nil
}

// writeSnapshot writes all that is in the database, but for what it has of the
// journal itself.
func writeSnapshot(pacer *Pacer, txn *badger.Txn, w *journal.SnapshotWriter) error {
	t := &Txn{badger: txn}
	for key, value := range t.Below(nil) {
		if err := pacer.Step(); err != nil {
			return err
		}
		if bytes.Equal(key, journaledKey) || bytes.Equal(key, baseKey) {
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
