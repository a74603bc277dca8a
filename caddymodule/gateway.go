package caddymodule

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/authn"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// gateway is what all configurations of this process share that use the same
// store. It lives in a pool, because a reload starts the new configuration
// before it stops the old one, and a store can be open only once.
type gateway struct {
	store *store.Store
	authn *authn.Authenticator
	clock *authn.Clock
	log   *zap.Logger

	exposures chan exposure
	stop      context.CancelFunc
	upkeep    sync.WaitGroup
}

// exposure is a key that was seen in a browser.
type exposure struct {
	key      *apikey.Key
	remoteIP string
}

// upkeepInterval is how often the clock is noted and unused counts are let go.
const upkeepInterval = time.Minute

// openGateway opens the store at path and what goes with it.
func openGateway(path string, cacheSize int, log *zap.Logger) (*gateway, error) {
	g := &gateway{log: log, exposures: make(chan exposure, 64)}
	opened, err := store.Open(path, log, func(outcome apikey.Outcome) { g.authn.Changed(outcome) })
	if err != nil {
		return nil, err
	}
	g.store = opened
	if err := g.begin(cacheSize); err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	if opened.Made() {
		log.Warn("key store made: it is empty", zap.String("path", path))
	} else {
		log.Info("key store opened", zap.String("path", path))
	}
	return g, nil
}

func (g *gateway) begin(cacheSize int) error {
	mark, err := g.store.ClockMark()
	if err != nil {
		return err
	}
	g.clock = authn.NewClock(mark)
	if behind := g.clock.Behind(); behind > time.Minute {
		g.log.Error("the clock of this machine is behind the time that the key store has seen: keys are judged by the later time",
			zap.Duration("behind", behind), zap.Time("seen", mark))
	}
	g.authn, err = authn.New(g.store, cacheSize, g.clock.Now, g.log)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	g.stop = stop
	g.upkeep.Go(func() { g.run(ctx) })
	return nil
}

// run does what is not done on the way of a request.
func (g *gateway) run(ctx context.Context) {
	tick := time.NewTicker(upkeepInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			g.authn.Sweep()
			g.noteClock()
		case e := <-g.exposures:
			g.noteExposure(ctx, e)
		}
	}
}

func (g *gateway) noteClock() {
	if err := g.store.SetClockMark(g.clock.Mark()); err != nil {
		g.log.Warn("noting the time in the key store", zap.Error(err))
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
		EventID: apikey.NewEventID(now), At: now, Actor: "gateway", RemoteIP: e.remoteIP,
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
	g.noteClock()
	return g.store.Close()
}

var _ caddy.Destructor = (*gateway)(nil)
