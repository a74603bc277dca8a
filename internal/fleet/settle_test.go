package fleet

import (
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sync/errgroup"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/authn"
	"github.com/agiled/caddy-api-keys/internal/durable"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
	"github.com/agiled/caddy-api-keys/internal/testenv/bubble"
)

// What a gateway has heard of, and could not apply, it refuses even if etcd was restored to
// just what its replica has: until it has that, and not only as many changes.
func TestFleet_refusesWhatEtcdHasLost(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, 1)
	o := defaults(cluster)
	o.Static = true
	all := startGateways(t, 2, o)
	healthy, broken := all[0], all[1]
	ended, other := issue("acme", "Zapier"), issue("acme", "Other")
	for _, key := range []issued{ended, other} {
		healthy.apply(t, key.Create)
	}
	broken.awaitPosition(t, healthy)
	snapshot := filepath.Join(t.TempDir(), "snapshot")
	cluster.Snapshot(snapshot)
	broken.store.Inject(durable.Faults{Free: func() uint64 { return 0 }})
	go func() { _, _ = healthy.try(t.Context(), revoke(ended)) }() // it waits for the broken gateway
	gatewaytest.Await(t, "the key to be refused", func() bool { return !broken.allows(t, ended) })
	healthy.close()

	cluster.Restore(snapshot, etcdtest.RestoreOptions{Bump: true})
	broken.store.Inject(durable.Faults{})
	broken.awaitRenewed(t)
	if broken.allows(t, ended) {
		t.Error("a gateway allows the key whose revocation etcd has lost")
	}
	broken.apply(t, newKey("acme", "another")) // which has the number of the revocation
	if broken.allows(t, ended) {
		t.Error("a gateway allows the key whose revocation etcd has lost, after another change")
	}
	if n, err := broken.store.ForgetEvents(t.Context(), time.Now().Add(time.Hour), time.Now()); err != nil || n == 0 {
		t.Errorf("forgot %d events, with error %v, want some", n, err)
	}
	if broken.allows(t, ended) {
		t.Error("a gateway allows the key whose revocation etcd has lost, after all earlier events were forgotten")
	}
	if !broken.allows(t, other) {
		t.Error("a key is refused that nobody has ended")
	}

	again := openIn(t, healthy.store.Path(), "again", o)
	again.awaitBack(t)
	broken.awaitPosition(t, again)
	if got := broken.judges(t, ended); got != authn.Revoked {
		t.Errorf("once the revocation is back: got %q, want %q", got, authn.Revoked)
	}
}

// A gateway that cannot write what it reads, and needs all records, does not read them again
// and again.
func TestFleet_fullAndCompacted(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, 1)
	o := defaults(cluster)
	healthy := startGateways(t, 1, o)[0]
	core, logged := observer.New(zap.InfoLevel)
	o.Log, o.Static = zap.New(core), true
	stuck := startGateways(t, 1, o)[0]
	ended := issue("acme", "Zapier")
	healthy.apply(t, ended.Create)
	stuck.awaitPosition(t, healthy)
	stuck.store.Inject(durable.Faults{Free: func() uint64 { return 0 }})
	logged.TakeAll()
	go func() { _, _ = healthy.try(t.Context(), revoke(ended)) }() // it waits for the other one
	gatewaytest.Await(t, "the key to be refused", func() bool { return !stuck.allows(t, ended) })
	healthy.apply(t, newKey("acme", "another"))
	cluster.Compact()

	filling := func() int { return logged.FilterMessage("filling this gateway's replica from etcd").Len() }
	gatewaytest.Await(t, "the gateway to read all records", func() bool { return filling() > 0 })
	for range 2 { // sessions
		id := *stuck.id.Load()
		gatewaytest.Await(t, "another session", func() bool { return *stuck.id.Load() != id })
	}
	if n := filling(); n != 1 {
		t.Errorf("all records were read %d times, although nothing has changed", n)
	}
	stuck.store.Inject(durable.Faults{})
	stuck.awaitPosition(t, healthy)
	if got := stuck.judges(t, ended); got != authn.Revoked {
		t.Errorf("once the disk has space: got %q, want %q", got, authn.Revoked)
	}
}

// A gateway that cannot write refuses what is far ahead of it, too, and so comes in another
// answer of the watch.
func TestFleet_refusesWhatIsFarAhead(t *testing.T) {
	t.Parallel()
	o := defaults(etcdtest.Shared(t, 1))
	o.Log = zap.NewNop()
	healthy := startGateways(t, 1, o)[0]
	o.Static = true
	stuck := startGateways(t, 1, o)[0]
	ended, other := issue("acme", "Zapier"), issue("acme", "Other")
	for _, key := range []issued{ended, other} {
		healthy.apply(t, key.Create)
	}
	stuck.awaitPosition(t, healthy)
	stuck.store.Inject(durable.Faults{Free: func() uint64 { return 0 }})
	healthy.apply(t, newKey("acme", "another"))
	gatewaytest.Await(t, "the gateway to be stuck", func() bool { return stuck.Problem() != "" })
	var writing errgroup.Group
	for n := range 16 {
		writing.Go(func() error {
			for range 80 {
				if _, err := healthy.connection().client.Put(t.Context(), o.Prefix+dataPrefix+"x", strconv.Itoa(n)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := writing.Wait(); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = healthy.try(t.Context(), revoke(ended)) }() // it waits for the stuck gateway
	gatewaytest.Await(t, "the key to be refused", func() bool { return !stuck.allows(t, ended) })
	if !stuck.allows(t, other) {
		t.Error("a key is refused that nobody has ended")
	}
}

// refusing is a replica of which only Refuse is called.
type refusing struct{ Replica }

func (refusing) Refuse([]apikey.Record) {}

// A gateway that cannot write begins again after a while, although etcd does not stop to deliver
// what is no change, and the one that it waits for does not come.
func TestFleet_refusesRestForAWhile(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		e := &etcd{prefix: "/fleet/", keys: keyring{{1}}}
		f := &Fleet{replica: refusing{}, settleAt: 2}
		foreign := []*clientv3.Event{{Type: clientv3.EventTypePut, Kv: &mvccpb.KeyValue{Key: []byte(e.name(dataPrefix + "x")), ModRevision: 1}}}
		answers, stop := make(chan clientv3.WatchResponse), make(chan struct{})
		defer close(stop)
		began := time.Now()
		go func() {
			defer close(answers)
			for time.Since(began) < 10*longestUnread {
				select {
				case answers <- clientv3.WatchResponse{Events: foreign}:
					time.Sleep(watchPatience / 2)
				case <-stop:
					return
				}
			}
		}()
		f.refuseRest(e, foreign, answers)
		if got := time.Since(began); got < longestUnread || got > longestUnread+watchPatience {
			t.Errorf("it went on for %v, want %v", got, longestUnread)
		}
	})
}
