// Package store keeps keys, workspaces and the audit trail in Badger.
//
// It promises that a change is all there or not there at all, that it is on
// the disk before [Store.Apply] returns, and that its audit event was written
// in the same transaction. A journal beside Badger's files proves so: what they
// have lost is made again from it, and what cannot be proven is not opened.
// Reads and writes may be made from many goroutines, also while the store is
// being closed: they fail with [apikey.ErrStoreUnavailable] from then on, and
// Close waits for those under way.
//
// It is the only package that imports Badger.
package store

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/maypok86/otter/v2"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable/journal"
)

// Store is an open key store. Its methods are safe for concurrent use. A nil
// *Store is a closed one.
type Store struct {
	path string
	log  *zap.Logger
	made bool // Open found no store, and made this one

	// minFree is what must be free on the disk before a change is begun.
	minFree uint64
	// reserve is what must be free beyond that, unless a change takes access away.
	reserve uint64

	// gate is held for reading around every use of db, and for writing to close
	// it: closing Badger under an iterator crashes the process.
	gate   sync.RWMutex
	closed bool
	db     *badger.DB
	own    identity // of the files that db has open

	commitTxn func(*badger.Txn) error // Commit; a test lets it fail
	// journal has every change. It is held by changes.
	journal *journal.Journal
	keeper  *keeper
	// renewing is held while a snapshot is made.
	renewing sync.Mutex

	// changes is held by the one change that is being applied: they are in the
	// journal in an order, and a change that reads what another writes is not made
	// for nothing.
	changes turns
	// walks are under way over many records.
	walks *walks
	// versions count the changes to each workspace's keys.
	versions versions
	// counts remembers how many keys workspaces have.
	counts *otter.Cache[string, keyCounts]
	// looking holds something while somebody looks whether a change can be made.
	looking chan struct{}
	// doubt is why nothing is changed any more: a commit failed after Badger had
	// made it visible, so that what is read may not be on the disk. It is held by
	// changes.
	doubt error
	// merging says that a backup is being restored. It is held by changes.
	merging bool
	// known knows the digests of all keys, or is nil. learning, which is held by
	// changes, is what will take its place.
	known     atomic.Pointer[known]
	learning  *known
	backupKey atomic.Pointer[apikey.BackupKey] // see SignWith
	alone     atomic.Bool                      // see Alone
	// lastEvent is the id of the last change's event. It is held by changes.
	lastEvent string
	// onChange is told of every change after its commit, before the caller is.
	onChange func(apikey.Outcome)
}

// Open opens the store in the directory path, and makes it if there is none.
// onChange is called after each change is durable and before Apply returns; it
// may be nil. It must not wait for a read of the store: Close may be waiting for
// Apply, and lets no further read in.
//
// What was acknowledged is there afterwards, also where Badger has lost it: it is
// written again from the journal, or all of Badger's files are, which is logged.
//
// Open fails if that cannot be, if another process has the store open, if the
// directory cannot be read and written or holds something else, and if the store
// was written by a newer version.
func Open(path string, log *zap.Logger, onChange func(apikey.Outcome)) (*Store, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("opening key store at %q: %w", path, err)
	}
	s := &Store{path: absolute, log: log, minFree: minFree, reserve: reserve, walks: newWalks(), versions: newVersions(), counts: newCounts(), onChange: onChange, looking: make(chan struct{}, 1)}
	if err := s.open(); err != nil {
		if passing(err) {
			err = advise(err)
		}
		return nil, fmt.Errorf("opening key store at %q: %w", absolute, err)
	}
	return s, nil
}

// badgerOptions are sized for small records that are written rarely: Badger's
// defaults take ten times the memory, and its value log needs no collection
// where every value stays in the tree.
func badgerOptions(path string, log *zap.Logger) badger.Options {
	const megabyte = 1 << 20
	return badger.DefaultOptions(path).
		WithSyncWrites(true).
		WithNumMemtables(2).
		WithMemTableSize(8 * megabyte).
		WithValueLogFileSize(16 * megabyte).
		WithBlockCacheSize(8 * megabyte).
		WithNumCompactors(2).
		WithCompression(options.None).
		WithMetricsEnabled(false).
		WithLogger(badgerLogger{log.Named("badger").Sugar()})
}

