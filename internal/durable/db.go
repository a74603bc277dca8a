// Package durable stores keys and values in Badger, and verifies at startup that no
// acknowledged change is missing.
//
// A change is atomic, and on disk before [Turn.Update] returns. It is written to a
// write-ahead log, the journal, before Badger gets it. What Badger's files have
// lost is replayed from the journal, and a database that cannot be verified is not
// opened. Data that may be lost is written with [Turn.Note], which bypasses the
// journal.
//
// Reads and writes may run concurrently with each other and with Close, which waits
// for those in progress; later ones fail with [ErrClosed].
//
// This is the only package that imports Badger. It does not interpret its owner's
// keys and values.
package durable

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/durable/journal"
)

// Options configure a database.
type Options struct {
	Path string
	// Schema is the version of the owner's data format, from 1 on. A database with
	// another version is not opened.
	Schema int
	// Notes are the prefixes of keys that are, or once were, written without the
	// journal.
	Notes []string
	// AfterRebuild completes a database rebuilt from the journal, which lacks the
	// notes written since its snapshot. It may be nil.
	AfterRebuild func(*Txn, RebuiltFrom) error
	// Outdated is called if a database in use has lost something, before its files are
	// rebuilt: what was read from it may be out of date. Nothing is read or changed until
	// they are; then the owner's upkeep is done again. It may be nil.
	Outdated func()
	// StartOver says what to do if changes are lost for good, for a database whose
	// contents are elsewhere too. Default: to restore a backup, or to make do with what
	// is left.
	StartOver string
	// Keep writes what the owner wants back at the next start, if nothing has changed by
	// then: see [DB.Kept]. Close calls it once, when nothing can be read or changed any
	// more, and while no other process can open the database. It passes nil if nothing
	// can be kept. It may be nil.
	Keep func(to io.Writer) error
	// NoteFrom is the size of the tables, in bytes, from which a stop is noted, so that
	// the next start need not read all of them before it answers. Default: 256 MiB.
	NoteFrom int64
	Log      *zap.Logger
}

// RebuiltFrom describes the journal that a database was rebuilt from.
type RebuiltFrom struct {
	// LastChange is the time of the last change since the journal's snapshot.
	LastChange time.Time
	// Changed reports whether a key was written since that snapshot.
	Changed func(key []byte) bool
}

// DB is an open database. Its methods are safe for concurrent use.
type DB struct {
	path    string
	options Options
	log     *zap.Logger
	made    bool // Open created the database
	repairs []Repair
	faults  atomic.Pointer[Faults]

	// gate is held for reading around every use of badger, and for writing to close
	// it: closing Badger under an iterator crashes the process.
	gate   sync.RWMutex
	closed bool
	badger *badger.DB
	opened identity // of the directory that badger has open
	looks  looks
	failing
	rest
	// unexamined are the tables that are examined meanwhile, or nil.
	unexamined atomic.Pointer[unexamined]
	unusable   unusable
	proving
	kept *uint32 // the checksum of what Kept returns; nil if there is nothing

	// changes serializes changes: the journal needs an order, and a change that
	// reads what another writes would otherwise fail on commit.
	changes turns
	journal *journal.Journal // guarded by changes
	writes  []journal.Write  // empty, with room for the writes of a change; guarded by changes
	// doubt is why no more changes are made: a commit failed after Badger had made
	// it visible, so what is read may not be on disk. Guarded by changes.
	doubt error
	// bulk is set during bulk changes, and leaveRoom then ends what was done to make room
	// for requests. See SetBulk; guarded by changes.
	bulk      bool
	leaveRoom func()

	upkeep       *upkeep
	snapshotting sync.Mutex    // held while a snapshot is made
	probing      chan struct{} // holds a value while Blocked probes
	alone        atomic.Bool   // see Alone
}

func newDB(o Options) (*DB, error) {
	absolute, err := filepath.Abs(o.Path)
	if err != nil {
		return nil, err
	}
	return &DB{path: absolute, options: o, log: o.Log, probing: make(chan struct{}, 1)}, nil
}

// Open opens the database in a directory, or creates one. It restores what was
// acknowledged even if Badger has lost it; [DB.Repairs] lists what it had to do.
//
// Open fails if it cannot restore everything, if another process has the database
// open, if the directory is not readable and writable or holds something else, or
// if the database has another schema.
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

// newTables is how many new tables Badger merges at a time.
const newTables = 12

// baseLevelSize is constant, except in tests.
var baseLevelSize int64 = 64 << 20

