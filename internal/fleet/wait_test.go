package fleet

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.uber.org/zap/zaptest"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
)

// A revocation that waits for a gateway that is gone survives a reload of the gateway that
// waits, and is over when that is stopped.
func TestFleet_waits(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		meanwhile func(*testing.T, *gateway)
		confirmed bool
	}{
		"reloaded": {func(t *testing.T, g *gateway) {
			if err := g.Adopt(*g.options.Load()); err != nil {
				t.Error(err)
			}
		}, true},
		"stopped": {func(_ *testing.T, g *gateway) { g.close() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := startProxied(t, etcdtest.Shared(t, 1), 2, lasting(8*time.Second))
			k := issue("acme", "Zapier")
			all[0].apply(t, k.Create)
			all[1].crash()
			gone := *all[1].id.Load()

			ctx, cancel := context.WithTimeout(t.Context(), longEnough)
			defer cancel()
			outcome := make(chan apikey.Propagation, 1)
			go func() {
				done, err := all[0].try(ctx, revoke(k))
				if err != nil {
					t.Error(err)
				}
				outcome <- done.Propagation
			}()
			all[0].awaitFenced(t, gone)
			tt.meanwhile(t, all[0].gateway)
			got := <-outcome
			if ctx.Err() != nil || got.Confirmed != tt.confirmed {
				t.Errorf("got the propagation %+v and %v, want confirmed: %t", got, ctx.Err(), tt.confirmed)
			}
		})
	}
}

// Where etcd falls silent, a revocation does not wait for long for a gateway that can neither
// acknowledge it nor be excluded.
func TestFleet_silentWhileRevoking(t *testing.T) {
	t.Parallel()
	all := startProxied(t, etcdtest.Shared(t, 1), 2)
	k := issue("acme", "Zapier")
	all[0].apply(t, k.Create)
	all[1].crash()
	got := all[0].revokeThen(t, k, func() error { all[0].each(func(p *etcdtest.Proxy) { p.Stall() }); return nil }).Propagation
	all[0].each((*etcdtest.Proxy).Pass)
	if got.Confirmed || !slices.Equal(got.Behind, []string{"gw1"}) {
		t.Errorf("got the propagation %+v, want it pending because of gw1", got)
	}
	if all[0].allows(t, k) {
		t.Error("the gateway that has revoked the key allows it")
	}
}

// waiting is a gateway that only waits for others, and hears of them only what it reads.
func waiting(t *testing.T, e *etcd) (f *Fleet, at point) {
	f = &Fleet{log: zaptest.NewLogger(t), progress: newProgress(), registry: newRegistry(zaptest.NewLogger(t), nil), closed: make(chan struct{})}
	own := "own"
	f.id.Store(&own)
	f.etcd.Store(e)
	f.registry.revision = 1
	at.Position = apikey.Position{Head: apikey.Head{Seq: 1, LastEnd: 1, Sum: []byte("sum")}, Revision: 1}
	f.progress.set(at.Position, nil)
	return f, at
}

// A revocation is confirmed although etcd needs longer for each answer than for most.
func TestFleet_slowWhileRevoking(t *testing.T) {
	t.Parallel()
	for name, left := range map[string]bool{"for one that has left": true, "for one that acknowledges it": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := defaults(etcdtest.Shared(t, 1))
			o.Prefix += name + "/"
			other := intruder{t, connect(t, o)}
			f, at := waiting(t, intercepted(t, o, func(ctx context.Context, _ *etcdserverpb.TxnRequest, invoke func() error) error {
				if err := pause(ctx, attemptTimeout+attemptTimeout/2); err != nil {
					return err
				}
				return invoke()
			}))
			id := strings.Repeat("A", 26)
			lags := registered{registration{Name: "gw1", State: apikey.GatewayServing, Mode: apikey.ModeStrict, LeaseMS: 3000}, id, 1}
			if !left {
				f.registry.gateways[id] = lags
				acknowledges := lags.registration
				acknowledges.acknowledge(at.Head)
				other.put(gatewayPrefix+id, other.sealRegistration(id, acknowledges))
			}
			if got := f.confirm(t.Context(), at, map[string]registered{id: lags}); !got.Confirmed {
				t.Errorf("got the propagation %+v, want it confirmed", got)
			}
		})
	}
}

// One that is silent keeps nobody waiting for longer than usual, however many gateways are
// waited for, and nobody at all once the gateway is stopped.
func TestFleet_silentWithMany(t *testing.T) {
	t.Parallel()
	e := intercepted(t, defaults(etcdtest.Shared(t, 1)), func(ctx context.Context, _ *etcdserverpb.TxnRequest, _ func() error) error {
		<-ctx.Done()
		return ctx.Err()
	})
	f, at := waiting(t, e)
	serving := map[string]registered{}
	for n := range 16 {
		id := strings.Repeat(string(rune('A'+n)), 26)
		serving[id] = registered{registration{Name: id, State: apikey.GatewayServing, Mode: apikey.ModeStrict, LeaseMS: 3000}, id, 1}
		if n > 0 { // the first one seems to have left
			f.registry.gateways[id] = serving[id]
		}
	}
	if got := f.confirm(t.Context(), at, serving); got.Confirmed || len(got.Behind) != len(serving) || got.Waited > strictPatience+strictPatience/2 {
		t.Errorf("got the propagation %+v, want it pending after %v, because of all", got, strictPatience)
	}
	time.AfterFunc(attemptTimeout+attemptTimeout/2, func() { close(f.closed) })
	if got := f.confirm(t.Context(), at, serving); got.Confirmed || got.Waited > strictPatience/2 {
		t.Errorf("got the propagation %+v, want it pending when the gateway is stopped", got)
	}
}
