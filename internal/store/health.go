package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

const (
	// slowChange is how long one change may hold up all others without a word.
	slowChange = 2 * time.Second
	// lookTimeout bounds how long it is looked whether a change could be made: a
	// disk that hangs cannot be interrupted.
	lookTimeout = time.Second
)

// Unchangeable says why no change can be made now, in words for anybody who may
// ask, or "". It never waits for long.
func (s *Store) Unchangeable() string {
	if s == nil {
		return "the key store is closed"
	}
	const slow = "the disk of the key store does not answer"
	timeout := time.NewTimer(lookTimeout)
	defer timeout.Stop()
	select {
	case s.looking <- struct{}{}:
	case <-timeout.C:
		return slow
	}
	found := make(chan string, 1)
	go func() {
		defer func() { <-s.looking }()
		found <- s.look()
	}()
	select {
	case why := <-found:
		return why
	case <-timeout.C:
		return slow
	}
}

func (s *Store) look() string {
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.closed {
		return "the key store is closed"
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookTimeout/2)
	defer cancel()
	if err := s.changes.LockFor(ctx, "", true); err != nil {
		if held := s.changes.heldFor(); held > slowChange {
			return fmt.Sprintf("one change has held up all others for %d seconds", held/time.Second)
		}
		return "" // they are being made
	}
	defer s.changes.Unlock()
	switch err := s.mayChange(context.Background(), true); {
	case err == nil && s.spareSpace() != nil:
		return "the disk of the key store is full, but for revoking and suspending"
	case err == nil:
		return ""
	case errors.Is(err, errDoubt):
		return "the disk of the key store did not take a change: the server must be restarted"
	case errors.Is(err, errMoved):
		return "the directory of the key store was removed, moved or replaced"
	case errors.Is(err, errJournalMoved):
		return "a file of the key store's journal was removed or replaced"
	case errors.Is(err, apikey.ErrNoSpace):
		return "the disk of the key store is full"
	}
	return "the key store cannot be written to: the server's log says why"
}