// Made reports whether there was no store before it was opened.
func (s *Store) Made() bool { return s.made }

// Path returns the absolute path of the store's directory.
func (s *Store) Path() string {
	if s == nil {
		return ""
	}
	return s.path
}

// Close waits for the reads and the change under way, and closes the store.
// Closing a closed store does nothing.
func (s *Store) Close() error {
	if s == nil {
		return nil
	}
	s.keeper.stop()
	s.gate.Lock()
	defer s.gate.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.known.Store(nil) // it says nothing of a store that another may change
	defer s.journal.Close()
	if err := s.writable(); err != nil {
		// Badger would write what it has in memory into a new file, or try to for
		// ever. All of it is in its log too, from which the next Open reads it.
		s.log.Warn("the key store is left as after a crash, which loses nothing", zap.String("path", s.path), zap.Error(err))
		return nil
	}
	return s.closeBadger()
}

// closeTimeout bounds how long it may take to write what Badger has in memory,
// which is 24 MB at most.
const closeTimeout = time.Minute

// closeBadger closes Badger, unless it does not come to an end: where a disk fails,
// it tries for ever.
func (s *Store) closeBadger() error {
	closed := make(chan error, 1)
	go func() { closed <- s.db.Close() }()
	timeout := time.NewTimer(closeTimeout)
	defer timeout.Stop()
	select {
	case err := <-closed:
		if err != nil {
			return fmt.Errorf("closing key store at %q: %w", s.path, err)
		}
		return nil
	case <-timeout.C:
		return fmt.Errorf("closing key store at %q: its disk does not take what is to be written; it is left as after a crash, which loses nothing", s.path)
	}
}

// view runs a read-only transaction.
func (s *Store) view(read func(*badger.Txn) error) error {
	if s == nil {
		return apikey.ErrStoreUnavailable
	}
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.closed {
		return apikey.ErrStoreUnavailable
	}
	return s.refine(s.db.View(read))
}

// refine passes refusals on as they are, and hides what went wrong in the store
// behind ErrStoreUnavailable: an answer must not carry a path or a record.
func (s *Store) refine(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*apikey.Error](err); ok {
		return err
	}
	if errors.Is(err, errDoubt) {
		return &failure{path: s.path, cause: err, answer: apikey.ErrInDoubt}
	}
	return &failure{path: s.path, cause: err}
}

// noChanges is refine for what keeps the store from being changed.
func (s *Store) noChanges(err error) error {
	return &failure{path: s.path, cause: err, answer: apikey.ErrNoChanges}
}

// failure is an error of the store itself. It is ErrStoreUnavailable to the
// layers above; its text is for the log, and its answer for whoever asked.
type failure struct {
	path   string
	cause  error
	answer *apikey.Error // nil where ErrStoreUnavailable says it all
}

func (f *failure) Error() string { return fmt.Sprintf("key store at %q: %v", f.path, advise(f.cause)) }
func (f *failure) Unwrap() error { return f.cause }
func (f *failure) Is(target error) bool {
	return target == error(apikey.ErrStoreUnavailable) || f.answer != nil && target == error(f.answer)
}

// Answer returns what the caller is told.
func (f *failure) Answer() *apikey.Error { return cmp.Or(f.answer, apikey.ErrStoreUnavailable) }

// Ping reports whether the store can answer a read.
func (s *Store) Ping() error {
	return s.view(func(txn *badger.Txn) error {
		_, err := txn.Get(schemaKey)
		return err
	})
}

// badgerLogger hands Badger's own messages on, one level lower than they were
// meant: what an operator must act on, this package says itself.
type badgerLogger struct{ log *zap.SugaredLogger }

func (l badgerLogger) Errorf(format string, args ...any)   { l.log.Warnf(format, args...) }
func (l badgerLogger) Warningf(format string, args ...any) { l.log.Infof(format, args...) }
func (l badgerLogger) Infof(format string, args ...any)    { l.log.Debugf(format, args...) }
func (l badgerLogger) Debugf(string, ...any)               {}
