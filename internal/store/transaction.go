package store

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable/journal"
)

// reader is what a read needs of a transaction.
type reader interface {
	Get(key []byte) (*badger.Item, error)
	NewIterator(badger.IteratorOptions) *badger.Iterator
}

// transaction is a transaction whose writes are noted for the journal.
type transaction struct {
	*badger.Txn
	writes  []journal.Write
	changed []string // the workspaces whose keys are changed
	clock   *clockRead
}

// clockRead is what clockNote has read.
type clockRead struct {
	note    apikey.ClockNote
	trusted string
}

// pinClock reads what is known of the time once, for a transaction that asks for it
// with each of many records, and writes nothing of it.
func (t *transaction) pinClock() error {
	note, trusted, err := clockNote(t)
	t.clock = &clockRead{note, trusted}
	return err
}

// Set writes a value. Neither it nor the key may be changed afterwards.
func (t *transaction) Set(key, value []byte) error {
	t.writes = append(t.writes, journal.Write{Key: key, Value: value})
	return t.Txn.Set(key, value)
}

// Delete deletes a key, which may not be changed afterwards.
func (t *transaction) Delete(key []byte) error {
	t.writes = append(t.writes, journal.Write{Key: key, Delete: true})
	return t.Txn.Delete(key)
}

// errDoubt says that it is not known whether a change was made.
var errDoubt = errors.New("a change could not be brought to the disk, and none will be tried before the server is restarted")

// write makes changes in one transaction: all that do writes is in the journal,
// and on its disk, before any of it can be read. It is for one caller at a time,
// who holds changes.
//
// If it fails, nothing was changed, unless the error is errDoubt: then the next
// Open makes of it either a whole change or none, and no change is made before.
func (s *Store) write(at time.Time, do func(*transaction) error) error {
	txn := s.db.NewTransaction(true)
	defer txn.Discard()
	t := &transaction{Txn: txn}
	if err := do(t); err != nil || len(t.writes) == 0 {
		return err
	}
	// A store that is built from the journal takes its times for confirmed ones.
	if confirmed, err := believed(t, at); err == nil {
		at = confirmed
	}
	entry := s.journal.Next(at, t.writes)
	if err := mark(t, entry.Position); err != nil {
		return err
	}
	switch err := s.journal.Append(entry); {
	case errors.Is(err, journal.ErrBroken):
		return s.inDoubt(err)
	case errors.Is(err, syscall.ENOSPC):
		return apikey.ErrNoSpace
	case err != nil:
		return err
	}
	s.meet(t.writes)
	if err := s.commitTxn(txn); err != nil {
		return s.inDoubt(err)
	}
	s.versions.advance(t.changed)
	s.grown()
	return nil
}

// inDoubt ends all changes after one that could not be brought to the disk. Badger
// shows a change before it is there: whoever asked again would be told that it is
// done.
func (s *Store) inDoubt(err error) error {
	s.doubt = fmt.Errorf("%w: %w", errDoubt, err)
	return s.doubt
}

// unjournaled writes what was not acknowledged as a change, and what can be lost
// with the files of Badger.
func (s *Store) unjournaled(do func(*transaction) error) error {
	return s.db.Update(func(txn *badger.Txn) error { return do(&transaction{Txn: txn}) })
}
