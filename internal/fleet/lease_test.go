package fleet

import (
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// clocks are those of a machine on which a test lets time pass.
type clocks struct{ at atomic.Pointer[instant] }

func newClocks() *clocks {
	c := new(clocks)
	c.at.Store(&instant{time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), time.Minute})
	return c
}

func (c *clocks) now() instant { return *c.at.Load() }

// pass lets time pass, by each clock.
func (c *clocks) pass(p passed) {
	at := c.now()
	c.at.Store(&instant{at.wall.Add(p.wall), at.ran + p.ran})
}

// passed is how much time has passed by each clock. They differ if the wall clock is set,
// or if the machine is suspended.
type passed struct{ wall, ran time.Duration }

// A gateway may serve for as long as both clocks say so, counted from before the read that
// its lease is from.
func TestLease_clocks(t *testing.T) {
	const lasts = 3 * time.Second
	tests := []struct {
		name       string
		until      passed // the grant, since before the read
		after      passed
		wantServes time.Duration // for how long it may keep serving, if both clocks keep running; 0 if it may not serve
	}{
		{"nothing happens", passed{}, passed{2 * time.Second, 2 * time.Second}, time.Second},
		{"it ends", passed{}, passed{lasts, lasts}, 0},
		{"the read takes a while", passed{time.Second, time.Second}, passed{time.Second, time.Second}, time.Second},
		{"the read takes too long", passed{lasts, lasts}, passed{}, 0},

		{"set forward a little", passed{}, passed{2 * time.Second, time.Second}, time.Second},
		{"set forward by an hour", passed{}, passed{time.Hour, time.Second}, 0},
		{"set back by an hour", passed{}, passed{-time.Hour, time.Second}, 2 * time.Second},
		{"set back by an hour, and it ends", passed{}, passed{-time.Hour, lasts}, 0},
		{"set back by an hour, and set right", passed{}, passed{2 * time.Second, 2 * time.Second}, time.Second},

		{"suspended for an hour", passed{}, passed{time.Hour, 0}, 0},
		{"suspended for a second", passed{}, passed{2 * time.Second, time.Second}, time.Second},
		{"suspended for an hour, and set back by half", passed{}, passed{time.Hour / 2, 0}, 0},

		{"set forward by an hour during the read", passed{time.Hour, 0}, passed{}, 0},
		{"set back by an hour during the read", passed{-time.Hour, time.Second}, passed{time.Second, time.Second}, time.Second},
		{"set back during the read, and right afterwards", passed{-time.Hour, time.Second}, passed{time.Hour + 2*time.Second, time.Second}, time.Second},
		{"set back during the read, and right too late", passed{-time.Hour, time.Second}, passed{time.Hour + 3*time.Second, 2 * time.Second}, 0},
		{"suspended for an hour during the read", passed{time.Hour, time.Second}, passed{}, 0},

		// What nobody can notice: see docs/fleet.md.
		{"both clocks stopped", passed{}, passed{}, lasts},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newClocks()
			l := &lease{clock: c.now}
			before := c.now()
			c.pass(tt.until)
			l.extend(before, lasts)
			c.pass(tt.after)
			if got := max(l.remaining(), 0); got != tt.wantServes {
				t.Errorf("it may serve for another %s, want %s", got, tt.wantServes)
			}
		})
	}
}

// A wall clock that is set while etcd is being read ends the lease that comes of it, and
// no later one.
func TestFleet_clockSetDuringRead(t *testing.T) {
	t.Parallel()
	g := newProxied(t, etcdtest.Shared(t, 1), "gw")
	var ahead atomic.Int64
	var before, during atomic.Pointer[grant] // the leases from before the read, and of it
	var set atomic.Bool                      // whether the next renewal finds the clock set after it has begun
	g.options.clock = func() instant {
		now := thisInstant()
		now.wall = now.wall.Add(time.Duration(ahead.Load()))
		if !set.Load() && before.Load() == nil { // g is not there yet
			return now
		}
		if pc, _, _, _ := runtime.Caller(1); strings.HasSuffix(runtime.FuncForPC(pc).Name(), ".renew") {
			granted := g.lease.granted.Load()
			switch {
			case set.Swap(false):
				before.Store(granted)
				ahead.Store(int64(time.Hour))
			case before.Load() != nil && before.Load() != granted:
				during.CompareAndSwap(nil, granted)
			}
		}
		return now
	}
	g.open(t)
	g.awaitLive(t)

	set.Store(true)
	gatewaytest.Await(t, "the renewal after the one in which the clock is set", func() bool { return during.Load() != nil })
	if during.Load().from.wall.After(time.Now().Add(time.Hour / 2)) {
		t.Error("the lease begins when etcd had answered, want it to begin before it was asked")
	}
	g.awaitLive(t)
}

// A lease that ends although nothing fails is told of, and one that follows it.
func TestFleet_leaseEnds(t *testing.T) {
	t.Parallel()
	g := newProxied(t, etcdtest.Shared(t, 1), "gw", lasting(8*time.Second))
	logged, log := observer.New(zap.InfoLevel)
	g.options.Log = zap.New(logged)
	g.open(t)
	g.awaitLive(t)
	count := func(message string) int { return log.FilterMessageSnippet(message).Len() }
	g.each(func(p *etcdtest.Proxy) { p.Stall(etcdtest.Answers) })
	gatewaytest.Await(t, "the end of the lease to be logged", func() bool { return count("the lease of this gateway has ended") == 1 })
	if g.Live() {
		t.Error("the gateway serves after it has said that its lease has ended")
	}
	g.each((*etcdtest.Proxy).Pass)
	gatewaytest.Await(t, "another lease to be logged", func() bool { return count("this gateway has a lease again") == 1 })
	g.awaitRenewed(t)
	g.close()
	if ended, again := count("the lease of this gateway has ended"), count("this gateway has a lease again"); ended != 1 || again != 1 {
		t.Errorf("got the end of a lease logged %d times, and another one %d times, want once each", ended, again)
	}
}
