package durable

import (
	"errors"
	"fmt"
	"sync"

	"github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"
)

// Badger does not survive a write that it could not make. If it cannot create the file of
// its next memtable, it is left without one: the next write ends the process, even one that
// is queued already, and every read panics. So it gets one write at a time, none after one
// that has failed, and is read only where that is still possible. Nothing acknowledged is
// lost: the next Open restores from the journal what Badger lacks.

// failing is what is known of Badger's failure to write.
type failing struct {
	writing sync.Mutex // held while Badger writes
	failed  unusable   // why nothing is written any more
}

// write has Badger write something. It returns an error of this package's.
func (db *DB) write(commit func() error) error {
	db.writing.Lock()
	defer db.writing.Unlock()
	if err := db.failed.why(); err != nil {
		return err
	}
	err := ownError(commit())
	if err == nil || errors.Is(err, ErrTooBig) { // which Badger finds before it writes
		return err
	}
	err = fmt.Errorf("%w: %w", ErrFailed, fromBadger(err))
	db.failed.reason.Store(&err)
	if !db.readable() {
		db.unusable.reason.Store(&err)
	}
	db.log.Error("the key store's files could not be written: restart the server, which restores what was acknowledged", zap.String("path", db.path), zap.Error(Advise(err)))
	return err
}

// readable reports whether Badger can still be read. It can, or cannot, for as long as
// nothing is written.
func (db *DB) readable() (is bool) {
	defer func() { is = recover() == nil }()
	_ = db.badger.View(func(txn *badger.Txn) error {
		_, err := txn.Get(journaledKey)
		return err
	})
	return true
}

// survive turns a panic into an error where Badger cannot be read any more. It is to be
// deferred first by what reads Badger: discarding a transaction can panic, too.
func (db *DB) survive(err *error) {
	reason := recover()
	if reason == nil {
		return
	}
	db.writing.Lock() // Badger may panic before the write that has failed has returned
	defer db.writing.Unlock()
	why := db.failed.why()
	if why == nil || db.unusable.why() == nil {
		panic(reason)
	}
	*err = why
}

// halted returns why no change is made any more, or nil. The caller holds changes.
func (db *DB) halted() error {
	if err := db.unusable.why(); err != nil { // since the caller has entered
		return err
	}
	err := db.doubt
	if err == nil {
		err = db.failed.why()
	}
	if err == nil {
		return nil
	}
	return &ImmutableError{err}
}

// batch makes many writes, in as few transactions as Badger allows. Badger's own batches
// queue several of them: see failing.
type batch struct {
	db  *DB
	txn *badger.Txn
}

func (db *DB) batch() *batch { return &batch{db, db.badger.NewTransaction(true)} }

func (b *batch) set(key, value []byte) error {
	err := b.txn.Set(key, value)
	if !errors.Is(err, badger.ErrTxnTooBig) {
		return err
	}
	if err := b.flush(); err != nil {
		return err
	}
	b.txn = b.db.badger.NewTransaction(true)
	return ownError(b.txn.Set(key, value))
}

func (b *batch) flush() error { return b.db.write(b.txn.Commit) }

// discard ends a batch, without what has not been flushed.
func (b *batch) discard() { b.txn.Discard() }
