package test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
)

// lostRevocation is a fleet whose etcd is about to lose a confirmed revocation.
type lostRevocation struct {
	cluster  *etcdtest.Cluster
	fleet    []*server
	snapshot string
	token    string // the one that was revoked
	kept     string // one that was not
}

func loseRevocation(t *testing.T) *lostRevocation {
	cluster := etcdtest.Start(t, 1)
	l := &lostRevocation{cluster: cluster, fleet: startFleet(t, 2, cluster, briefLease), snapshot: filepath.Join(t.TempDir(), "snapshot")}
	key, token := l.fleet[0].Create("acme", "Warehouse sync", "full_access")
	_, l.kept = l.fleet[0].Create("acme", "Reports", "full_access")
	l.token = token
	cluster.Snapshot(l.snapshot)
	revoked, err := l.fleet[0].Keys().RevokeKey(t.Context(), "acme", key.ID, "leaked")
	if err != nil || revoked.Propagation.State != client.Confirmed {
		t.Fatalf("got %+v, %v, want a confirmed revocation", revoked, err)
	}
	return l
}

// watch checks all the time that no gateway accepts the revoked token, until it is
// stopped. A gateway may be down.
func (l *lostRevocation) watch(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	for i, s := range l.fleet {
		done.Go(func() {
			for ctx.Err() == nil {
				if got := s.tryStatus(ctx, l.token); got == 200 {
					t.Errorf("gateway %d accepts the revoked key", i)
				}
				time.Sleep(10 * time.Millisecond) // what would accept it does for longer
			}
		})
	}
	return func() { cancel(); done.Wait() }
}

// awaitBack waits until all gateways serve again, and refuse the revoked token.
func (l *lostRevocation) awaitBack(t *testing.T) {
	t.Helper()
	for i, s := range l.fleet {
		s.Await("the gateway to serve again", func() bool { return s.tryStatus(t.Context(), l.kept) == 200 })
		if got := s.status(t, l.token); got != 401 {
			t.Errorf("gateway %d: got status %d for the revoked key, want 401", i, got)
		}
	}
}

// TestFleet_restored: gateways that are killed again and again put back what a restored
// etcd has lost, and none of them accepts a revoked key at any time.
func TestFleet_restored(t *testing.T) {
	t.Parallel()
	l := loseRevocation(t)
	stop := l.watch(t)
	l.cluster.Restore(l.snapshot, etcdtest.RestoreOptions{Bump: true})
	config := fleetConfig(l.cluster.Endpoints(), briefLease)
	for round := range 6 {
		s := l.fleet[round%len(l.fleet)]
		time.Sleep(rand.N(700 * time.Millisecond)) // a kill at any moment
		s.kill(t)
		s.runAgain(config)
	}
	l.awaitBack(t)
	stop()
	events, err := l.fleet[0].Keys().Events(t.Context(), "", client.PageOptions{})
	if err != nil || !strings.Contains(fmt.Sprint(events), "put_back") {
		t.Errorf("got the events %v, %v, want one of what was put back", events, err)
	}
}

// TestFleet_reconcile: gateways of which etcd has lost much put it back once the command
// line asks one of them.
func TestFleet_reconcile(t *testing.T) {
	t.Parallel()
	l := loseRevocation(t)
	for i := range 60 {
		l.fleet[0].Create("many", fmt.Sprintf("Client %d", i), "full_access")
	}
	stop := l.watch(t)
	l.cluster.Restore(l.snapshot, etcdtest.RestoreOptions{Bump: true})
	for _, s := range l.fleet {
		s.Await("the gateway to wait", func() bool {
			state, err := s.Keys().Fleet(t.Context())
			return err == nil && state.Lost != nil && state.Lost.Waiting
		})
	}
	if got, want := l.fleet[1].healthOf(t, "error"), apikey.ErrFleetLost.Message; got != want {
		t.Errorf("got the health %q, want %q", got, want)
	}
	status, err := l.fleet[1].run("fleet", "status", "--address", l.fleet[1].Admin, "-o", "table")
	if err != nil || !strings.Contains(status, "caddy api-keys fleet reconcile on this gateway") || !strings.Contains(status, "\nLost by etcd  ") {
		t.Errorf("got the status %q, %v, want one that says what to do", status, err)
	}
	out, err := l.fleet[1].run("fleet", "reconcile", "--yes", "--address", l.fleet[1].Admin, "-o", "table")
	if err != nil || !strings.HasSuffix(out, " records put back into etcd.\n") {
		t.Errorf("got %q, %v, want how many records were put back", out, err)
	}
	l.awaitBack(t)
	stop()
	for i, s := range l.fleet {
		ws, err := s.Keys().ShowWorkspace(t.Context(), "many")
		if err != nil || ws.Keys.Active != 60 {
			t.Errorf("gateway %d: got %+v, %v, want 60 active keys", i, ws, err)
		}
	}
}

// tryStatus is like status, and returns 0 if the server does not answer.
func (s *server) tryStatus(ctx context.Context, token string) int {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Plain+"/public/v1/contacts", nil)
	if err != nil {
		return 0
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	response.Body.Close()
	return response.StatusCode
}
