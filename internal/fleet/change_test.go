package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// A change is made once, although etcd's answer to it does not arrive.
func TestFleet_answerLost(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Shared(t, 1)
	witness := startGateways(t, 1, defaults(cluster))[0]
	g := startProxied(t, cluster, 1)[0]
	for name, repair := range map[string]func(){
		"for a moment":   func() { time.Sleep(2*attemptTimeout + attemptTimeout/2); g.each((*etcdtest.Proxy).Pass) },
		"and connection": func() { g.each((*etcdtest.Proxy).Drop); g.each((*etcdtest.Proxy).Pass) },
	} {
		before := len(witness.records(t))
		g.each(func(p *etcdtest.Proxy) { p.Stall(etcdtest.Answers) })
		k := issue("acme", name)
		answered := make(chan error, 1)
		go func() {
			_, err := g.try(t.Context(), k.Create)
			answered <- err
		}()
		gatewaytest.Await(t, "the change to be made", func() bool {
			_, err := witness.store.Lookup(k.Key.Digest)
			return err == nil
		})
		repair()
		if err := <-answered; err != nil {
			t.Errorf("%s: %v", name, err)
		}
		g.awaitRenewed(t)
		want := witness.records(t)
		if got := len(want) - before; got != 2 {
			t.Errorf("%s: got %d more records, want a key and an event", name, got)
		}
		if got := g.records(t); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %d records, want %d", name, len(got), len(want))
		}
	}
}

// If the answer never arrives, the error says that the change may have been made.
func TestFleet_inDoubt(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Shared(t, 1)
	g := startProxied(t, cluster, 1)[0]
	g.each(func(p *etcdtest.Proxy) { p.Stall(etcdtest.Answers) })
	_, err := g.try(t.Context(), newKey("acme", "Zapier"))
	if !errors.Is(err, apikey.ErrFleetInDoubt) || strings.Count(err.Error(), errAmbiguous.Error()) != 1 {
		t.Errorf("got %v, want %v, and that etcd did not say, once", err, apikey.ErrFleetInDoubt)
	}
	g.each((*etcdtest.Proxy).Pass)
	g.awaitRenewed(t)
	if _, err := g.try(t.Context(), newKey("acme", "Zapier")); !errors.Is(err, apikey.ErrNameTaken) {
		t.Errorf("the same again: got %v, want %v", err, apikey.ErrNameTaken)
	}
}

// A caller that stops waiting is told at once that its change may be made. It is made, and
// logged.
func TestFleet_abandoned(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Shared(t, 1)
	witness := startGateways(t, 1, defaults(cluster))[0]
	g := startProxied(t, cluster, 1)[0]
	g.each(func(p *etcdtest.Proxy) { p.Stall(etcdtest.Answers) })
	k := issue("acme", "Zapier")
	ctx, hangUp := context.WithCancel(t.Context())
	answered := make(chan error, 1)
	go func() {
		_, err := g.try(ctx, k.Create)
		answered <- err
	}()
	gatewaytest.Await(t, "the change to be in etcd", func() bool {
		_, err := witness.store.Lookup(k.Key.Digest)
		return err == nil
	})
	hangUp()
	if err := <-answered; !errors.Is(err, apikey.ErrFleetInDoubt) {
		t.Errorf("got %v, want %v", err, apikey.ErrFleetInDoubt)
	}
	if g.events.Load() > 0 {
		t.Error("the change was made before its caller stopped waiting: the test tests nothing")
	}
	g.each((*etcdtest.Proxy).Pass)
	gatewaytest.Await(t, "the change to be logged", func() bool { return g.events.Load() == 1 })
	if _, err := g.store.Lookup(k.Key.Digest); err != nil {
		t.Errorf("looking the key up: %v", err)
	}
}

// A caller that stops waiting before its change is begun is told that it is not made.
func TestFleet_dropped(t *testing.T) {
	t.Parallel()
	var q queue
	ctx, hangUp := context.WithCancel(t.Context())
	first, second := &request{ctx: ctx, done: make(chan result, 1)}, &request{ctx: t.Context(), done: make(chan result, 1)}
	for _, r := range []*request{first, second} {
		if err := q.add(false, r); err != nil {
			t.Fatal(err)
		}
	}
	hangUp()
	if got := q.await(first).err; !errors.Is(got, context.Canceled) {
		t.Errorf("got %v, want %v", got, context.Canceled)
	}
	if some, _ := q.take(2); len(some) != 1 || some[0] != second {
		t.Errorf("got %d changes that are left, want the second one", len(some))
	}
}

