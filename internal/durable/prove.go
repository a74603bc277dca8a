package durable

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"
)

// What merges have left is proven complete by counting their tables, see merges, or else by
// comparing all records with the journal: while the database is open, soon after each merge;
// before a snapshot replaces what the journal has; and when a database is opened in which
// there were merges that had not been proven complete before.

// proving is what has been proven of the merges.
type proving struct {
	proofs sync.Mutex // held while something is being proven
	merges *merges    // of the open Badger
	proven int64      // the merges that the manifest names before are complete
	asOf   manifestState
	// unrecorded is what recordProof has to record, or nil.
	unrecorded *provenRecord
}

// manifestState is by what it is recognised that nothing was merged since.
type manifestState struct {
	size  int64
	ended int
}

// provenRecord says up to where in the manifest the merges are complete.
type provenRecord struct {
	Manifest int64  // size in bytes, up to the end of an entry
	Sum      []byte // SHA-256 of that
}

// errMergeLost is returned if a merge has left out a table with something that was
// acknowledged.
var errMergeLost = errors.New("tables were merged, and one could not be created, probably because a quota, or the inodes, open files or memory were used up: raise what is. What was in that table is missing, except in the journal")

// watchInterval is how often to look for merges.
const watchInterval = time.Second

// retryProof is when to try again what could not be found out.
const retryProof = 10 * time.Second

// watchMerges has the files rebuilt if a merge has lost something.
func (db *DB) watchMerges(ctx context.Context) {
	wait := time.NewTimer(watchInterval)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		next := watchInterval
		if err := db.proveSoFar(ctx); err != nil && ctx.Err() == nil {
			next = retryProof
		}
		wait.Reset(next)
	}
}

// proveSoFar proves the merges that have ended, or has the files rebuilt.
func (db *DB) proveSoFar(ctx context.Context) error {
	if err := db.unusable.why(); err != nil {
		return err
	}
	if err := db.failed.why(); err != nil {
		return err
	}
	var err error
	if db.merged() {
		err = db.prove(ctx, 0, db.readUnfailed)
	}
	if f := db.faults.Load(); f != nil && f.MergeLost != nil && f.MergeLost() {
		err = errMergeLost
	}
	switch {
	case err == nil:
		err = db.recordProof(db.Note)
	case ctx.Err() != nil, isImmutable(err): // which has been reported
	case errors.Is(err, errMergeLost):
		db.rebuildOpened(ctx, err)
	default:
		db.log.Error("could not find out whether merging the key store's tables was complete: trying again", zap.String("path", db.path), zap.Error(Advise(err)))
	}
	return err
}

func isImmutable(err error) bool {
	_, is := errors.AsType[*ImmutableError](err)
	return is
}

// merged reports whether there may have been merges since the last proof.
func (db *DB) merged() bool {
	db.proofs.Lock()
	defer db.proofs.Unlock()
	return db.asOf != db.manifestState()
}

func (db *DB) manifestState() (s manifestState) {
	_, s.ended = db.merges.count()
	if info, err := os.Stat(filepath.Join(db.path, badger.ManifestFilename)); err == nil {
		s.size = info.Size()
	}
	return s
}

// patientProof is how long a snapshot waits for merges in progress. Those that take longer
// had not replaced any table when it began.
const patientProof = 2 * time.Second

// prove proves the merges that have ended, or returns errMergeLost. While others are in
// progress, that can be undecided for a moment: with patience, it waits for them.
func (db *DB) prove(ctx context.Context, patience time.Duration, read func() (journalRead, error)) error {
	db.proofs.Lock()
	defer db.proofs.Unlock()
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) { // Badger does not notify
		asOf := db.manifestState()
		found, err := db.merges.look(db.path, db.proven)
		if err != nil {
			return err
		}
		upTo := int64(len(found.content))
		switch {
		case found.state == mergesOpen && time.Since(begun) < patience && ctx.Err() == nil:
			continue
		case found.state == mergesOpen:
			return ctx.Err()
		case found.state == mergesDoubtful:
			if err := db.compareMerged(ctx, &found, read); err != nil {
				return err
			}
			upTo = min(upTo, db.merges.excuse(&found))
			if found.replaced {
				db.proven = 0 // it was a place in another file
			}
		}
		if upTo > db.proven {
			db.proven = upTo
			if found.new {
				sum := sha256.Sum256(found.content[:upTo])
				db.unrecorded = &provenRecord{upTo, sum[:]}
			}
		}
		db.asOf = asOf
		return nil
	}
}

// compareMerged compares everything with the journal, because a table may be missing.
func (db *DB) compareMerged(ctx context.Context, found *mergesLook, read func() (journalRead, error)) (err error) {
	defer db.survive(&err)
	db.log.Info("comparing the key store's files with its journal, because a merge of tables may be incomplete", zap.String("path", db.path))
	j, err := read()
	if err == nil {
		err = db.compareWithJournal(j, Unpaced(ctx))
	}
	switch {
	case errors.Is(err, errDiffers):
		return fmt.Errorf("%w: %w", errMergeLost, err)
	case errors.Is(err, errSnapshot): // which is replaced for that
		db.log.Error("a merge of the key store's tables may have been incomplete, and the snapshot in its journal, which would show that, is damaged: check that the keys that were revoked are", zap.String("path", db.path), zap.Error(err))
		return nil
	case err == nil && found.off > 0:
		db.log.Warn("a table could not be created when the key store's tables were merged: last-used times may be lost, but nothing else. Find out whether a quota, or the inodes, open files or memory are used up", zap.String("path", db.path))
	}
	return err
}

// recordProof records up to where the merges are complete, if that is new.
func (db *DB) recordProof(note func(func(*Txn) error) error) error {
	db.proofs.Lock()
	defer db.proofs.Unlock()
	if db.unrecorded == nil {
		return nil
	}
	err := note(func(txn *Txn) error { return save(txn, provenKey, db.unrecorded) })
	if err == nil {
		db.unrecorded = nil
	}
	return err
}

// provenIn returns up to where in the manifest the merges were proven complete when the
// database was open before.
func (db *DB) provenIn(manifest []byte) (upTo int64, err error) {
	var record provenRecord
	err = db.view(func(txn *Txn) error { return load(txn, provenKey, &record) })
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	if n := record.Manifest; err == nil && n > 0 && n <= int64(len(manifest)) {
		if sum := sha256.Sum256(manifest[:n]); bytes.Equal(sum[:], record.Sum) {
			upTo = n
		}
	}
	return upTo, err
}
