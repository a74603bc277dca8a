package durable

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// slowChange is how long a change may hold up all others before Blocked reports
	// it.
	slowChange = 2 * time.Second
	// probeTimeout bounds how long Blocked takes: a write to a disk that hangs
	// cannot be interrupted.
	probeTimeout = time.Second
)

var (
	// ErrHangs is returned if the disk does not respond.
	ErrHangs = errors.New("the disk does not respond")
	// ErrOnlyUrgent is returned if the disk has room for urgent changes only.
	ErrOnlyUrgent = errors.New("the disk has room for urgent changes only")
)

// HeldUpError is returned if one change has held up all others for long.
type HeldUpError struct{ For time.Duration }

func (e *HeldUpError) Error() string {
	return fmt.Sprintf("one change has held up all others for %d seconds", e.For/time.Second)
}

// Blocked returns why no change can be made now, or nil. It never takes long.
func (db *DB) Blocked() error {
	timeout := time.NewTimer(probeTimeout)
	defer timeout.Stop()
	select {
	case db.probing <- struct{}{}:
	case <-timeout.C:
		return ErrHangs
	}
	found := make(chan error, 1)
	go func() {
		defer func() { <-db.probing }()
		found <- db.use(db.probe)
	}()
	select {
	case err := <-found:
		return err
	case <-timeout.C:
		return ErrHangs
	}
}

func (db *DB) probe() error {
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout/2)
	defer cancel()
	if err := db.changes.LockFor(ctx, "", true); err != nil {
		if held := db.changes.heldFor(); held > slowChange {
			return &HeldUpError{held}
		}
		return nil // changes are being made
	}
	defer db.changes.Unlock()
	err := db.checkMutable(context.Background(), true)
	if err != nil {
		return err
	}
	if err := db.spareSpace(); err != nil {
		return fmt.Errorf("%w: %w", ErrOnlyUrgent, err)
	}
	return nil
}