// badgerOptions suit small records that are rarely written: Badger's defaults use
// ten times the memory. The value log needs no garbage collection, because every
// value stays in the LSM tree.
//
// Badger need not detect conflicts: what reads and writes takes turns, and NoteAll is for
// what is not written in turns.
//
// The sizes of levels and tables are for restores, in which Badger merges new tables
// into larger and larger ones. A larger base level, and more new tables before they
// are merged into it, mean fewer merges: a restore of 300,000 keys writes 2.1 GB,
// and 4.1 GB with Badger's defaults. The smallest merged tables are as large as the
// others, because for every table Badger allocates 3 MB.
func badgerOptions(path string, log *zap.Logger) badger.Options {
	const megabyte = 1 << 20
	o := badger.DefaultOptions(path).
		WithSyncWrites(true).
		WithNumMemtables(2).
		WithMemTableSize(8 * megabyte).
		WithValueLogFileSize(16 * megabyte).
		WithBlockCacheSize(0). // every table is mapped into memory
		WithBaseLevelSize(baseLevelSize).
		WithBaseTableSize(4 * megabyte).
		WithNumLevelZeroTables(newTables).
		WithNumLevelZeroTablesStall(2 * newTables).
		WithNumCompactors(2).
		WithCompression(options.None).
		WithMetricsEnabled(false).
		WithDetectConflicts(false). // which keeps what was written while something was read, and some of it for good
		WithLogger(badgerLogger{log.Named("badger").Sugar()})
	o.TableSizeMultiplier = 1
	return o
}

// Made reports whether Open created the database.
func (db *DB) Made() bool { return db.made }

// Path returns the absolute path of the directory.
func (db *DB) Path() string { return db.path }

// Close waits for the reads and the change in progress, and closes the database.
// Closing it again does nothing.
func (db *DB) Close() error {
	db.StopUpkeep()
	db.gate.Lock()
	defer db.gate.Unlock()
	if db.closed {
		return nil
	}
	db.closed = true
	db.endLook()
	defer db.journal.Close()
	defer db.keep(nil)
	if err := db.checkWritable(); err != nil {
		// Badger would flush its memtables to a new file, or retry forever. Its
		// write-ahead log has their contents, and the next Open replays it.
		db.log.Warn("the key store was not closed cleanly, as after a crash: no change is lost", zap.String("path", db.path), zap.Error(err))
		return nil
	}
	settled := !db.resting.Load() && db.settle()
	if err := db.closeBadger(); err != nil {
		return err
	}
	if settled {
		db.noteStop()
	}
	return nil
}

// errStuck is returned if Badger cannot be closed. It may still be writing.
var errStuck = errors.New("its disk does not accept writes; it was left as after a crash, and no change is lost")

// closeTimeout bounds how long Badger may take to flush its memtables, at most 24
// MB.
const closeTimeout = time.Minute

// closeBadger closes Badger, or gives up after a while: on a failing disk, Badger
// retries forever.
func (db *DB) closeBadger() error {
	if db.badger == nil { // it could not be rebuilt, or opened again
		return nil
	}
	closed := make(chan error, 1)
	go func() {
		var err error
		defer func() { closed <- err }()
		defer db.survive(&err)
		err = db.badger.Close()
	}()
	timeout := time.NewTimer(closeTimeout)
	defer timeout.Stop()
	select {
	case err := <-closed:
		if err != nil {
			return fmt.Errorf("closing key store at %q: %w", db.path, err)
		}
		return nil
	case <-timeout.C:
		return fmt.Errorf("closing key store at %q: %w", db.path, errStuck)
	}
}

// release closes Badger and the journal if they are open.
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

// enter takes the gate for reading, or returns why the database cannot be used.
func (db *DB) enter() error {
	if err := db.unusable.why(); err != nil {
		return err // now, not when the gate opens: it is closed while the database is rebuilt
	}
	db.gate.RLock()
	err := db.unusable.why()
	if db.closed {
		err = ErrClosed
	}
	if err != nil {
		db.gate.RUnlock()
	}
	return err
}

// use runs do while the database cannot be closed.
func (db *DB) use(do func() error) error {
	if err := db.enter(); err != nil {
		return err
	}
	defer db.gate.RUnlock()
	return do()
}

// View runs a read-only transaction on the current state of the database.
func (db *DB) View(read func(*Txn) error) error {
	return db.use(func() error { return db.view(read) })
}

// view is View for a caller that holds the gate.
func (db *DB) view(read func(*Txn) error) (err error) {
	defer db.survive(&err)
	return db.badger.View(func(txn *badger.Txn) error {
		t := db.txn(txn)
		return t.result(read(t))
	})
}

// badgerLogger logs Badger's messages one level below Badger's own: this package
// itself reports what an operator must act on.
type badgerLogger struct{ log *zap.SugaredLogger }

func (l badgerLogger) Errorf(format string, args ...any)   { l.log.Warnf(format, args...) }
func (l badgerLogger) Warningf(format string, args ...any) { l.log.Infof(format, args...) }
func (l badgerLogger) Infof(format string, args ...any)    { l.log.Debugf(format, args...) }
func (l badgerLogger) Debugf(string, ...any)               {}
