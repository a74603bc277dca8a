// Package durable keeps keys and values in Badger, and proves at its start that
// nothing acknowledged is missing.
//
// It promises that a change is all there or not there at all, and that it is on
// the disk before [Turn.Update] returns. A journal beside Badger's files holds
// every change: what the files have lost is written again from it, and what cannot
// be proven is not opened. What nobody was promised is written with [Turn.Note],
// without the journal.
//
// Reads and writes may be made from many goroutines, also while the database is
// being closed: they fail with [ErrClosed] from then on, and Close waits for those
// under way.
//
// It is the only package that imports Badger, and knows nothing of what its keys
// and values mean.
package durable

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/durable/journal"
)

// Options say what a database is for.
type Options struct {
	Path string
	// Schema is the version of what its keys and values mean, from 1 on. A database
	// of another version is not opened.
	Schema int
	// Notes begin the keys that are, or once were, written without the journal.
	Notes []string
	// AfterRebuild completes a database whose files were built from the journal, which
	// has no notes from after its snapshot. It may be nil.
	AfterRebuild func(*Txn, RebuiltFrom) error
	Log          *zap.Logger
}

// RebuiltFrom says what a database was built from.
type RebuiltFrom struct {
	// LastChange is when the last change since the journal's snapshot was made.
	LastChange time.Time
	// Changed reports whether a key was changed since that snapshot.
	Changed func(key []byte) bool
}

// DB is an open database. Its methods are safe for concurrent use.
type DB struct {
	path    string
	options Options
	log     *zap.Logger
	made    bool // Open found no database, and made this one
	repairs []Repair
	faults  atomic.Pointer[Faults]

	// gate is held for reading around every use of badger, and for writing to close
	// it: closing Badger under an iterator crashes the process.
	gate   sync.RWMutex
	closed bool
	badger *badger.DB
	own    identity // of the files that badger has open

	// changes is held by the one change that is being made: they are in the journal in
	// an order, and a change that reads what another writes is not made in vain.
	changes turns
	journal *journal.Journal // has every change; guarded by changes
	// doubt is why nothing is changed any more: a commit failed after Badger had made
	// it visible, so what is read may not be on the disk. Guarded by changes.
	doubt error
	bulk  bool // see SetBulk; guarded by changes

	upkeep       *upkeep
	snapshotting sync.Mutex    // held while a snapshot is made
	probing      chan struct{} // holds something while somebody finds out whether a change can be made
	alone        atomic.Bool   // see Alone
}

func newDB(o Options) (*DB, error) {
	absolute, err := filepath.Abs(o.Path)
	if err != nil {
		return nil, err
	}
	return &DB{path: absolute, options: o, log: o.Log, probing: make(chan struct{}, 1)}, nil
}

// Open opens the database in a directory, and makes it if there is none. What was
// acknowledged is there afterwards, also where Badger has lost it: [DB.Repairs] says
// what had to be done.
//
// Open fails if that cannot be, if another process has the database open, if the
// directory cannot be read and written or holds something else, and if what it holds
// has another schema.
func Open(o Options) (*DB, error) {
	db, err := newDB(o)
	if err != nil {
		return nil, err
	}
	if err := db.open(); err != nil {
		if isTransient(err) {
			err = Advise(err)
		}
		return nil, err
	}
	return db, nil
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

// Made reports whether there was no database before it was opened.
func (db *DB) Made() bool { return db.made }

// Path returns the absolute path of the directory.
func (db *DB) Path() string { return db.path }

// Close waits for the reads and the change under way, and closes the database.
// Closing a closed one does nothing.
func (db *DB) Close() error {
	db.StopUpkeep()
	db.gate.Lock()
	defer db.gate.Unlock()
	if db.closed {
		return nil
	}
	db.closed = true
	defer db.journal.Close()
	if err := db.checkWritable(); err != nil {
		// Badger would write what it has in memory into a new file, or try to for
		// ever. All of it is in its log too, from which the next Open reads it.
		db.log.Warn("the key store was not closed cleanly, as after a crash: no change is lost", zap.String("path", db.path), zap.Error(err))
		return nil
	}
	return db.closeBadger()
}

// closeTimeout bounds how long it may take to write what Badger has in memory,
// which is 24 MB at most.
const closeTimeout = time.Minute

// closeBadger closes Badger, unless that does not end: where a disk fails, Badger
// tries for ever.
func (db *DB) closeBadger() error {
	closed := make(chan error, 1)
	go func() { closed <- db.badger.Close() }()
	timeout := time.NewTimer(closeTimeout)
	defer timeout.Stop()
	select {
	case err := <-closed:
		if err != nil {
			return fmt.Errorf("closing key store at %q: %w", db.path, err)
		}
		return nil
	case <-timeout.C:
		return fmt.Errorf("closing key store at %q: its disk does not accept writes; it was left as after a crash, and no change is lost", db.path)
	}
}

// release closes what was opened so far.
func (db *DB) release() error {
	var errs []error
	if db.badger != nil {
		errs = append(errs, db.badger.Close())
	}
	if db.journal != nil {
		errs = append(errs, db.journal.Close())
	}
	db.badger, db.journal = nil, nil
	return errors.Join(errs...)
}

// use runs do while the database is kept open.
func (db *DB) use(do func() error) error {
	db.gate.RLock()
	defer db.gate.RUnlock()
	if db.closed {
		return ErrClosed
	}
	return do()
}

// View runs a read-only transaction, which sees the database as it is now.
func (db *DB) View(read func(*Txn) error) error {
	return db.use(func() error { return db.view(read) })
}

// view is View for a caller that keeps the database open.
func (db *DB) view(read func(*Txn) error) error {
	return db.badger.View(func(txn *badger.Txn) error {
		t := &Txn{badger: txn}
		return t.result(read(t))
	})
}

// badgerLogger passes Badger's own messages on, one level lower than Badger means
// them: what an operator must act on, this package says itself.
type badgerLogger struct{ log *zap.SugaredLogger }

func (l badgerLogger) Errorf(format string, args ...any)   { l.log.Warnf(format, args...) }
func (l badgerLogger) Warningf(format string, args ...any) { l.log.Infof(format, args...) }
func (l badgerLogger) Infof(format string, args ...any)    { l.log.Debugf(format, args...) }
func (l badgerLogger) Debugf(string, ...any)               {}
