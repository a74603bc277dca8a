package test

import (
	"fmt"
	"os"
	"reflect"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
)

// TestFleet_cloned starts a gateway and a copy of its replica, as a cloned machine does:
// two gateways, each of which is waited for, and neither of which takes the other's place.
func TestFleet_cloned(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, 1)
	config := fleetConfig(cluster.Endpoints(), shortLease)
	fleet := startFleet(t, 2, cluster, shortLease)
	a, original, clone := fleet[0], fleet[1], newRacedServer(t)
	key, token := a.Create("acme", "Warehouse sync", "full_access")
	original.Await("the new key", func() bool { return original.status(t, token) == 200 })
	original.Stop()
	must(t, os.CopyFS(clone.Store, os.DirFS(original.Store)))
	original.restart(config)
	clone.Run(config)
	clone.AwaitReady()
	fleet = append(fleet, clone)

	revoked, err := a.Keys().RevokeKey(t.Context(), "acme", key.ID, "")
	must(t, err)
	if p := revoked.Propagation; p.State != client.Confirmed || p.Gateways != 3 {
		t.Errorf("got the propagation %+v, want it confirmed by 3 gateways", p)
	}
	for i, s := range fleet {
		if got := s.status(t, token); got != 401 {
			t.Errorf("gateway %d: got status %d after the revocation, want 401", i, got)
		}
	}
	wantWaitedFor(t, a, original, clone)
	wantWaitedFor(t, a, clone, original)

	var changing sync.WaitGroup
	for i, s := range fleet {
		changing.Go(func() {
			for n := range 10 {
				_, err := s.Keys().CreateKey(t.Context(), "acme", client.CreateRequest{Name: fmt.Sprintf("Key %d of %d", n, i), Preset: "read_only"})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	changing.Wait()
	for _, s := range fleet {
		s.Await("30 active and 3 revoked keys", func() bool {
			ws, err := s.Keys().ShowWorkspace(t.Context(), "acme")
			must(t, err)
			return ws.Keys.Active == 30 && ws.Keys.Revoked == 3
		})
	}
	for i, s := range fleet {
		if got, want := trail(t, s), trail(t, a); !reflect.DeepEqual(got, want) {
			t.Errorf("gateway %d: got the events %v, want those of gateway 0: %v", i, got, want)
		}
	}
}

// wantWaitedFor checks that a revocation waits for a gateway that is paused, and that
// another one keeps its place in the fleet meanwhile.
func wantWaitedFor(t *testing.T, asked, paused, other *server) {
	t.Helper()
	before, err := other.Keys().Fleet(t.Context())
	must(t, err)
	key, token := asked.Create("acme", "Zapier production", "full_access")
	paused.Await("the new key", func() bool { return paused.status(t, token) == 200 })
	must(t, paused.Cmd.Process.Signal(syscall.SIGSTOP))
	began := time.Now()
	revoked, err := asked.Keys().RevokeKey(t.Context(), "acme", key.ID, "")
	took := time.Since(began)
	must(t, paused.Cmd.Process.Signal(syscall.SIGCONT))
	must(t, err)
	if least := 10 * time.Second; revoked.Propagation.State != client.Confirmed || took < least {
		t.Errorf("got the propagation %+v after %v, want it confirmed after no less than %v", revoked.Propagation, took, least)
	}
	if got := paused.status(t, token); got != 401 && got != 503 {
		t.Errorf("got status %d right after the pause, want 401 or 503", got)
	}
	after, err := other.Keys().Fleet(t.Context())
	if err != nil || after.Gateway != before.Gateway || after.LeaseMS == 0 {
		t.Errorf("the other gateway: got %+v, %v, want it to serve as %s", after, err, before.Gateway)
	}
	paused.AwaitReady()
}

// trail returns the ids of all events, newest first.
func trail(t *testing.T, s *server) (ids []string) {
	t.Helper()
	for e, err := range s.Keys().AllEvents(t.Context(), "") {
		must(t, err)
		ids = append(ids, e.ID)
	}
	return ids
}
