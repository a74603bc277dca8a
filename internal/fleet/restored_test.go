package fleet

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

var restores = map[string]etcdtest.RestoreOptions{
	"as documented":      {Bump: true},
	"of the same token":  {Bump: true, SameToken: true},
	"without a bump":     {},
	"without any notice": {SameToken: true},
}

// awaitOtherHistory waits until a gateway has stopped because etcd has another history.
func (g *gateway) awaitOtherHistory(t *testing.T) {
	t.Helper()
	g.awaitNotLive(t)
	gatewaytest.Await(t, "a gateway to say that etcd has another history", func() bool {
		return strings.Contains(g.Problem(), errHistory.Error())
	})
}

// What is in a snapshot is up to date if nothing was changed since, but the registrations
// in it are not.
func TestFleet_restoredWithNothingLost(t *testing.T) {
	t.Parallel()
	for name, options := range restores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := etcdtest.Start(t, 1)
			all := startProxied(t, cluster, 2, brief)
			k := issue("acme", "Zapier")
			all[0].apply(t, k.Create)
			all[1].awaitPosition(t, all[0].gateway)
			snapshot := filepath.Join(t.TempDir(), "snapshot")
			cluster.Snapshot(snapshot)
			all[1].close() // and registers again
			all[1].open(t)
			all[1].awaitLive(t)
			all[0].connection().putOther(t, 50)
			cluster.Restore(snapshot, options)
			for _, g := range all {
				g.awaitRenewed(t)
			}
			all[1].each((*etcdtest.Proxy).Drop)
			if got := all[0].apply(t, revoke(k)).Propagation; got.Confirmed && all[1].allows(t, k) {
				t.Errorf("got the propagation %+v, and a gateway that allows the key", got)
			}
			all[1].each((*etcdtest.Proxy).Pass)
			all[1].awaitLive(t)
			if all[1].allows(t, k) {
				t.Error("the gateway that came back allows a revoked key")
			}
		})
	}
}

// putOther makes changes of etcd that are not the fleet's.
func (e *etcd) putOther(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		if _, err := e.client.Put(t.Context(), "other", strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
}

// awaitRenewed waits until a gateway has a lease from now on.
func (g *gateway) awaitRenewed(t *testing.T) {
	t.Helper()
	now := time.Now()
	gatewaytest.Await(t, "a new lease", func() bool {
		lease := g.lease.granted.Load()
		return lease != nil && lease.from.wall.After(now)
	})
}

// Nothing of a fleet is left below its prefix.
func TestFleet_emptied(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Shared(t, 1)
	all := startGateways(t, 2, defaults(cluster))
	all[0].apply(t, newKey("acme", "Zapier"))
	all[1].awaitPosition(t, all[0])
	intruder{t, all[0].connection()}.remove("")
	for _, g := range all {
		g.awaitOtherHistory(t)
	}
	if _, err := all[0].try(t.Context(), newKey("acme", "other")); err == nil {
		t.Error("got no error for a change without a fleet")
	}
}

// awaitNotLive waits until the gateway does not serve any more.
func (g *gateway) awaitNotLive(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(longEnough); g.Live(); {
		if time.Now().After(deadline) {
			t.Fatal("the gateway keeps serving")
		}
		time.Sleep(5 * time.Millisecond)
	}
}
