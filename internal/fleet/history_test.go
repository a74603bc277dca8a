package fleet

import (
	"bytes"
	"context"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// What a gateway has acknowledged of a history that is lost, before etcd was restored from
// a snapshot, does not count for the change that has the same number now.
func TestFleet_acknowledgedOtherHistory(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Shared(t, 1)
	all := startProxied(t, cluster, 2, brief)
	k := issue("acme", "Zapier")
	all[0].apply(t, k.Create)
	all[1].awaitPosition(t, all[0].gateway)
	at, _ := all[0].progress.now()
	lost := at.Head
	lost.Seq, lost.LastEnd = at.Seq+1, at.Seq+1 // with the sum of another change

	e, id := all[0].connection(), *all[1].id.Load()
	gateways, _, _ := all[0].registry.all()
	registration := gateways[id].registration
	registration.acknowledge(lost)
	all[1].awaitRenewed(t)
	all[1].each((*etcdtest.Proxy).Drop)
	if _, err := e.write(t.Context(), nil, []clientv3.Op{clientv3.OpPut(e.name(gatewayPrefix+id), e.sealRegistration(id, registration))}, nil); err != nil {
		t.Fatal(err)
	}
	if got := all[0].apply(t, revoke(k)).Propagation; got.Confirmed && all[1].allows(t, k) {
		t.Errorf("got the propagation %+v, and a gateway that allows the key", got)
	}
}

// Nor does it keep the gateway from acknowledging that change, if it continues under the
// registration that says so.
func TestFleet_acknowledgesOtherHistory(t *testing.T) {
	t.Parallel()
	o := defaults(etcdtest.Shared(t, 1))
	g := startGateways(t, 1, o)[0]
	k := issue("acme", "Zapier")
	g.apply(t, k.Create)
	g.apply(t, revoke(k))
	at, _ := g.progress.now()
	for _, lost := range []uint64{at.LastEnd, at.LastEnd + 1} {
		m, err := register(t.Context(), g.connection(), &o, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if err := m.serve(t.Context(), apikey.Head{Seq: lost, LastEnd: lost, Sum: []byte("of another change")}); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- g.acknowledge(ctx, m) }()
		gatewaytest.Await(t, "the acknowledgement", func() bool {
			gateways, _, _ := g.registry.all()
			found := gateways[m.id].registration
			return found.hasAcknowledged(at.Head)
		})
		stop()
		<-done
	}
}

// What gateways acknowledged long ago counts for one that has just been started: it takes
// the sum from the head.
func TestFleet_acknowledgedBefore(t *testing.T) {
	t.Parallel()
	o := defaults(etcdtest.Shared(t, 1))
	all := startGateways(t, 2, o)
	k := issue("acme", "Zapier")
	all[0].apply(t, k.Create)
	all[0].apply(t, revoke(k))
	for _, name := range []string{"one", "two"} {
		all[0].apply(t, newKey("acme", name))
	}
	late := openGateway(t, "late", o)
	late.awaitLive(t)
	if got := late.apply(t, revoke(k)).Propagation; !got.Confirmed || got.Gateways != 3 || got.Waited >= fenceAfter/2 {
		t.Errorf("got the propagation %+v, want it confirmed by 3 gateways without waiting", got)
	}
}

// Nor does what others have acknowledged count for a change whose number this gateway's own
// replica knows as that of another change.
func TestFleet_waitsForOtherHistory(t *testing.T) {
	t.Parallel()
	all := startGateways(t, 2, defaults(etcdtest.Shared(t, 1)))
	k := issue("acme", "Zapier")
	all[0].apply(t, k.Create)
	all[0].apply(t, revoke(k))
	gateways, _, _ := all[0].registry.all()
	at, _ := all[0].progress.now()
	if got := all[0].confirm(t.Context(), at, gateways); !got.Confirmed {
		t.Errorf("got the propagation %+v, want it confirmed", got)
	}
	at.Sum = bytes.Repeat([]byte{1}, len(at.Sum))
	ctx, cancel := context.WithTimeout(t.Context(), fenceAfter/2)
	defer cancel()
	if got := all[0].confirm(ctx, at, gateways); got.Confirmed {
		t.Errorf("got the propagation %+v of a change that is lost, want it pending", got)
	}
}
