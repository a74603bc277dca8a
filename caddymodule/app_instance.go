package caddymodule

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/authn"
	"github.com/agiled/caddy-api-keys/internal/metrics"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// gateway is what all configurations of this process share that use the same
// store. It lives in a pool, because a reload starts the new configuration
// before it stops the old one, and a store can be open only once.
type gateway struct {
	store countedStore
	authn *authn.Authenticator
	clock *authn.Clock
	// expiringInUse counts keys in use that end soon.
	expiringInUse metrics.SlowCount
	// noted is the confirmed time that was noted last. It is the upkeep's.
	noted time.Time
	log   *zap.Logger // of what goes wrong
	audit *zap.Logger
	// settings are those of the configuration that came last.
	settings atomic.Pointer[settings]

	exposures chan exposure
	clockSet  chan struct{} // holds something when the clock was set
	stop      context.CancelFunc
	upkeep    sync.WaitGroup
}

// settings are what a configuration says of a gateway that others may use too.
type settings struct {
	cacheSize          int
	auditRetention     time.Duration
	lastUsedResolution time.Duration
	backupKey          apikey.BackupKey
}

// exposure is a key that was seen in a browser.
type exposure struct {
	key      *apikey.Key
	remoteIP string
}

// How often the upkeep is done.
const (
	upkeepInterval = time.Minute // the clock is noted, and unused counts are let go
	// Last uses are written, the garbage collector is tuned, and the clock is noted
	// if a key was refused that ended since it was.
	useInterval    = time.Second
	forgetInterval = time.Hour // events of the audit trail, and keys that ended, are deleted once they are too old
)

// openGateway opens the store at path and what goes with it.
func openGateway(path string, settings settings, log *zap.Logger) (*gateway, error) {
	lasting := lasting(log)
	g := &gateway{log: sampled(lasting), audit: lasting.Named("audit"), exposures: make(chan exposure, 64), clockSet: make(chan struct{}, 1)}
	g.settings.Store(&settings)
	opened, err := store.Open(path, g.log, g.changed)
	if err != nil {
		return nil, err
	}
	g.store = countedStore{opened}
	g.store.SignWith(settings.backupKey)
	if err := g.begin(); err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	g.announce(log)
	return g, nil
}

// announce says in the log what was opened. That it cannot count the keys is no
// reason not to serve them.
func (g *gateway) announce(log *zap.Logger) {
	log = log.With(zap.String("path", g.store.Path()), zap.String("version", version()))
	if limit, known := descriptorLimit(); known {
		log = log.With(zap.Uint64("open_files", limit))
	}
	if madeAt, err := g.store.Restoring(); err == nil && !madeAt.IsZero() {
		log.Error("a restore was begun, and has not come to its end: keys are missing. Restore that backup again", zap.Time("backup_made_at", madeAt))
	}
	if g.store.Made() {
		log.Warn("key store made: it is empty")
		return
	}
	census, err := g.store.Census(context.Background(), g.clock.Now())
	if err != nil {
		collectors.Store().Count(context.Background(), metrics.Census, err)
		log.Error("key store opened, but its keys could not be counted", zap.Error(err))
		return
	}
	log.Info("key store opened", zap.Any("keys", byStatus(census)))
}

// byStatus adds up the keys of a census, whatever they may do.
func byStatus(census store.Census) map[apikey.Status]int {
	keys := make(map[apikey.Status]int)
	for status, presets := range census.Keys {
		for _, n := range presets {
			keys[status] += n
		}
	}
	return keys
}

// changed hears of every change before whoever asked for it is answered.
func (g *gateway) changed(outcome apikey.Outcome) {
	g.authn.Changed(outcome)
	if !outcome.Trusted.IsZero() {
		g.clock.Trust(outcome.Trusted)
		select {
		case g.clockSet <- struct{}{}:
		default:
		}
	}
	e := outcome.Event
	if e.ID == "" {
		return // a part of a restore, which has an event as a whole
	}
	g.audit.Info("audit event", zap.String("id", e.ID), zap.String("operation", string(e.Operation)),
		zap.String("workspace_id", e.WorkspaceID), zap.String("key_id", e.KeyID),
		zap.String("actor", e.Actor), zap.String("remote_ip", e.RemoteIP), zap.Any("details", e.Details))
}

// adopt makes the settings of a newer configuration apply.
func (g *gateway) adopt(settings settings) {
	g.settings.Store(&settings)
	g.authn.Remember(settings.cacheSize)
	g.store.SignWith(settings.backupKey)
}

func (g *gateway) begin() error {
	note, err := g.store.ClockNote()
	if err != nil {
		return err
	}
	var shift authn.ClockShift
	g.clock, shift = authn.NewClock(note)
	g.tellShift(shift)
	if reading := g.clock.Read(); reading.Status() == apikey.ClockBehind {
		g.log.Error("the clock of this machine is behind the time that the key store has seen: keys are judged by the later time. "+
			"If the clock is right, run: caddy api-keys clock --trust",
			zap.Duration("behind", -reading.Offset()), zap.Time("clock", reading.Machine), zap.Time("seen", reading.Judged))
	}
	g.authn, err = authn.New(g.store, g.settings.Load().cacheSize, g.clock.Now, g.log)
	if err != nil {
		return err
	}
	g.noteClock()
	g.noteEnds()
	ctx, stop := context.WithCancel(context.Background())
	g.stop = stop
	g.expiringInUse.Count = func() (map[time.Duration]int, error) { return g.store.ExpiringInUse(ctx, g.clock.Now()) }
	g.upkeep.Go(func() { g.run(ctx) })
	g.upkeep.Go(func() { g.runForget(ctx) })
	return nil
}