// A gateway that is cut off says that nothing was changed, if that is certain.
func TestFleet_changeWhileCutOff(t *testing.T) {
	t.Parallel()
	g := startProxied(t, etcdtest.Shared(t, 1), 1, brief)[0]
	g.each((*etcdtest.Proxy).Drop)
	g.awaitNotLive(t)
	_, err := g.try(t.Context(), newKey("acme", "Zapier"))
	if !errors.Is(err, apikey.ErrStoreUnavailable) {
		t.Errorf("got %v, want %v", err, apikey.ErrStoreUnavailable)
	}
	g.each((*etcdtest.Proxy).Pass)
	g.awaitLive(t)
	_, err = g.try(t.Context(), newKey("acme", "Zapier"))
	if err != nil && !errors.Is(err, apikey.ErrNameTaken) {
		t.Errorf("afterwards: %v", err)
	}
}

// A gateway that crashed while it had a place in the queue holds nobody up for long.
func TestFleet_abandonedTicket(t *testing.T) {
	t.Parallel()
	g := startGateways(t, 1, defaults(etcdtest.Shared(t, 1)))[0]
	e, id := g.connection(), rand.Text()
	others := intruder{t, e}
	others.put(gatewayPrefix+id, e.sealRegistration(id, registration{Name: "crashed", State: apikey.GatewayLoading, Mode: apikey.ModeStrict}))
	others.put(ticketPrefix+id, "")
	gatewaytest.Await(t, "the ticket to be known", func() bool {
		first, _ := g.registry.first()
		return first != ""
	})
	began := time.Now()
	g.apply(t, newKey("acme", "Zapier"))
	if took := time.Since(began); took < patience {
		t.Errorf("the change took %s, want at least %s", took, patience)
	}
	gatewaytest.Await(t, "the ticket to be removed", func() bool {
		first, _ := g.registry.first()
		return first == ""
	})
}

// What another gateway has just done counts, even if it has not arrived.
func TestFleet_refusals(t *testing.T) {
	t.Parallel()
	all := startGateways(t, 2, defaults(etcdtest.Shared(t, 1)))
	all[1].disk.writes.Store(int64(500 * time.Millisecond))
	for _, name := range []string{"one", "two", "three"} {
		k := newKey("acme", name)
		all[0].apply(t, k)
		if _, err := all[1].try(t.Context(), newKey("acme", name)); !errors.Is(err, apikey.ErrNameTaken) {
			t.Errorf("a name that has just been taken: got %v, want %v", err, apikey.ErrNameTaken)
		}
		all[0].apply(t, apikey.Revoke{WorkspaceID: "acme", KeyID: k.Key.ID})
		if _, err := all[1].try(t.Context(), newKey("acme", name)); err != nil {
			t.Errorf("a name that has just become free: got %v", err)
		}
	}
	if got := all[1].events.Load(); got != 6 {
		t.Errorf("the gateway was told of %d events, want 3 of changes and 3 of refusals", got)
	}
}

func TestFleet_oneNameOnAllGateways(t *testing.T) {
	t.Parallel()
	all := startGateways(t, 3, defaults(etcdtest.Shared(t, 1)))
	for round := range 5 {
		name := strings.Repeat("x", round+1)
		var created atomic.Int64
		var asking sync.WaitGroup
		for _, g := range all {
			asking.Go(func() {
				_, err := g.try(context.Background(), newKey("acme", name))
				switch {
				case err == nil:
					created.Add(1)
				case !errors.Is(err, apikey.ErrNameTaken):
					t.Errorf("got %v, want %v", err, apikey.ErrNameTaken)
				}
			})
		}
		asking.Wait()
		if got := created.Load(); got != 1 {
			t.Errorf("%d gateways created a key of the same name, want 1", got)
		}
	}
}
