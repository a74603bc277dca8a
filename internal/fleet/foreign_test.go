package fleet

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// What others keep in etcd is theirs: other programs, and a fleet whose prefix begins
// with that of this one.
func TestFleet_foreignData(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Shared(t, 1)
	outer := defaults(cluster)
	inner := outer
	inner.Prefix = outer.Prefix + "prod/"
	names := []string{
		"gw", "gw/notes", "gw/\xff", "gwen", "h", "import/x", "notes", "network/x", "q/", "q/notes", "q/" + strings.Repeat("x", 26), "q0", "zebra",
	}
	others := intruder{t, connect(t, outer)}
	for _, name := range names {
		others.put(name, "theirs")
	}
	within := startGateways(t, 1, inner)[0]
	within.apply(t, newKey("acme", "Inner"))
	inFleet := namesIn(t, others.etcd, inner.Prefix+dataPrefix)

	var told atomic.Int64 // how often the first gateway was told something about the others
	listening := outer
	listening.Serving = func(int) { told.Add(1) }
	all := append(startGateways(t, 1, listening), startGateways(t, 1, outer)...)
	for i := range 2 * len(names) {
		created := all[i%2].apply(t, newKey("acme", fmt.Sprintf("Key %d", i)))
		revoked := all[(i+1)%2].apply(t, apikey.Revoke{WorkspaceID: "acme", KeyID: created.Key.ID})
		if p := revoked.Propagation; !p.Confirmed || p.Gateways != 2 {
			t.Fatalf("got the propagation %+v, want it confirmed by 2 gateways", p)
		}
	}
	for _, name := range names {
		if got := others.get(name); got != "theirs" {
			t.Errorf("%q has %q, want what was there before", name, got)
		}
	}
	if after := namesIn(t, others.etcd, inner.Prefix+dataPrefix); !slices.Equal(after, inFleet) {
		t.Errorf("the inner fleet had %q, and has %q", inFleet, after)
	}
	within.apply(t, newKey("acme", "Another"))
	if listed := all[0].Known().Gateways; len(listed) != 2 {
		t.Errorf("got the gateways %+v, want 2", listed)
	}

	// What is between the registrations and the tickets is neither watched nor read: it can be
	// large.
	for _, g := range all { // or else that comes later
		gatewaytest.Await(t, "the acknowledgement", func() bool { return g.acknowledged(t) })
	}
	all[0].awaitTold(t, "A")
	before := told.Load()
	for _, name := range []string{"gwen", "h", "notes"} {
		others.put(name, "changed")
	}
	all[0].awaitTold(t, "B")
	if got := told.Load() - before; got != 2 {
		t.Errorf("the gateway was told something %d times, want 2: of what others write, it is told nothing", got)
	}
	e := all[0].connection()
	read, err := e.read(t.Context(), e.getRegistry()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range read.Responses {
		for _, kv := range part.GetResponseRange().Kvs {
			if name := strings.TrimPrefix(string(kv.Key), outer.Prefix); !strings.HasPrefix(name, gatewayPrefix) && !strings.HasPrefix(name, ticketPrefix) {
				t.Errorf("%q was read", name)
			}
		}
	}
}

// awaitTold writes a registration and a ticket, and waits until the gateway has been told of
// them, and so of all that was written before.
func (g *gateway) awaitTold(t *testing.T, letter string) {
	t.Helper()
	id, in := strings.Repeat(letter, 26), intruder{t, g.connection()}
	in.put(gatewayPrefix+id, in.sealRegistration(id, registration{Name: "marker", State: apikey.GatewayLoading, Mode: apikey.ModeStrict}))
	in.put(ticketPrefix+id, "")
	gatewaytest.Await(t, "the gateway to be told", func() bool {
		g.registry.mu.Lock()
		defer g.registry.mu.Unlock()
		_, registered := g.registry.gateways[id]
		_, waits := g.registry.tickets[ticketPrefix+id]
		return registered && waits
	})
}

// namesIn returns the names that etcd has with a prefix.
func namesIn(t *testing.T, e *etcd, prefix string) (names []string) {
	t.Helper()
	read, err := e.client.Get(t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range read.Kvs {
		names = append(names, string(kv.Key))
	}
	return names
}

// A gateway that was killed while it was loading is forgotten once another one starts, and
// nobody waits for the turn of one that has gone.
func TestFleet_killedWhileLoading(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Shared(t, 1)
	o := defaults(cluster)
	g := startGateways(t, 1, o)[0]
	e := g.connection()
	put := func(id string, age time.Duration, state string) {
		r := registration{Name: "gone", State: state, Mode: apikey.ModeStrict, LeaseMS: 3000, WallMS: time.Now().Add(-age).UnixMilli()}
		if _, err := e.client.Put(t.Context(), e.name(gatewayPrefix+id), e.sealRegistration(id, r)); err != nil {
			t.Fatal(err)
		}
	}
	old, fresh := strings.Repeat("A", 26), strings.Repeat("B", 26)
	put(old, 2*time.Hour, apikey.GatewayLoading)
	put(fresh, time.Minute, apikey.GatewayLoading)
	ticket := ticketPrefix + strings.Repeat("C", 26)
	intruder{t, e}.put(ticket, "")
	gatewaytest.Await(t, "the ticket to be known", func() bool {
		g.registry.mu.Lock()
		defer g.registry.mu.Unlock()
		return g.registry.tickets[ticket] != 0
	})
	if first, _ := g.registry.first(); first != "" {
		t.Errorf("it is the turn of %q, whose gateway has gone", first)
	}
	openGateway(t, "another", o).awaitLive(t)
	if left := namesIn(t, e, o.Prefix+ticketPrefix); len(left) > 0 {
		t.Errorf("got the tickets %q, want none", left)
	}
	for id, want := range map[string]bool{old: false, fresh: true} {
		read, err := e.client.Get(t.Context(), e.name(gatewayPrefix+id))
		if err != nil {
			t.Fatal(err)
		}
		if got := read.Count == 1; got != want {
			t.Errorf("%s: it is there: %t, want %t", id, got, want)
		}
	}
}
