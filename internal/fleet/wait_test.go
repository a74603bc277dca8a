package fleet

import (
	"context"
	"slices"
	"testing"
	"time"

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
