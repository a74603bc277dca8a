// Package store keeps keys, workspaces and the audit trail: what they are as
// records, how they change, and how they are found, backed up and restored.
//
// It promises that a change is all there or not there at all, that it is on
// the disk before [Store.Apply] returns, and that its audit event was written
// in the same transaction. Package durable, below it, sees that none of it is lost.
// Reads and writes may be made from many goroutines, also while the store is
// being closed: they fail with [apikey.ErrStoreUnavailable] from then on, and
// Close waits for those under way.
package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"

	"github.com/maypok86/otter/v2"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// Store is an open key store. Its methods are safe for concurrent use. A nil
// *Store is a closed one.
type Store struct {
	db  *durable.DB
	log *zap.Logger

	// walks are under way over many records.
	walks *walks
	// versions count the changes to each workspace's keys.
	versions versions
	// counts remembers how many keys workspaces have.
	counts *otter.Cache[string, keyCounts]
	// filter knows the digests of all keys, or is nil. nextFilter is what will take its
	// place, while that is being filled.
	filter, nextFilter atomic.Pointer[digestFilter]
	backupKey          atomic.Pointer[apikey.BackupKey] // see SignWith
	// lastEvent is the id of the last change's event. It belongs to whoever has the turn.
	lastEvent string
	// onChange is told of every change after its commit, before the caller is.
	onChange func(apikey.Outcome)
}

// Open opens the store in the directory path, and makes it if there is none.
// onChange is called after each change is durable and before Apply returns; it
// may be nil. It must not wait for a read of the store: Close may be waiting for
// Apply, and lets no further read in.
//
// What was acknowledged is there afterwards, also where the files have lost it: it is
// written again from the journal, or all files are, which is logged.
//
// Open fails if that cannot be, if another process has the store open, if the
// directory cannot be read and written or holds something else, and if the store
// was written by a newer version.
func Open(path string, log *zap.Logger, onChange func(apikey.Outcome)) (*Store, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("opening key store at %q: %w", path, err)
	}
	db, err := durable.Open(databaseOptions(absolute, log))
	if err != nil {
		return nil, fmt.Errorf("opening key store at %q: %w", absolute, err)
	}
	s := newStore(db, log, onChange)
	err = db.View(sortAfterAll)
	if err == nil && db.Made() {
		err = db.Note(noteFoldedNames) // there are none yet
	}
	if err != nil {
		return nil, fmt.Errorf("opening key store at %q: %w", absolute, errors.Join(err, db.Close()))
	}
	db.StartUpkeep(func(ctx context.Context) {
		s.rebuildFilter(ctx)
		s.refoldNames(ctx)
	})
	return s, nil
}

func newStore(db *durable.DB, log *zap.Logger, onChange func(apikey.Outcome)) *Store {
	return &Store{db: db, log: log, walks: newWalks(), versions: newVersions(), counts: newCounts(), onChange: onChange}
}

// databaseOptions are those of the database that a store is.
func databaseOptions(path string, log *zap.Logger) durable.Options {
	return durable.Options{Path: path, Schema: schemaVersion, Notes: notePrefixes, AfterRebuild: confirmRebuilt, Log: log}
}

// sortAfterAll has new ids sort after all that there are: the clock may have been
// ahead when those were made.
func sortAfterAll(txn *durable.Txn) error {
	for _, prefix := range [][]byte{recordKey(""), eventKey("")} {
		for key := range txn.Backwards(prefix, nil) {
			apikey.SortAfter(string(key[len(prefix):]))
			break
		}
	}
	return nil
}

// Made reports whether there was no store before it was opened.
func (s *Store) Made() bool { return s.db.Made() }

// Path returns the absolute path of the store's directory.
func (s *Store) Path() string {
	if s == nil {
		return ""
	}
	return s.db.Path()
}

// Alone says that nobody sends requests meanwhile: work that takes long need not
// leave room for any.
func (s *Store) Alone() { s.db.Alone() }

// Size is what a store takes on its disk, and what is left there.
type Size = durable.Size

// Size measures the store. What cannot be measured is 0.
func (s *Store) Size() Size {
	if s == nil {
		return Size{}
	}
	return s.db.Size()
}

// Close waits for the reads and the change under way, and closes the store.
// Closing a closed store does nothing.
func (s *Store) Close() error {
	if s == nil {
		return nil
	}
	s.db.StopUpkeep()
	s.filter.Store(nil) // it says nothing of a store that another may change
	return s.db.Close()
}

// view runs a read-only transaction.
func (s *Store) view(read func(*durable.Txn) error) error {
	if s == nil {
		return apikey.ErrStoreUnavailable
	}
	return s.wrapInternal(s.db.View(read))
}

// Ping reports whether the store can answer a read.
func (s *Store) Ping() error {
	return s.view(func(txn *durable.Txn) error {
		_, err := txn.Get(clockKey)
		return ignoreNotFound(err)
	})
}

// Owned refuses a store of another user for what a person does to it: the server
// could not open the files that come of it.
func Owned(path string) error { return durable.Owned(path) }
