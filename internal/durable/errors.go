package durable

import (
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

var (
	// ErrClosed is returned once the database has been closed.
	ErrClosed = errors.New("the key store is closed")
	// ErrNotFound is returned for a key that does not exist.
	ErrNotFound = errors.New("key not found")
	// ErrTooBig is returned if a transaction cannot hold all of its writes.
	ErrTooBig = errors.New("the transaction is too large")
	// ErrNoSpace is returned if the disk has too little room for a change.
	ErrNoSpace = errors.New("there is not enough free disk space")
	// ErrNoInodes is ErrNoSpace for a disk with room for bytes, but for too few files.
	ErrNoInodes = fmt.Errorf("%w: too few inodes are left", ErrNoSpace)
	// ErrFailed is returned after Badger has failed to write: as the cause of an
	// [*ImmutableError] if it can still be read, and otherwise for everything.
	ErrFailed = errors.New("the key store's files could not be written, and nothing more is written to them until the server is restarted")
	// ErrInDoubt is returned if a change may or may not have been made.
	ErrInDoubt = errors.New("a change could not be written to disk, and no more will be made until the server is restarted")
	// ErrDamaged is returned for what is in a file that was found damaged, and for
	// everything while the files are rebuilt.
	ErrDamaged = errors.New("the key store's files are damaged")
	// ErrMoved is returned if the directory is no longer the one that was opened.
	ErrMoved = errors.New("its directory was removed, moved or replaced while the server was running: changes made now would be lost")
	// ErrJournalMoved is ErrMoved for a file of the journal.
	ErrJournalMoved = errors.New("a file of its journal was removed or replaced while the server was running: changes made now would be lost")
)

// ImmutableError is returned if nothing can be changed until an operator
// intervenes. Nothing was done of the requested change.
type ImmutableError struct{ Cause error }

func (e *ImmutableError) Error() string { return e.Cause.Error() }
func (e *ImmutableError) Unwrap() error { return e.Cause }

// ownError translates the errors of Badger's transactions into those of this
// package.
func ownError(err error) error {
	switch {
	case errors.Is(err, badger.ErrKeyNotFound):
		return ErrNotFound
	case errors.Is(err, badger.ErrTxnTooBig):
		return ErrTooBig
	}
	return err
}
