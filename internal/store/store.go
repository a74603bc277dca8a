// Package store keeps keys, workspaces and the audit trail: it defines their records
// and changes, and finds, backs up and restores them.
//
// It guarantees that a change is made completely or not at all, that it is on disk
// before [Store.Apply] returns, and that its audit event is written in the same
// transaction. Package durable, below it, ensures that none of this is lost. The store
// may be read and changed from many goroutines, even while it is being closed: from
// then on, calls fail with [apikey.ErrStoreUnavailable], and Close waits for those in
// progress.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/maypok86/otter/v2"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
	"github.com/agiled/caddy-api-keys/internal/webhook"
)

// Store is an open key store. Its methods are safe for concurrent use. A nil *Store
// acts like a closed one.
type Store struct {
	db  *durable.DB
	log *zap.Logger

	// walks are those in progress over many records.
	walks *walks
	// versions count the changes to each workspace's keys.
	versions versions
	// counts caches the numbers of keys of workspaces.
	counts *otter.Cache[string, keyCounts]
	// prefixes are those of all tokens that were created here.
	prefixes apikey.Prefixes
	// filter has the digests of all keys, or is nil. nextFilter is its successor while
	// that is being filled.
	filter, nextFilter atomic.Pointer[digestFilter]
	losses             int                              // see outdated; guarded by the turn
	backupKey          atomic.Pointer[apikey.BackupKey] // see SignWith
	// lastEvent is the id of the last change's event. Only the holder of the turn may
	// use it.
	lastEvent  string
	lastCounts lastCounts
	// noting is held by who writes when keys were last used, for no longer than that takes:
	// a stop waits for it. The holder of the turn does not wait for it.
	noting sync.Mutex
	// recent is how often keys were used of late.
	recent recentUsage
	// hooks is who receives webhooks. backlog counts their messages, from when counted is
	// set on; messages has an element after some were added, and sending one while nobody
	// sends them.
	hooks    atomic.Pointer[hooks]
	backlog  *webhook.Backlog
	counting sync.Mutex
	counted  bool
	messages chan struct{}
	sending  chan struct{}
	// onChange is called after each change is committed, before Apply returns.
	onChange func(apikey.Outcome)

	// refusals are what is refused because it could not be applied.
	refusals refusals

	// replica says that the store belongs to a fleet, and changes is the fleet's log.
	replica bool
	changes Log
	origin  string // see usage_shared.go
}

// Open opens the store in the directory path, and creates it if there is none. onChange
// is called after each change is durable and before Apply returns; it may be nil. It
// must not wait for a read of the store: Close may be waiting for Apply, and lets no
// further reads in.
//
// Every acknowledged change is there afterwards, even if the files have lost it: it is
// restored from the journal, or all files are rebuilt, which is logged.
//
// Open fails if that is impossible, if another process has the store open, if the
// directory cannot be read and written or contains something else, and if the store was
// written by a newer version.
func Open(path string, log *zap.Logger, onChange func(apikey.Outcome)) (*Store, error) {
	s, err := openDirectory(path, false, log, onChange)
	if err != nil {
		return nil, err
	}
	if err := s.db.View(notReplica); err != nil {
		return nil, fmt.Errorf("opening key store at %q: %w", s.Path(), errors.Join(err, s.Close()))
	}
	return s, nil
}

// Locked returns an error if another process has the store at path open, as far as that
// can be told without opening it.
func Locked(path string) error {
	if err := durable.Locked(path); err != nil {
		return fmt.Errorf("opening key store at %q: %w", path, err)
	}
	return nil
}

