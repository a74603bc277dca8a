package fleet

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
)

// Every gateway says the same about all of them, and how far its own replica is.
func TestStatus(t *testing.T) {
	o := defaults(etcdtest.Shared(t, 1))
	all := startGateways(t, 2, o)
	created := all[0].apply(t, newKey("acme", "Zapier"))
	all[1].apply(t, apikey.Revoke{WorkspaceID: "acme", KeyID: created.Key.ID, Reason: "test"})
	for _, g := range all {
		got := g.Status(t.Context())
		if got.Prefix != o.Prefix || got.Mode != apikey.ModeStrict || got.Gateway != *g.id.Load() || got.Problem != "" {
			t.Errorf("got prefix %q, mode %q, gateway %q, problem %q; want those of the gateway", got.Prefix, got.Mode, got.Gateway, got.Problem)
		}
		if got.Committed != 2 || got.Applied != 2 || got.LastEnd != 2 {
			t.Errorf("got change %d applied of %d, the last end %d; want 2 of 2, and 2", got.Applied, got.Committed, got.LastEnd)
		}
		if got.Lease <= 0 || got.Lease > o.MaxStaleness || time.Since(got.Heard) > o.MaxStaleness {
			t.Errorf("got a lease of another %v, last heard %v; want %v at most", got.Lease, got.Heard, o.MaxStaleness)
		}
		g.wantServing(t, "gw0", "gw1")
	}
}

// awaitStatus waits until what a gateway has heard of the others satisfies a condition.
func (g *gateway) awaitStatus(t *testing.T, holds func([]apikey.GatewayStatus) bool) []apikey.GatewayStatus {
	t.Helper()
	patience := time.After(longEnough)
	for {
		_, _, changed := g.registry.all()
		got := g.Known().Gateways
		if holds(got) {
			return got
		}
		select {
		case <-changed:
		case <-patience:
			t.Fatalf("got the gateways %+v, and waited for others", got)
		}
	}
}

// wantServing waits until a gateway has heard that these gateways serve, and have
// acknowledged change 2.
func (g *gateway) wantServing(t *testing.T, names ...string) {
	t.Helper()
	got := g.awaitStatus(t, func(got []apikey.GatewayStatus) bool {
		return len(got) == len(names) && !slices.ContainsFunc(got, func(one apikey.GatewayStatus) bool { return one.Acknowledged != 2 })
	})
	for i, one := range got {
		if one.Name != names[i] || one.State != apikey.GatewayServing || one.Mode != apikey.ModeStrict || one.Version != "test" ||
			one.Lease != 30*time.Second || time.Since(one.StartedAt) > time.Minute {
			t.Errorf("got %+v, want %s as it serves", one, names[i])
		}
		if one.Ahead == nil || one.Ahead.Abs() > longEnough { // they share a clock
			t.Errorf("%s: got the clock %v ahead, want about 0", one.Name, one.Ahead)
		}
	}
}

// Without etcd, the status is what the gateway knows, and says so.
func TestStatus_withoutEtcd(t *testing.T) {
	cluster := etcdtest.Start(t, 1)
	o := defaults(cluster)
	o.Static = true
	g := startGateways(t, 1, o)[0]
	g.apply(t, newKey("acme", "Zapier"))
	g.awaitStatus(t, func(got []apikey.GatewayStatus) bool { return len(got) == 1 })
	if got := g.Status(t.Context()); time.Since(got.GatewaysHeard) > time.Minute || got.Name != "gw0" {
		t.Errorf("got the gateways as of %v, asked %q, want them as of now, from gw0", got.GatewaysHeard, got.Name)
	}
	cluster.Member(0).Kill()
	killed := time.Now()
	got := g.Status(t.Context())
	if got.GatewaysHeard.IsZero() || got.GatewaysHeard.After(killed) {
		t.Errorf("got the gateways as of %v, want as of before etcd was stopped at %v", got.GatewaysHeard, killed)
	}
	if got.Problem == "" || got.Committed != 1 || got.Applied != 1 || len(got.Gateways) != 1 {
		t.Errorf("got %+v, want what the gateway knew, and a problem", got)
	}
	if got.Mode != apikey.ModeStatic || got.Lease < Static-time.Minute || got.Heard.IsZero() {
		t.Errorf("got a lease of another %v in mode %s, last heard %v; want a day in mode static", got.Lease, got.Mode, got.Heard)
	}
}

// A gateway that has never reached etcd says why it does not serve.
func TestStatus_neverServed(t *testing.T) {
	cluster := etcdtest.Start(t, 1)
	cluster.Member(0).Kill()
	g := openGateway(t, "gw0", defaults(cluster))
	got := g.Known()
	if got.Problem == "" || got.Lease != 0 || !got.Heard.IsZero() || len(got.Gateways) != 0 || !got.GatewaysHeard.IsZero() || got.Name != "gw0" {
		t.Errorf("got %+v, want no lease, and why", got)
	}
}

// A clock that is ahead is seen when its gateway writes its registration.
func TestRegistry_compareClocks(t *testing.T) {
	for _, ahead := range []time.Duration{time.Hour, -time.Hour, 0} {
		r := newRegistry(nil, nil)
		r.gateways["id"] = registered{registration: registration{State: apikey.GatewayServing, WallMS: time.Now().Add(ahead).UnixMilli()}}
		r.compareClocks(gatewayPrefix + "id")
		gateways, _ := r.status()
		got := gateways[0].Ahead
		if got == nil || (*got-ahead).Abs() > time.Second {
			t.Errorf("got %v, want %v", got, ahead)
		}
	}
}

// In place of the etcd that had gateways there is one that has none: they are forgotten.
func TestRegistry_emptyEtcd(t *testing.T) {
	t.Parallel()
	o := defaults(etcdtest.Shared(t, 1))
	e, err := dial(&o)
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	r := newRegistry(zaptest.NewLogger(t), nil)
	r.revision = 1 << 40
	r.gateways["A"] = registered{id: "A", registration: registration{Name: "gw0", State: apikey.GatewayServing}}
	asked := time.Now()
	if err := r.read(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if got, heard := r.status(); len(got) != 0 || heard.Before(asked) {
		t.Errorf("got %+v as of %v, want no gateways as of %v", got, heard, asked)
	}
}

// Several errors at once are one line of text.
func TestOneLine(t *testing.T) {
	if got, want := oneLine(fmt.Errorf("no member: %w", errors.Join(errCompacted, errStalled))), "no member: "+errCompacted.Error()+"; "+errStalled.Error(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
