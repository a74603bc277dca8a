package fleet

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// A gateway that is cut off stops serving, is waited for, and comes back.
func TestFleet_cutOff(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(*etcdtest.Proxy){
		"stalled":         func(p *etcdtest.Proxy) { p.Stall() },
		"cannot ask":      func(p *etcdtest.Proxy) { p.Stall(etcdtest.Requests) },
		"hears no answer": func(p *etcdtest.Proxy) { p.Stall(etcdtest.Answers) },
		"dropped":         (*etcdtest.Proxy).Drop,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := startProxied(t, etcdtest.Shared(t, 3), 2, brief)
			k := issue("acme", "Zapier")
			all[0].apply(t, k.Create)
			all[1].awaitPosition(t, all[0].gateway)
			gatewaytest.Await(t, "the key to be allowed", func() bool { return all[1].allows(t, k) })
			before := *all[1].id.Load()

			all[1].each(cut)
			revoked := all[0].apply(t, revoke(k))
			if all[1].allows(t, k) {
				t.Error("the gateway that is cut off allows a revoked key")
			}
			got, lease := revoked.Propagation, all[1].options.MaxStaleness
			if least, most := lease, fenceAfter+afterLease(lease)+longEnough/4; !got.Confirmed || got.Waited < least || got.Waited > most {
				t.Errorf("got the propagation %+v, want one that is confirmed after %s to %s", got, least, most)
			}
			all[1].awaitNotLive(t)

			all[1].each((*etcdtest.Proxy).Pass)
			all[1].awaitLive(t)
			if all[1].allows(t, k) {
				t.Error("the gateway that came back allows a revoked key")
			}
			if *all[1].id.Load() == before {
				t.Error("the gateway came back under the registration that it had lost")
			}
		})
	}
}

// Nobody who waits for a confirmation is told that there is one before there is.
func TestFleet_cutOffAndNotAwaited(t *testing.T) {
	t.Parallel()
	all := startProxied(t, etcdtest.Shared(t, 1), 2, lasting(8*time.Second))
	k := issue("acme", "Zapier")
	all[0].apply(t, k.Create)
	all[1].each((*etcdtest.Proxy).Drop)
	ctx, hangUp := context.WithCancel(t.Context())
	answered := make(chan apikey.Propagation, 1)
	go func() {
		got, err := all[0].try(ctx, revoke(k))
		if err != nil {
			t.Error(err)
		}
		answered <- got.Propagation
	}()
	all[0].awaitFenced(t, *all[1].id.Load())
	hangUp()
	if p := <-answered; p.Confirmed || !slices.Equal(p.Behind, []string{"gw1"}) {
		t.Errorf("got the propagation %+v, want one that is pending because of gw1", p)
	}
	again := all[0].apply(t, revoke(k)) // which changes nothing, and waits for the same
	if p := again.Propagation; !p.Confirmed || p.Waited == 0 {
		t.Errorf("asked again: got the propagation %+v, want one that was waited for", p)
	}
}

// A gateway that has just been excluded, because of an earlier change, may serve until its
// lease ends.
func TestFleet_excludedBefore(t *testing.T) {
	t.Parallel()
	all := startProxied(t, etcdtest.Shared(t, 1), 2, lasting(8*time.Second))
	first, second := issue("acme", "first"), issue("acme", "second")
	all[0].apply(t, first.Create)
	all[0].apply(t, second.Create)
	all[1].awaitPosition(t, all[0].gateway)
	id := *all[1].id.Load()
	all[1].each((*etcdtest.Proxy).Drop)
	go func() { _, _ = all[0].try(t.Context(), revoke(first)) }()
	all[0].awaitFenced(t, id)
	got := all[0].apply(t, revoke(second)).Propagation
	if all[1].allows(t, second) || !got.Confirmed {
		t.Errorf("got the propagation %+v, and the gateway allows the key: %t", got, all[1].allows(t, second))
	}
}

// awaitFenced waits until a gateway knows that another one is excluded, as it is until its
// lease has ended.
func (g *gateway) awaitFenced(t *testing.T, id string) {
	t.Helper()
	gatewaytest.Await(t, "a gateway to be excluded", func() bool {
		gateways, _, _ := g.registry.all()
		return gateways[id].State == apikey.GatewayFenced
	})
}

func TestFleet_leaves(t *testing.T) {
	t.Parallel()
	all := startGateways(t, 2, defaults(etcdtest.Shared(t, 1)))
	created := all[0].apply(t, newKey("acme", "Zapier"))
	all[1].close()
	got := all[0].apply(t, apikey.Revoke{WorkspaceID: "acme", KeyID: created.Key.ID}).Propagation
	if !got.Confirmed || got.Gateways != 1 || got.Waited > fenceAfter/2 {
		t.Errorf("got the propagation %+v, want one of one gateway, without waiting", got)
	}
}

// A member of etcd that stops does not stop the fleet.
func TestFleet_memberStops(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, 3)
	all := startGateways(t, 2, defaults(cluster))
	for name, stop := range map[string]struct{ stop, goOn func(*etcdtest.Member) }{
		"paused": {(*etcdtest.Member).Pause, (*etcdtest.Member).Resume},
		"killed": {(*etcdtest.Member).Kill, (*etcdtest.Member).Start},
	} {
		for _, leads := range []bool{false, true} {
			member := cluster.Leader()
			if !leads {
				member = (member + 1) % 3
			}
			stop.stop(cluster.Member(member))
			ctx, cancel := context.WithTimeout(t.Context(), longEnough)
			created, err := tryAgain(ctx, all[0], func(n int) apikey.Action { return newKey("acme", fmt.Sprintf("%s %t %d", name, leads, n)) })
			if err == nil {
				_, err = tryAgain(ctx, all[1], func(int) apikey.Action { return apikey.Revoke{WorkspaceID: "acme", KeyID: created.Key.ID} })
			}
			cancel()
			if err != nil {
				t.Errorf("a member is %s, and was the leader (%t): %v", name, leads, err)
			}
			for _, g := range all {
				g.awaitRenewed(t)
			}
			stop.goOn(cluster.Member(member))
			cluster.AwaitHealthy()
		}
	}
}

// tryAgain makes a change, as a client does that tries again. do returns the change of
// each try: one that was in doubt may have been made.
func tryAgain(ctx context.Context, g *gateway, do func(n int) apikey.Action) (outcome apikey.Outcome, err error) {
	for n := 0; ctx.Err() == nil; n++ {
		if outcome, err = g.try(ctx, do(n)); err == nil {
			return outcome, nil
		}
	}
	return outcome, err
}

// A member that keeps answering, but whose watch no longer delivers anything, costs a
// gateway no more than a moment.
func TestFleet_watchStalls(t *testing.T) {
	t.Parallel()
	all := startProxied(t, etcdtest.Shared(t, 3), 2)
	for member := range 3 { // one of them has the watch
		all[1].proxies[member].Stall(etcdtest.Answers)
		created := all[0].apply(t, newKey("acme", strings.Repeat("x", member+1)))
		all[1].awaitPosition(t, all[0].gateway)
		if _, err := all[1].store.Lookup(created.Key.Digest); err != nil {
			t.Errorf("the key has not arrived: %v", err)
		}
		all[1].proxies[member].Pass()
		all[1].awaitLive(t)
	}
}
