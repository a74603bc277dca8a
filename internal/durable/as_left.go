package durable

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/agiled/caddy-api-keys/internal/durable/journal"
)

// openAsLeft opens Badger without reading all tables, if the last stop has noted that the
// files are complete, and they are unchanged. If it returns false, nothing has been
// found out: everything is to be read, as after a crash.
func (db *DB) openAsLeft(tail *journal.Tail) (opened bool, err error) {
	note, err := db.takeNote()
	if err != nil || note == nil || tail.Torn != nil {
		return false, err
	}
	if err := db.tryOpenAsLeft(note); err != nil {
		db.log.Info("the key store's files are not as they were left: reading all of them", zap.String("path", db.path), zap.Error(err))
		db.unexamined.Store(nil)
		return false, db.closeOpened()
	}
	db.kept = note.Kept
	return true, nil
}

func (db *DB) closeOpened() error {
	if db.badger == nil {
		return nil
	}
	defer func() { db.badger = nil }()
	return db.badger.Close()
}

func (db *DB) tryOpenAsLeft(note *stopNote) error {
	content, manifest, err := wholeManifest(db.path)
	if err != nil {
		return err
	}
	tables, err := examineEnds(db.path, &manifest)
	if err != nil {
		return err
	}
	if !maps.Equal(tables, note.Tables) {
		return errors.New("there are other tables")
	}
	if err := db.openBadger(); err != nil {
		return err
	}
	if mergesDue(db.badger) {
		return errors.New("there are tables to merge")
	}
	if got := len(db.badger.Tables()); got != len(note.Tables) {
		return fmt.Errorf("%d of %d tables were opened", got, len(note.Tables))
	}
	db.unexamined.Store(newUnexamined(db.path, db.badger))
	return db.checkAsLeft(content)
}

// checkAsLeft returns an error if the database does not end where its journal does, or if
// there were merges that have not been proven complete.
func (db *DB) checkAsLeft(manifest []byte) error {
	version, err := db.schema()
	if err != nil {
		return err
	}
	stored, err := db.marks()
	switch {
	case err != nil:
		return err
	case version == 0 || stored.position != db.journal.End() || stored.base.Number < db.journal.Base().Number:
		return errors.New("they do not end where the journal does")
	}
	upTo, err := db.provenIn(manifest)
	if err != nil {
		return err
	}
	_, merged, err := mergedIn(manifest, upTo)
	if err == nil && merged {
		err = errors.New("tables were merged just before")
	}
	db.proven = int64(len(manifest))
	return err
}

// examineEnds verifies what Badger reads of each table when it opens it: it would leave
// out a table with a damaged index, or panic. It returns the checksums of the indexes.
func examineEnds(path string, manifest *badger.Manifest) (map[uint64]uint64, error) {
	var workers errgroup.Group
	workers.SetLimit(maxTableReaders)
	var mu sync.Mutex
	sums := make(map[uint64]uint64)
	for id := range manifest.Tables {
		workers.Go(func() error {
			_, sum, err := readTableFile(table.NewFilename(id, path), lastBlock)
			mu.Lock()
			defer mu.Unlock()
			sums[id] = sum
			return err
		})
	}
	return sums, workers.Wait()
}

// examineAll examines the tables that were opened as they were left. If one is damaged,
// all files are rebuilt, as if that had been found at the start.
func (db *DB) examineAll(ctx context.Context) {
	u := db.unexamined.Load()
	if u == nil {
		return
	}
	err := u.all(ctx, db.Pacer(ctx), db.log)
	switch {
	case ctx.Err() != nil, db.unusable.why() != nil: // or it is being rebuilt for another reason
		u.end()
	case err != nil:
		db.rebuildOpened(ctx, err)
	default:
		err = db.forgetUnexamined()
		db.unexamined.Store(nil)
		u.end()
		if err != nil {
			db.log.Warn("could not record that all tables of the key store have been examined: a start after a crash rebuilds its files", zap.String("path", db.path), zap.Error(err))
			return
		}
		db.log.Debug("all tables of the key store have been examined", zap.String("path", db.path))
	}
}

// unusable is why a database cannot be used, while its files are rebuilt.
type unusable struct{ reason atomic.Pointer[error] }

func (u *unusable) why() error {
	if reason := u.reason.Load(); reason != nil {
		return *reason
	}
	return nil
}

// rebuildOpened rebuilds the files of a database that is in use. Until that is done,
// nothing is read or changed; if it fails, until the server is restarted. It waits until
// files can be written, which may be why they have to be rebuilt.
func (db *DB) rebuildOpened(ctx context.Context, reason error) {
	unusable := fmt.Errorf("%w: %w", ErrDamaged, reason)
	db.unusable.reason.Store(&unusable)
	if u := db.unexamined.Load(); u != nil {
		u.end()
	}
	if errors.Is(reason, errMergeLost) && db.options.Outdated != nil {
		db.options.Outdated()
	}
	db.gate.Lock()                      // waits for reads that began before
	db.unusable.reason.Store(&unusable) // again: wake may have opened Badger meanwhile
	db.endLook()
	db.unexamined.Store(nil)
	db.gate.Unlock()
	if db.awaitRebuildable(ctx, reason) != nil {
		return
	}
	db.snapshotting.Lock()
	defer db.snapshotting.Unlock()
	db.changes.Lock()
	defer db.changes.Unlock()
	tail, err := db.journal.Verify()
	if err == nil {
		err = db.closeAndRebuild(reason, tail)
	}
	if err == nil {
		err = db.forgetUnexamined()
	}
	if err == nil {
		db.opened, err = identify(db.path)
	}
	if err != nil {
		db.log.Error("the key store's files could not be rebuilt: nothing is read or changed", zap.String("path", db.path), zap.Error(err))
		return
	}
	db.unusable.reason.Store(nil)
	if db.upkeep != nil { // the owner may have something to renew
		signal(db.upkeep.owner)
	}
	db.wakeLater()
}

// retryRebuild is how often to look whether files can be rebuilt.
const retryRebuild = 2 * time.Second

// awaitRebuildable waits until Badger can be closed, which writes to the disk, and its files
// can be rebuilt.
func (db *DB) awaitRebuildable(ctx context.Context, reason error) error {
	for failed := ""; ; {
		err := db.checkWritable()
		if err == nil {
			err = db.roomToRebuild(reason)
		}
		if err == nil {
			return nil
		}
		if why := err.Error(); why != failed {
			failed = why
			db.log.Error("the key store's files have to be rebuilt, and cannot be yet: trying again. Until then, nothing is read or changed", zap.String("path", db.path), zap.Error(Advise(err)))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryRebuild):
		}
	}
}