func openDirectory(path string, replica bool, log *zap.Logger, onChange func(apikey.Outcome)) (*Store, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("opening key store at %q: %w", path, err)
	}
	options := databaseOptions(absolute, log)
	if replica {
		options.StartOver = "move the whole directory away, and start again: a replica is filled from its fleet"
	}
	var s *Store
	options.Keep = func(to io.Writer) error { return s.keepFilter(to) }
	options.Outdated = func() { s.outdated() }
	db, err := durable.Open(options)
	if err != nil {
		return nil, fmt.Errorf("opening key store at %q: %w", absolute, err)
	}
	s = newStore(db, log, onChange)
	s.replica = replica
	s.loadFilter()
	err = errors.Join(db.View(sortAfterAll), db.View(s.loadPrefixes), db.View(s.loadRecentUsage))
	if err == nil && db.Made() {
		err = db.Note(noteFoldedNames) // of which there are none yet
	}
	if err != nil {
		return nil, fmt.Errorf("opening key store at %q: %w", absolute, errors.Join(err, db.Close()))
	}
	db.StartUpkeep(func(ctx context.Context) {
		s.makeFilter(ctx)
		s.refoldNames(ctx)
	})
	return s, nil
}

// outdated makes everybody forget what they have read of a database that has lost something.
// No more is read until it has everything again.
func (s *Store) outdated() {
	if s.onChange != nil {
		s.onChange(apikey.Outcome{AllStale: true, Unchanged: true})
	}
	s.versions.advanceAll()
	s.db.BetweenChanges(func() {
		s.lastCounts = lastCounts{}
		s.losses++
		s.filter.Store(nil) // the upkeep makes another one
	})
}

func newStore(db *durable.DB, log *zap.Logger, onChange func(apikey.Outcome)) *Store {
	s := &Store{db: db, log: log, walks: newWalks(), versions: newVersions(), counts: newCounts(), onChange: onChange}
	s.backlog = webhook.NewBacklog(webhook.MaxPending, webhook.MaxPendingOfOne)
	s.messages, s.sending = make(chan struct{}, 1), make(chan struct{}, 1)
	s.sending <- struct{}{}
	return s
}

// databaseOptions returns the options of a store's database.
func databaseOptions(path string, log *zap.Logger) durable.Options {
	return durable.Options{Path: path, Schema: schemaVersion, Notes: notePrefixes, AfterRebuild: confirmRebuilt, NoteFrom: noteFrom, Log: log}
}

// noteFrom is the default, except in tests.
var noteFrom int64

// sortAfterAll makes new ids sort after all existing ones, which may be from a clock
// that was ahead.
func sortAfterAll(txn *durable.Txn) error {
	for _, prefix := range [][]byte{recordKey(""), eventKey("")} {
		for key := range txn.Backwards(prefix, nil) {
			apikey.SortAfter(string(key[len(prefix):]))
			break
		}
	}
	return nil
}

// Made reports whether Open created the store.
func (s *Store) Made() bool { return s.db.Made() }

// Path returns the absolute path of the store's directory.
func (s *Store) Path() string {
	return s.db.Path()
}

// Alone declares that there are no requests in the meantime, so that long-running work
// need not leave room for them.
func (s *Store) Alone() { s.db.Alone() }

// Size is the space that a store takes on its disk, and what is left there.
type Size = durable.Size

// Size measures the store. Values that cannot be measured are 0.
func (s *Store) Size() Size {
	return s.db.Size()
}

// Close waits for the reads and the change in progress, and closes the store. Closing a
// closed store does nothing.
func (s *Store) Close() error {
	s.db.StopUpkeep()
	_ = s.foldUsage(context.Background()) // or the next start has more to read
	return s.db.Close()
}

// view runs a read-only transaction.
func (s *Store) view(read func(*durable.Txn) error) error {
	return s.wrapInternal(s.db.View(read))
}

// Ping reports whether the store can answer a read.
func (s *Store) Ping() error {
	return s.view(func(txn *durable.Txn) error {
		_, err := txn.Get(clockKey)
		return ignoreNotFound(err)
	})
}

// Owned refuses a store that belongs to another user, for commands that write to it:
// the server could not open the files that they create.
func Owned(path string) error { return durable.Owned(path) }

// Inject simulates faults of the disk from now on. It is only for tests.
func (s *Store) Inject(f durable.Faults) { s.db.Inject(f) }