// run does what is not done on the way of a request.
func (g *gateway) run(ctx context.Context) {
	tick, uses := time.NewTicker(upkeepInterval), time.NewTicker(useInterval)
	defer tick.Stop()
	defer uses.Stop()
	noting := true
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-uses.C:
			garbage.tune()
			err := g.authn.FlushUses(now, g.settings.Load().lastUsedResolution, g.store.NoteUses)
			if noting && err != nil { // it is tried again every second
				g.log.Warn("noting in the key store when keys were last used", zap.Error(err))
			}
			noting = err == nil
			g.noteEnds()
		case <-tick.C:
			g.authn.Sweep()
			changes.Sweep(time.Now())
			g.noteClock()
		case e := <-g.exposures:
			g.noteExposure(ctx, e)
		}
	}
}

// runForget moves keys that have ended out of the way every minute, and deletes old
// events and keys now and every hour. It does so beside run, which others wait for.
func (g *gateway) runForget(ctx context.Context) {
	settle, forget := time.NewTicker(upkeepInterval), time.NewTicker(forgetInterval)
	defer settle.Stop()
	defer forget.Stop()
	g.settle(ctx)
	g.forget(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-settle.C:
			g.settle(ctx)
		case <-g.clockSet: // keys may be active again
			g.settle(ctx)
		case <-forget.C:
			g.forget(ctx)
		}
	}
}

func (g *gateway) settle(ctx context.Context) {
	if err := g.store.SettleEnds(ctx, g.clock.Confirmed()); err != nil && ctx.Err() == nil {
		g.log.Warn("moving keys that have ended out of the lists of current ones: until that is done, listing them takes longer", zap.Error(err))
	}
}

// forget deletes what is older than the audit retention.
func (g *gateway) forget(ctx context.Context) {
	now := g.clock.Confirmed() // what a wrong clock deletes cannot be brought back
	before := now.Add(-g.settings.Load().auditRetention)
	for _, old := range []struct {
		what   string
		forget func(ctx context.Context, before, now time.Time) (int, error)
	}{
		{"events of the audit trail", g.store.ForgetEvents},
		{"keys that ended", g.store.ForgetKeys},
	} {
		n, err := old.forget(ctx, before, now)
		if n > 0 {
			g.log.Info("deleted old "+old.what, zap.Int("deleted", n), zap.Time("before", before))
		}
		if err != nil {
			if ctx.Err() == nil {
				g.log.Warn("deleting old "+old.what, zap.Error(err))
			}
			return // what keeps the one from being deleted keeps the other
		}
	}
}

// noteEnds notes the time if a key was refused that has ended since it was noted.
func (g *gateway) noteEnds() {
	if g.authn.LatestEnd(g.clock.Confirmed()).After(g.noted) {
		g.noteClock()
	}
}

func (g *gateway) noteClock() {
	var shift authn.ClockShift
	var noted apikey.ClockNote
	err := g.store.NoteClock(func() apikey.ClockNote {
		noted, shift = g.clock.Note()
		return noted
	})
	g.tellShift(shift)
	if err != nil {
		g.log.Warn("noting the time in the key store", zap.Error(err))
		return
	}
	g.noted = noted.Confirmed
}

// tellShift says in the log what has become of a machine's clock that was ahead.
func (g *gateway) tellShift(shift authn.ClockShift) {
	switch shift.What {
	case authn.ClockJumped:
		g.log.Error("the clock of this machine is further ahead than can be believed: keys are judged by it, but nothing is deleted. "+
			"If the clock is right, run: caddy api-keys clock --trust. If it is not, set it right, and the keys that it made expire are valid again",
			zap.Duration("ahead", shift.By), zap.Time("clock", g.clock.Read().Machine))
	case authn.ClockCorrected:
		g.log.Warn("the clock of this machine was ahead, and is no more: the keys that it made expire are valid again",
			zap.Duration("was_ahead", shift.By), zap.Time("clock", g.clock.Read().Machine))
	case authn.ClockConfirmed:
		g.log.Info("the clock of this machine has been ahead for so long that it is confirmed",
			zap.Duration("ahead", shift.By), zap.Duration("after", apikey.ConfirmAfter))
	}
}

// exposed notes that a key was seen in a browser. It waits for nothing: if too
// much is to be noted already, the key's next use will be.
func (g *gateway) exposed(key *apikey.Key, remoteIP string) {
	select {
	case g.exposures <- exposure{key, remoteIP}:
	default:
	}
}

func (g *gateway) noteExposure(ctx context.Context, e exposure) {
	now := g.clock.Now().UTC().Truncate(time.Millisecond)
	_, err := g.store.Apply(ctx, apikey.Change{
		EventID: apikey.NewEventID(now), At: now, Actor: gatewayActor, RemoteIP: e.remoteIP,
		Do: apikey.Expose{WorkspaceID: e.key.WorkspaceID, KeyID: e.key.ID},
	})
	if err != nil {
		g.log.Warn("noting that a key was seen in a browser", zap.String("api_key_id", e.key.ID), zap.Error(err))
	}
}

// Destruct closes the gateway. The authenticator goes first: it must not go on
// from memory when nothing tells it of changes any more.
func (g *gateway) Destruct() error {
	g.authn.Close()
	g.stop()
	g.upkeep.Wait()
	if err := g.authn.FlushUses(time.Now(), 0, g.store.NoteUses); err != nil {
		g.log.Warn("noting in the key store when keys were last used", zap.Error(err))
	}
	g.noteClock()
	return g.store.Close()
}

var _ caddy.Destructor = (*gateway)(nil)
