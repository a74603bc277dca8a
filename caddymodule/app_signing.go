package caddymodule

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/assertion"
)

// dueInterval is how soon to look again whether a configuration is in force.
const dueInterval = 20 * time.Millisecond

// signing are the keys that sign assertions.
type signing struct {
	assertion.Signer
	changed chan struct{}          // has an element when the store may have others
	due     atomic.Bool            // the latest configuration may want something of the store
	first   atomic.Pointer[[]byte] // those that a store without any will have; nil otherwise

	mu    sync.Mutex // held while they are loaded
	sum   [sha256.Size]byte
	since time.Time // when those in use were loaded; zero if the store has none
}

// wake has the keys loaded that the store has now.
func (s *signing) wake() {
	select {
	case s.changed <- struct{}{}:
	default: // they are about to be
	}
}

// known returns for how long the keys have been known; 0 if there are none.
func (s *signing) known() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() {
		return 0
	}
	return time.Since(s.since)
}

// prepareSigning loads the signing keys if they are needed. A store of its own makes them
// first, if it has none; a fleet has to be heard from first.
//
// It stores nothing: the configuration may still be refused, and the running one could not
// use keys that are encrypted with a secret of the other.
func (i *instance) prepareSigning() error {
	needed := i.settings.Load().signing
	i.signing.due.Store(needed != nil)
	if needed == nil {
		i.signing.first.Store(nil)
		return nil
	}
	i.signing.wake()
	if i.fleet != nil {
		return nil
	}
	err := i.loadSigningKeys()
	switch {
	case errors.Is(err, assertion.ErrSecret) && len(needed.secrets) == 0:
		return fmt.Errorf("the store at %q: %w: configure encryption_key with the secret that they were encrypted with", i.store.Path(), err)
	case errors.Is(err, assertion.ErrSecret):
		return fmt.Errorf("the store at %q: %w than encryption_key says: configure the one that they were encrypted with, in second place if it is to be replaced", i.store.Path(), err)
	case err != nil:
		return fmt.Errorf("the store at %q: preparing the keys that sign assertions: %w", i.store.Path(), err)
	}
	return nil
}

// loadSigningKeys uses the signing keys that the store has now. Those that are in use stay if
// it has none, as while a replica is being refilled.
func (i *instance) loadSigningKeys() error {
	i.signing.mu.Lock()
	defer i.signing.mu.Unlock()
	needed := i.settings.Load().signing
	if needed == nil {
		return nil
	}
	record, err := i.store.SigningKeys()
	if err != nil {
		return err
	}
	if record == nil && i.fleet == nil {
		if record, err = i.firstSigningKeys(needed); err != nil {
			return err
		}
	}
	if record == nil {
		i.signing.since = time.Time{}
		return nil
	}
	ring, err := assertion.Open(record, needed.secrets) // whatever is in use: the secrets may be others now
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(record); sum != i.signing.sum || i.signing.since.IsZero() {
		i.signing.Use(ring)
		i.signing.sum, i.signing.since = sum, time.Now()
	}
	return nil
}

// firstSigningKeys returns keys for a store that has none. They are used immediately, and
// stored when the configuration is in force.
func (i *instance) firstSigningKeys(needed *signingSettings) ([]byte, error) {
	if first := i.signing.first.Load(); first != nil {
		return *first, nil
	}
	record, _, err := assertion.Renew(nil, assertion.Schedule{Now: i.clock.Confirmed()}, needed.secrets)
	if err == nil {
		i.signing.first.Store(&record)
	}
	return record, err
}

// finishSigning stores what is due if the process ends before it was known that the
// configuration is in force.
func (i *instance) finishSigning() error {
	needed := i.settings.Load().signing
	if needed == nil || i.fleet != nil || !i.signing.due.Load() || !caddy.Exiting() {
		return nil
	}
	return i.renewSigningKeys(context.Background(), needed)
}

// signingInForce returns the settings of the running configuration, nil if it does not use
// this instance or signs nothing. Only by these are keys changed.
func (i *instance) signingInForce() *signingSettings {
	app := runningApp()
	if app == nil || app.shared.Load() != i {
		return nil
	}
	return app.signingSettings()
}

// renewSigningKeys makes, rotates, removes or encrypts signing keys, as far as it is due.
func (i *instance) renewSigningKeys(ctx context.Context, needed *signingSettings) error {
	schedule := assertion.Schedule{
		Every: needed.every, Now: i.clock.Confirmed(), Encrypt: i.fleet == nil,
		Steady: i.signing.known() >= assertion.Settle(needed.every),
	}
	first := i.signing.first.Load()
	var done assertion.Renewed
	renew := func(record []byte) (renewed []byte, err error) {
		if record != nil || first == nil {
			renewed, done, err = assertion.Renew(record, schedule, needed.secrets)
			return renewed, err
		}
		if renewed, done, err = assertion.Renew(*first, schedule, needed.secrets); renewed == nil && err == nil {
			renewed = *first
		}
		done.Made = true
		return renewed, err
	}
	// Most often there is nothing to do, which needs no transaction.
	record, err := i.store.SigningKeys()
	if err != nil {
		return err
	}
	if renewed, err := renew(record); err != nil || renewed == nil {
		return err
	}
	if err := i.store.RenewSigningKeys(ctx, schedule.Now, renew); err != nil {
		return err
	}
	i.signing.first.CompareAndSwap(first, nil)
	i.logRenewed(done)
	return nil
}

func (i *instance) logRenewed(done assertion.Renewed) {
	signs := zap.String("kid", done.Signs)
	switch {
	case done.Made:
		i.log.Info("made the keys that sign assertions", signs)
	case done.Rotated:
		i.log.Info("rotated the keys that sign assertions", signs)
	case done.Encrypted:
		i.log.Info("encrypted the keys that sign assertions", signs)
	case done.Dated:
		i.log.Warn("the keys that sign assertions were dated by a clock that was ahead: they count from now", signs)
	}
}

// runSigning keeps the signing keys up to date, if they are needed.
func (i *instance) runSigning(ctx context.Context) {
	tick := time.NewTimer(0)
	defer tick.Stop()
	working := true
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-i.signing.changed:
			err = i.loadSigningKeys()
		case <-tick.C:
			err = i.keepSigning(ctx)
		}
		if working && err != nil && ctx.Err() == nil { // it is retried: log the first failure
			i.log.Error("could not renew the keys that sign assertions; trying again", zap.Error(err))
		}
		working = err == nil
		tick.Reset(i.signingInterval())
	}
}

// signingInterval is how long to wait for the next look at the signing keys.
func (i *instance) signingInterval() time.Duration {
	switch {
	case i.signing.due.Load():
		return dueInterval
	case i.settings.Load().signing != nil && i.signing.known() == 0:
		return usesInterval
	}
	return upkeepInterval
}

// keepSigning renews and loads the signing keys. They are renewed only by a configuration
// that is in force, and in a fleet only while in contact with it.
func (i *instance) keepSigning(ctx context.Context) error {
	inForce := i.signingInForce()
	if inForce != nil {
		i.signing.due.Store(false)
	}
	if inForce != nil && (i.fleet == nil || i.fleet.Live()) {
		if err := i.renewSigningKeys(ctx, inForce); err != nil {
			return err
		}
	}
	return i.loadSigningKeys()
}
