package caddymodule

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/assertion"
	"github.com/agiled/caddy-api-keys/internal/fleet"
)

const (
	defaultRotateEvery = 30 * 24 * time.Hour
	minRotateEvery     = time.Minute
	maxRotateEvery     = 400 * 24 * time.Hour

	maxEncryptionKeys = 2 // the new one and the old one, during a rotation
)

// signingSettings are what the keys need that sign assertions.
type signingSettings struct {
	every   time.Duration
	secrets assertion.Secrets
}

// needSigning is called by each handler that signs assertions, with how often its keys are
// to be rotated, 0 for the default. All of them sign with the same keys.
func (a *App) needSigning(every time.Duration) error {
	if a.signing == nil {
		a.signing = new(signingSettings)
	}
	if every == 0 {
		return nil
	}
	if a.signing.every != 0 && a.signing.every != every {
		return fmt.Errorf("rotate_every is %s here and %s in another api_key_auth: all sign with the same keys, so write the same in both, or in one of them only", every, a.signing.every)
	}
	a.signing.every = every
	return nil
}

// signingSettings returns the settings of the signing keys, nil if no handler needs any.
func (a *App) signingSettings() *signingSettings {
	if a.signing == nil {
		return nil
	}
	s := *a.signing
	setDefault(&s.every, defaultRotateEvery)
	s.secrets = a.encryptionKeys
	if a.fleet != nil {
		s.secrets = a.fleet.secrets()
	}
	return &s
}

// readEncryptionKeys reads the secrets that signing keys are encrypted with, if any.
func (a *App) readEncryptionKeys() error {
	if len(a.EncryptionKeys) > 0 && a.fleet != nil {
		return errors.New("remove it: in a store in etcd, signing keys are encrypted with the integrity_key")
	}
	if len(a.EncryptionKeys) > maxEncryptionKeys {
		return errors.New("write one secret, or the new one and the old one")
	}
	for _, written := range a.EncryptionKeys {
		digits, err := evaluated(written)
		if err != nil {
			return err
		}
		secret, err := assertion.ParseSecret(strings.TrimSpace(digits))
		if err != nil {
			return err
		}
		a.encryptionKeys = append(a.encryptionKeys, secret)
	}
	return nil
}

// signing are the keys that sign assertions.
type signing struct {
	assertion.Signer
	changed chan struct{} // has an element when the store may have others

	mu    sync.Mutex // held while they are loaded
	sum   [sha256.Size]byte
	since time.Time // when they were loaded that the store has now; zero before
}

// wake has the keys loaded that the store has now.
func (s *signing) wake() {
	select {
	case s.changed <- struct{}{}:
	default: // they are about to be
	}
}

// known returns for how long the keys of the store have been known; 0 if there are none.
func (s *signing) known() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() {
		return 0
	}
	return time.Since(s.since)
}

// prepareSigning loads the signing keys if they are needed. A store of its own makes them
// first, if it has none, or encrypts them; a fleet has to be heard of before.
func (i *instance) prepareSigning() error {
	needed := i.settings.Load().signing
	if needed == nil {
		return nil
	}
	if i.fleet != nil {
		i.signing.wake()
		return nil
	}
	err := i.renewSigningKeys(context.Background(), true)
	if err == nil {
		err = i.loadSigningKeys()
	}
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
// it has none, as while a replica is filled anew.
func (i *instance) loadSigningKeys() error {
	i.signing.mu.Lock()
	defer i.signing.mu.Unlock()
	needed := i.settings.Load().signing
	record, err := i.store.SigningKeys()
	switch {
	case err != nil || needed == nil:
		return err
	case record == nil:
		i.signing.since = time.Time{}
		return nil
	}
	sum := sha256.Sum256(record)
	if sum == i.signing.sum && !i.signing.since.IsZero() {
		return nil
	}
	ring, err := assertion.Open(record, needed.secrets)
	if err != nil {
		return err
	}
	i.signing.Use(ring)
	i.signing.sum, i.signing.since = sum, time.Now()
	return nil
}

// renewSigningKeys makes, rotates, removes or encrypts signing keys, as far as it is due.
func (i *instance) renewSigningKeys(ctx context.Context, encrypt bool) error {
	needed := i.settings.Load().signing
	if needed == nil {
		return nil
	}
	schedule := assertion.Schedule{
		Every: needed.every, Now: i.clock.Confirmed(), Encrypt: encrypt,
		Steady: i.signing.known() >= assertion.Settle(needed.every),
	}
	var done assertion.Renewed
	renew := func(record []byte) (renewed []byte, err error) {
		renewed, done, err = assertion.Renew(record, schedule, needed.secrets)
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
	if i.settings.Load().signing != nil && i.signing.known() == 0 {
		return usesInterval
	}
	return upkeepInterval
}

// keepSigning renews and loads the signing keys.
func (i *instance) keepSigning(ctx context.Context) error {
	if i.fleet != nil && !i.fleet.Live() {
		return i.loadSigningKeys()
	}
	if err := i.renewSigningKeys(ctx, false); err != nil {
		return err
	}
	return i.loadSigningKeys()
}

// signingFleet is the fleet of an instance, as the admin API needs it.
type signingFleet struct {
	*fleet.Fleet
	instance *instance
}

// Rekey also encrypts the signing keys again, with its last step.
func (f signingFleet) Rekey(ctx context.Context, after string) (apikey.Rekeyed, error) {
	done, err := f.Fleet.Rekey(ctx, after)
	if err != nil || done.Next != "" {
		return done, err
	}
	encrypted, err := f.instance.encryptSigningKeys(ctx)
	if encrypted {
		done.Sealed++
	}
	return done, err
}

// encryptSigningKeys encrypts the signing keys of a fleet with the key that this gateway
// seals with, whether or not it signs assertions itself, and reports whether that was
// necessary.
func (i *instance) encryptSigningKeys(ctx context.Context) (encrypted bool, err error) {
	secrets := i.settings.Load().fleet.secrets()
	err = i.store.RenewSigningKeys(ctx, i.clock.Confirmed(), func(record []byte) (renewed []byte, err error) {
		if record == nil {
			return nil, nil
		}
		var done assertion.Renewed
		renewed, done, err = assertion.Renew(record, assertion.Schedule{Encrypt: true}, secrets)
		encrypted = done.Encrypted
		return renewed, err
	})
	return encrypted && err == nil, err
}

// secrets returns what signing keys are encrypted with in a fleet.
func (o *fleetOptions) secrets() (secrets assertion.Secrets) {
	for _, key := range o.integrityKeys {
		secrets = append(secrets, assertion.NewSecret(key))
	}
	return secrets
}
