package store

import (
	"errors"
	"syscall"

	"github.com/agiled/caddy-api-keys/internal/durable"
)

// Unchangeable says why no change can be made now, in words that any client may see, or
// returns "". It never blocks for long.
func (s *Store) Unchangeable() string {
	err := s.db.Blocked()
	if heldUp, ok := errors.AsType[*durable.HeldUpError](err); ok {
		return heldUp.Error()
	}
	switch {
	case err == nil:
		return ""
	case errors.Is(err, durable.ErrClosed):
		return durable.ErrClosed.Error()
	case errors.Is(err, durable.ErrHangs):
		return "the disk of the key store does not answer"
	case errors.Is(err, durable.ErrOnlyUrgent) && errors.Is(err, durable.ErrNoInodes):
		return "the disk of the key store has few inodes left: only revoking and suspending still work"
	case errors.Is(err, durable.ErrOnlyUrgent):
		return "the disk of the key store is full: only revoking and suspending still work"
	case errors.Is(err, durable.ErrInDoubt):
		return "the disk of the key store did not take a change: the server must be restarted"
	case errors.Is(err, durable.ErrFailed):
		return "the files of the key store could not be written: the server must be restarted"
	case errors.Is(err, durable.ErrDamaged):
		return "the files of the key store are damaged, and are being rebuilt"
	case errors.Is(err, durable.ErrMoved):
		return "the directory of the key store was removed, moved or replaced"
	case errors.Is(err, durable.ErrJournalMoved):
		return "a file of the key store's journal was removed or replaced"
	case errors.Is(err, durable.ErrNoInodes):
		return "the disk of the key store has no inodes left"
	case errors.Is(err, durable.ErrNoSpace):
		return "the disk of the key store is full"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "the server cannot open more files"
	}
	return "the key store cannot be written to: the server's log says why"
}
