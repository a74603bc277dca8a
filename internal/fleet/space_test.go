package fleet

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// smallQuota is how much etcd may store in these tests.
const smallQuota = 16 << 20

// startSmall starts an etcd with a small quota, and a user who may do no more than a
// gateway needs.
func startSmall(t *testing.T) Options {
	t.Helper()
	cluster := etcdtest.Start(t, 1, etcdtest.Flags(fmt.Sprintf("--quota-backend-bytes=%d", smallQuota)),
		etcdtest.Users(etcdtest.User{Name: "gw", Password: "secret", Prefix: "/api-keys/"}))
	o := defaults(cluster)
	o.Username, o.Password = "gw", "secret"
	return o
}

// fill fills etcd with values of the size that a fleet's are, until it refuses them or
// enough holds.
func (e *etcd) fill(t *testing.T, enough func() bool) {
	t.Helper()
	for i := 0; !enough(); i++ {
		var puts []clientv3.Op
		for j := range 20 {
			puts = append(puts, clientv3.OpPut(e.name(fmt.Sprint("x/", i, " ", j)), strings.Repeat("x", 1500)))
		}
		if _, err := e.client.Txn(t.Context()).Then(puts...).Commit(); errors.Is(err, rpctypes.ErrNoSpace) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// Before etcd has reached its quota, what makes it fuller is refused, so that what takes
// access away still fits.
func TestFleet_quota(t *testing.T) {
	t.Parallel()
	g := startGateways(t, 1, startSmall(t))[0]
	keys := make([]issued, 50)
	for i := range keys {
		keys[i] = issue("acme", fmt.Sprint("key ", i))
		g.apply(t, keys[i].Create)
	}
	gatewaytest.Await(t, "the quota to be known", func() bool { return g.Known().Space.Quota == smallQuota })
	if g.Full() {
		t.Fatalf("etcd is full already: %+v", g.Known().Space)
	}

	g.connection().fill(t, func() bool {
		space, known := g.connection().space(t.Context())
		return known && space.Full()
	})
	gatewaytest.Await(t, "the gateway to know that etcd is full", g.Full)
	if g.Known().Space.UsedUp() {
		t.Errorf("the quota is used up already: %+v", g.Known().Space)
	}
	if _, err := g.try(t.Context(), newKey("acme", "one more")); !errors.Is(err, apikey.ErrNoSpace) {
		t.Errorf("creating a key: got %v, want %v", err, apikey.ErrNoSpace)
	}
	o := *g.options.Load()
	g.adopt(t, withKeys(o, secondKey, oldKey))
	if _, err := g.Rekey(t.Context(), ""); err != error(apikey.ErrRekeyNoSpace) || sealedWith(t, g.connection(), secondKey) != 0 {
		t.Errorf("sealing everything again: got %v and some values sealed, want %v and none", err, apikey.ErrRekeyNoSpace)
	}
	for _, k := range keys {
		if got := g.apply(t, revoke(k)).Propagation; !got.Confirmed {
			t.Fatalf("got the propagation %+v, want it confirmed", got)
		}
	}
	g.apply(t, apikey.Suspend{WorkspaceID: "acme"})

	// Once the quota is reached, etcd refuses everything. Requests are judged as before.
	g.connection().fill(t, func() bool { return false })
	_, err := g.try(t.Context(), apikey.Suspend{WorkspaceID: "other"})
	if !errors.Is(err, apikey.ErrFleetFull) || !strings.Contains(err.Error(), "etcd has reached its quota") {
		t.Errorf("suspending: got %v, want %v", err, apikey.ErrFleetFull)
	}
	g.awaitRenewed(t)
	gatewaytest.Await(t, "the quota to be used up", func() bool { return g.Known().Space.UsedUp() })
	if got := g.Known().Space.Used; got != smallQuota {
		t.Errorf("got %d bytes used, want the quota", got)
	}
}

// A store is not moved into an etcd that has no room for it.
func TestImport_quota(t *testing.T) {
	t.Parallel()
	o, l := startSmall(t), newLived(t)
	e, err := dial(&o)
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	e.fill(t, func() bool {
		space, known := e.space(t.Context())
		return known && space.Full()
	})
	_, err = Import(t.Context(), o, toMove(t, l.path), silent)
	if !errors.Is(err, errNoRoom) {
		t.Errorf("got %v, want %v", err, errNoRoom)
	}
}
