package fleet

import (
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/agiled/caddy-api-keys/internal/etcdtest"
)

// Candidates without a lease, as in a copy of etcd, keep no gateway from sending to webhooks.
func TestOutbox_strayCandidate(t *testing.T) {
	t.Parallel()
	g := startGateways(t, 1, defaults(etcdtest.Shared(t, 1)))[0]
	e := g.connection()
	others := intruder{t, e}
	others.put(senderName+"/0", "x")
	_, resign := g.mustLead(t)
	defer resign()
	read, err := e.client.Get(t.Context(), e.name(senderName)+"/", clientv3.WithPrefix())
	if err != nil || len(read.Kvs) != 1 || read.Kvs[0].Lease == 0 {
		t.Errorf("got the candidates %v and error %v, want only the gateway itself", read.Kvs, err)
	}
}

// What other programs keep among the candidates is theirs.
func TestOutbox_foreignCandidates(t *testing.T) {
	t.Parallel()
	g := startGateways(t, 1, defaults(etcdtest.Shared(t, 1)))[0]
	e := g.connection()
	others := intruder{t, e}
	names := []string{senderName + "/notes", senderName + "/d/head", senderName + "/0/x", senderName + "/0123456789abcdef0"}
	for _, name := range names {
		others.put(name, "theirs")
	}
	if err := g.Outbox().removeStrays(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if got := others.get(name); got != "theirs" {
			t.Errorf("%q has %q, want what was there before", name, got)
		}
	}
}
