package durable

import (
	"errors"

	"github.com/dgraph-io/badger/v4"
)

var (
	// ErrClosed says that the database was closed.
	ErrClosed = errors.New("the key store is closed")
	// ErrNotFound says that a key has no value.
	ErrNotFound = errors.New("key not found")
	// ErrConflict says that what a note has read was written meanwhile.
	ErrConflict = errors.New("another transaction wrote what this one has read")
	// ErrTooBig says that a transaction cannot hold all that was written in it.
	ErrTooBig = errors.New("the transaction is too large")
	// ErrNoSpace says that the disk has too little room for a change.
	ErrNoSpace = errors.New("there is not enough free disk space")
	// ErrInDoubt says that a change may or may not have been made.
	ErrInDoubt = errors.New("a change could not be written to disk, and no more will be made until the server is restarted")
	// ErrMoved says that the directory is not the one that was opened.
	ErrMoved = errors.New("its directory was removed, moved or replaced while the server was running: changes made now would be lost")
	// ErrJournalMoved says the same of the journal.
	ErrJournalMoved = errors.New("a file of its journal was removed or replaced while the server was running: changes made now would be lost")
)

// ImmutableError says why nothing can be changed until somebody has seen to it. Of
// the change that was asked for, nothing was done.
type ImmutableError struct{ Cause error }

func (e *ImmutableError) Error() string { return e.Cause.Error() }
func (e *ImmutableError) Unwrap() error { return e.Cause }

// ownError gives an error of a transaction of Badger's its name in this package.
func ownError(err error) error {
	switch {
	case errors.Is(err, badger.ErrKeyNotFound):
		return ErrNotFound
	case errors.Is(err, badger.ErrConflict):
		return ErrConflict
	case errors.Is(err, badger.ErrTxnTooBig):
		return ErrTooBig
	}
	return err
}
