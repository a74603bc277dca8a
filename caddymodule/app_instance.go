package caddymodule

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/authn"
	"github.com/agiled/caddy-api-keys/internal/delivery"
	"github.com/agiled/caddy-api-keys/internal/fleet"
	"github.com/agiled/caddy-api-keys/internal/metrics"
	"github.com/agiled/caddy-api-keys/internal/store"
	"github.com/agiled/caddy-api-keys/internal/version"
)

// instance is an open store with its authenticator, clock and upkeep. All
// configurations of this process that use the same store share one: a reload
// starts the new configuration before it stops the old one, and a store can be
// open only once.
type instance struct {
	store   countedStore
	fleet   *fleet.Fleet // nil unless the store belongs to one
	authn   *authn.Authenticator
	clock   *authn.Clock
	signing signing
	// expiringInUse counts keys in use that end soon.
	expiringInUse metrics.SlowCount
	// recorded is the confirmed time that was last recorded in the store. Only the
	// upkeep uses it.
	recorded time.Time
	log      *zap.Logger // sampled
	audit    *zap.Logger
	// deliverer sends messages to webhooks, and logs to webhookLog.
	deliverer  *delivery.Deliverer
	webhookLog *zap.Logger
	// settings are those of the latest configuration.
	settings atomic.Pointer[settings]

	exposures chan exposure
	clockSet  chan struct{} // has an element when the clock was set
	stop      context.CancelFunc
	upkeep    sync.WaitGroup
}

// settings are the parts of a configuration that a shared instance adopts.
type settings struct {
	cacheSize          int
	auditRetention     time.Duration
	lastUsedResolution time.Duration
	backupKey          apikey.BackupKey
	fleet              *fleetOptions    // nil for a store of its own
	signing            *signingSettings // nil if no assertions are signed
	webhooks           *webhooks        // nil if there are none
}

// openInstance opens the store at path, and starts what belongs to it.
func openInstance(path string, settings settings, log *zap.Logger) (*instance, error) {
	safe := reloadSafe(log)
	i := &instance{
		log: sampled(safe), audit: safe.Named("audit"), webhookLog: safe.Named("webhook"),
		exposures: make(chan exposure, 64), clockSet: make(chan struct{}, 1),
		signing: signing{changed: make(chan struct{}, 1)},
	}
	i.settings.Store(&settings)
	opened, err := i.openStore(path, settings.fleet)
	if err != nil {
		return nil, err
	}
	i.store = countedStore{store: opened}
	i.store.SignWith(settings.backupKey)
	if err := i.start(); err != nil {
		if i.authn != nil {
			i.authn.Close()
		}
		return nil, errors.Join(err, opened.Close())
	}
	i.logOpened(log)
	go debug.FreeOSMemory() // opening takes several times what is needed afterwards
	return i, nil
}

// start starts the clock, the authenticator and the upkeep.
func (i *instance) start() error {
	note, err := i.store.ClockNote()
	if err != nil {
		return err
	}
	var shift authn.ClockShift
	i.clock, shift = authn.NewClock(note)
	i.logClockShift(shift)
	i.logClockBehind()
	i.authn, err = authn.New(i.store, i.settings.Load().cacheSize, i.clock.Now, i.log)
	if err != nil {
		return err
	}
	if err := i.joinFleet(); err != nil {
		return err
	}
	i.recordClock()
	i.recordEnds()
	if err := i.prepareSigning(); err != nil {
		return err
	}
	i.deliverer = i.newDeliverer()
	if err := i.useWebhooks(i.settings.Load().webhooks); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	i.stop = stop
	i.expiringInUse.Count = func() (map[time.Duration]int, error) { return i.store.ExpiringInUse(ctx, i.clock.Now()) }
	i.upkeep.Go(func() { i.runUpkeep(ctx) })
	i.upkeep.Go(func() { i.runCleanup(ctx) })
	i.upkeep.Go(func() { i.runSigning(ctx) })
	return nil
}

// logOpened logs what was opened. A failure to count the keys does not stop the
// instance from serving them.
func (i *instance) logOpened(log *zap.Logger) {
	log = log.With(zap.String("path", i.store.Path()), zap.String("version", version.Get()))
	if limit, known := descriptorLimit(); known {
		log = log.With(zap.Uint64("open_files", limit))
	}
	if madeAt, err := i.store.Restoring(); err == nil && !madeAt.IsZero() {
		log.Error("a restore was interrupted, and keys are missing: restore the same backup again", zap.Time("backup_made_at", madeAt))
	}
	if i.store.Made() {
		log.Warn("created an empty key store")
		return
	}
	census, err := i.store.Census(context.Background(), i.clock.Now())
	if err != nil {
		collectors.Store().Count(context.Background(), metrics.Census, err)
		log.Error("key store opened, but its keys could not be counted", zap.Error(err))
		return
	}
	log.Info("key store opened", zap.Any("keys", byStatus(census)))
}

// byStatus adds up the keys of a census over all presets.
func byStatus(census store.Census) map[apikey.Status]int {
	keys := make(map[apikey.Status]int)
	for status, presets := range census.Keys {
		for _, n := range presets {
			keys[status] += n
		}
	}
	return keys
}

// adopt applies the settings of a newer configuration.
func (i *instance) adopt(settings settings) error {
	if err := i.adoptFleet(settings.fleet); err != nil {
		return err
	}
	before := i.settings.Swap(&settings)
	err := i.prepareSigning()
	if err == nil {
		err = i.useWebhooks(settings.webhooks)
	}
	if err != nil {
		i.settings.Store(before)
		return err
	}
	i.authn.Remember(settings.cacheSize)
	i.store.SignWith(settings.backupKey)
	return nil
}

// restoreSettings applies the settings of the running configuration, unless they are in
// force.
func (i *instance) restoreSettings() error {
	app := runningApp()
	if app == nil || app.shared.Load() != i {
		return nil
	}
	if running := app.settings(); running != *i.settings.Load() {
		return i.adopt(running)
	}
	return nil
}

// changed is called for every change before its caller is answered.
func (i *instance) changed(outcome apikey.Outcome) {
	i.authn.Changed(outcome)
	if !outcome.Trusted.IsZero() {
		i.clock.Trust(outcome.Trusted)
		select {
		case i.clockSet <- struct{}{}:
		default:
		}
	}
	if outcome.SigningKeys {
		i.signing.wake()
	}
	e := outcome.Event
	if e.ID == "" {
		return // a part of a restore, which has one event as a whole
	}
	i.audit.Info("audit event", zap.String("id", e.ID), zap.String("operation", string(e.Operation)),
		zap.String("workspace_id", e.WorkspaceID), zap.String("key_id", e.KeyID),
		zap.String("actor", e.Actor), zap.String("remote_ip", e.RemoteIP), zap.Any("details", e.Details))
}

// Destruct closes the instance. The authenticator closes first: it must not
// answer from its cache once nothing tells it about changes.
func (i *instance) Destruct() error {
	i.authn.Close()
	i.deliverer.Close()
	i.stop()
	if err := i.authn.FlushUses(time.Now(), 0, i.store.NoteUses); err != nil {
		i.log.Warn("could not write last-used times to the key store", zap.Error(err))
	}
	if err := i.authn.FlushUsage(i.store.NoteUsage); err != nil {
		i.log.Warn("could not write usage counts to the key store", zap.Error(err))
	}
	if i.fleet != nil {
		i.fleet.Close() // which ends what the upkeep may be waiting for
	}
	i.upkeep.Wait()
	i.recordClock()
	return errors.Join(i.finishSigning(), i.store.Close())
}

var _ caddy.Destructor = (*instance)(nil)
