package test

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// holdings is all that a gateway has.
type holdings struct {
	keys      map[string]client.Key // by id
	suspended map[string]bool       // by workspace
	events    []client.Event
}

// checkAgreement checks that all gateways have the same, all that was acknowledged among
// it, and that they judge by it.
func (f *faultyFleet) checkAgreement() {
	f.awaitPositions()
	want := f.holdingsOf(f.gateways[0])
	f.checkAcknowledged(want)
	for _, g := range f.gateways[1:] {
		got := f.holdingsOf(g)
		for _, d := range []error{
			difference("keys", got.keys, want.keys),
			difference("suspensions", got.suspended, want.suspended),
		} {
			if d != nil {
				f.t.Errorf("gateway %d: %v", g.number, d)
			}
		}
		if !reflect.DeepEqual(got.events, want.events) {
			f.t.Errorf("gateway %d has %d events, gateway 0 has %d, or others", g.number, len(got.events), len(want.events))
		}
	}
	f.checkJudgements(want)
}

// awaitPositions waits until all gateways have applied the last change.
func (f *faultyFleet) awaitPositions() {
	f.gateways[0].Create("last", "Warehouse sync", client.FullAccess)
	last, err := f.gateways[0].Keys().Fleet(f.t.Context())
	must(f.t, err)
	for _, g := range f.gateways {
		g.Await("the last change", func() bool {
			at, err := g.Keys().Fleet(f.t.Context())
			return err == nil && at.Applied >= last.Applied
		})
	}
}

func (f *faultyFleet) holdingsOf(g *faultyGateway) holdings {
	f.t.Helper()
	h := holdings{keys: map[string]client.Key{}, suspended: map[string]bool{}}
	ctx, api := f.t.Context(), g.Keys()
	for _, c := range f.clients {
		for _, a := range c.accounts {
			for key, err := range api.AllKeys(ctx, a.id, "") {
				must(f.t, err)
				key.LastUsedAt = nil // each gateway has its own
				h.keys[key.ID] = key
			}
		}
	}
	for s, err := range api.AllSuspensions(ctx) {
		must(f.t, err)
		h.suspended[s.WorkspaceID] = true
	}
	for e, err := range api.AllEvents(ctx, "") {
		must(f.t, err)
		h.events = append(h.events, e)
	}
	return h
}

// difference says how what a gateway has differs from what gateway 0 has.
func difference[V any](what string, got, want map[string]V) error {
	if len(got) != len(want) {
		return fmt.Errorf("it has %d %s, gateway 0 has %d", len(got), what, len(want))
	}
	for id, w := range want {
		if g, ok := got[id]; !ok || !reflect.DeepEqual(g, w) {
			return fmt.Errorf("of the %s, %s is %+v, and on gateway 0 %+v", what, id, g, w)
		}
	}
	return nil
}

// checkAcknowledged checks that all is there that any gateway has acknowledged.
func (f *faultyFleet) checkAcknowledged(h holdings) {
	n := 0
	for _, c := range f.clients {
		for _, a := range c.accounts {
			n += len(a.statuses)
			for id, may := range a.statuses {
				if got := h.keys[id].Status; !slices.Contains(may, got) {
					f.t.Errorf("the key %s of %s: got the status %q, want %q", id, a.id, got, may)
				}
			}
			if got := h.suspended[a.id]; !slices.Contains(a.suspended, got) {
				f.t.Errorf("%s: got suspended %t, want %t", a.id, got, a.suspended)
			}
		}
	}
	f.t.Logf("%d keys were acknowledged; there are %d, and %d events", n, len(h.keys), len(h.events))
}

// checkJudgements uses the latest keys once more on every gateway.
func (f *faultyFleet) checkJudgements(h holdings) {
	for _, k := range f.inUse {
		want := http.StatusOK
		switch {
		case h.keys[k.ID].Status == client.Revoked:
			want = http.StatusUnauthorized
		case h.suspended[k.WorkspaceID]:
			want = http.StatusForbidden
		}
		for _, g := range f.gateways {
			got := g.status(f.t, k.token)
			if got == http.StatusServiceUnavailable { // the machine was busy for longer than a lease
				g.AwaitReady()
				got = g.status(f.t, k.token)
			}
			if got != want {
				f.t.Errorf("gateway %d, the key %s of %s: got status %d, want %d", g.number, k.ID, k.WorkspaceID, got, want)
			}
		}
	}
}
