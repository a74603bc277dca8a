package fleet

import (
	"os"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// A gateway in strict mode that was killed and is started again counts once, and removes
// what it has left once nobody has to wait for that.
func TestFleet_killedAndStartedAgain(t *testing.T) {
	t.Parallel()
	all := startProxied(t, etcdtest.Shared(t, 1), 2, brief)
	for range 2 {
		all[1].crash()
		all[1].open(t)
		all[1].awaitLive(t)
	}
	gatewaytest.Await(t, "two serving gateways", func() bool {
		gateways, _, _ := all[0].registry.all()
		return countServing(gateways) == 2
	})
	k := issue("acme", "Zapier")
	all[0].apply(t, k.Create)
	wantConfirmed(t, all[0].apply(t, revoke(k)).Propagation, 2)
	all[0].awaitRegistered(t, 2)
}

// A copy of a replica, on a machine that was cloned, takes its original for a process that
// was killed. That is excluded, and waited for until its lease has ended.
func TestFleet_copied(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Shared(t, 1)
	all := startProxied(t, cluster, 2, lasting(8*time.Second))
	original, copied := all[1], newProxied(t, cluster, "gw1", lasting(8*time.Second))
	k := issue("acme", "Zapier")
	all[0].apply(t, k.Create)
	original.awaitPosition(t, all[0].gateway)
	original.crash()
	if err := os.CopyFS(copied.dir, os.DirFS(original.dir)); err != nil {
		t.Fatal(err)
	}
	original.open(t)
	original.awaitLive(t)
	id := *original.id.Load()
	noteIn(t, copied.dir, original.options.Prefix, apikey.Contact{Registrations: []string{id}, Holder: "gw1 at " + copied.dir})

	original.each((*etcdtest.Proxy).Drop)
	copied.open(t)
	all[0].awaitFenced(t, id)
	if got := all[0].apply(t, revoke(k)).Propagation; !got.Confirmed || original.allows(t, k) {
		t.Errorf("got the propagation %+v, and the original allows the key: %t", got, original.allows(t, k))
	}
	original.each((*etcdtest.Proxy).Pass)
	original.awaitLive(t)
	copied.awaitLive(t)
	gatewaytest.Await(t, "three serving gateways", func() bool {
		gateways, _, _ := all[0].registry.all()
		return countServing(gateways) == 3 && len(gateways) == 3
	})
}

// noteIn notes something in a replica that is not open.
func noteIn(t *testing.T, dir, prefix string, contact apikey.Contact) {
	t.Helper()
	s, err := store.OpenReplica(dir, prefix, zap.NewNop(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore(t, s)
	if err := s.NoteContact(t.Context(), contact); err != nil {
		t.Fatal(err)
	}
}
