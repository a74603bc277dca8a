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
	if _, err := e.client.Put(t.Context(), e.name(senderName)+"/0", "x"); err != nil {
		t.Fatal(err)
	}
	_, resign := g.mustLead(t)
	defer resign()
	read, err := e.client.Get(t.Context(), e.name(senderName)+"/", clientv3.WithPrefix())
	if err != nil || len(read.Kvs) != 1 || read.Kvs[0].Lease == 0 {
		t.Errorf("got the candidates %v and error %v, want only the gateway itself", read.Kvs, err)
	}
}
