package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
)

// TestFleet_diskFull fills the disk of one gateway's replica. It takes no changes, which it
// could not apply, and serves until there is one all the same. Then it serves nothing any
// more, says why, and is not waited for longer than its lease. It serves again once there
// is space.
func TestFleet_diskFull(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, 1)
	other, full := startFleet(t, 1, cluster, shortLease)[0], newRacedServer(t)
	disk := diskWith(t, full.Dir, "size=128m")
	full.Store = filepath.Join(disk, "keys")
	full.Run(fleetConfig(cluster.Endpoints(), shortLease))
	full.AwaitReady()
	key, token := other.Create("acme", "Warehouse sync", "full_access")
	_, kept := other.Create("acme", "Zapier production", "full_access")
	full.Await("the new keys", func() bool { return full.status(t, kept) == 200 && full.status(t, token) == 200 })

	ballast := filepath.Join(disk, "ballast")
	fill(t, ballast)
	full.wantRefusedChanges(t, key, "no_space")
	if got := full.status(t, token); got != 200 {
		t.Errorf("a full disk, and nothing has changed: got status %d, want 200", got)
	}
	revoked, err := other.Keys().RevokeKey(t.Context(), "acme", key.ID, "")
	must(t, err)
	if p := revoked.Propagation; p.State != client.Confirmed || p.Gateways != 2 {
		t.Errorf("got the propagation %+v, want it confirmed by 2 gateways", p)
	}
	if got, least := time.Duration(revoked.Propagation.WaitedMS)*time.Millisecond, 10*time.Second; got < least {
		t.Errorf("the revocation was confirmed after %v, want no less than %v: a lease and a quarter", got, least)
	}
	for _, token := range []string{token, kept} {
		if got := full.status(t, token); got != 503 {
			t.Errorf("a full disk, and a change: got status %d, want 503", got)
		}
	}
	if full.Healthy() {
		t.Error("healthz answers 200, want 503")
	}
	for _, want := range []string{"this gateway cannot take part in its fleet", "the disk of this gateway's replica at " + full.Store + " is full"} {
		if !strings.Contains(full.Log.Troubles(), want) {
			t.Errorf("the log does not say %q:\n%s", want, full.Log.Troubles())
		}
	}
	known, err := full.Keys().Fleet(t.Context())
	if err != nil || !strings.Contains(known.Problem, "free some space") {
		t.Errorf("got the problem %q, %v, want one that says that there is no space", known.Problem, err)
	}

	must(t, os.Remove(ballast))
	full.Await("the gateway to serve again", func() bool { return full.status(t, kept) == 200 })
	for _, s := range []*server{full, other} {
		if got := s.status(t, token); got != 401 {
			t.Errorf("got status %d for the revoked key, want 401", got)
		}
	}
	full.Create("acme", "Reports", "read_only")
}
