package fleet

import (
	"context"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// intruder can write to etcd, and has no integrity key.
type intruder struct {
	t *testing.T
	*etcd
}

func (i intruder) get(name string) string {
	i.t.Helper()
	read, err := i.client.Get(context.Background(), i.name(name))
	if err != nil || len(read.Kvs) != 1 {
		i.t.Fatalf("reading %s: %v", name, err)
	}
	return string(read.Kvs[0].Value)
}

func (i intruder) put(name, value string) {
	i.t.Helper()
	if _, err := i.client.Put(context.Background(), i.name(name), value); err != nil {
		i.t.Fatal(err)
	}
}

func (i intruder) remove(name string) {
	i.t.Helper()
	if _, err := i.client.Delete(context.Background(), i.name(name), clientv3.WithPrefix()); err != nil {
		i.t.Fatal(err)
	}
}

// forge returns a value with the contents of another one, as of a later change, under a
// key of the intruder's own.
func (i intruder) forge(name, from string) string {
	i.t.Helper()
	value, seq, err := i.keys.open(i.name(name), []byte(from))
	if err != nil {
		i.t.Fatal(err)
	}
	return string(keyring{{2}}.seal(i.name(name), seq+2, value))
}

func (k issued) recordName() string {
	return recordName(apikey.Record{Kind: apikey.RecordKey, ID: k.Key.ID})
}

// Gateways that follow the changes take nothing that comes without one.
func TestFleet_recordsTamperedWith(t *testing.T) {
	t.Parallel()
	all := startGateways(t, 2, defaults(etcdtest.Shared(t, 1)))
	i := intruder{t, all[0].connection()}
	revoked, kept := issue("acme", "revoked"), issue("acme", "kept")
	all[0].apply(t, revoked.Create)
	all[0].apply(t, kept.Create)
	old := i.get(revoked.recordName())
	all[1].apply(t, revoke(revoked))
	now, other := i.get(revoked.recordName()), i.get(kept.recordName())

	for name, tamper := range map[string]func(){
		"an old value":             func() { i.put(revoked.recordName(), old) },
		"a value of another key":   func() { i.put(revoked.recordName(), other) },
		"a forged value":           func() { i.put(revoked.recordName(), i.forge(revoked.recordName(), old)) },
		"no value":                 func() { i.put(revoked.recordName(), "") },
		"a deleted record":         func() { i.remove(kept.recordName()) },
		"a place for no record":    func() { i.put("d/other", "x") },
		"a ticket of nobody":       func() { i.put("q/nobody", "x") },
		"all of the audit trail":   func() { i.remove(eventPrefix) },
		"a registration of nobody": func() { i.put("gw/nobody", "x"); i.remove("gw/nobody") },
	} {
		tamper()
		all[0].apply(t, newKey("acme", name)) // a later change, so that all have seen that
		for _, g := range all {
			g.awaitPosition(t, all[0])
			if !g.Live() || g.allows(t, revoked) || !g.allows(t, kept) {
				t.Errorf("%s: %s is live: %t, allows a revoked key: %t, allows another: %t", name,
					g.options.Load().Name, g.Live(), g.allows(t, revoked), g.allows(t, kept))
			}
		}
		i.put(revoked.recordName(), now)
		i.put(kept.recordName(), other)
	}
}

// Without the head, no gateway can know what it has missed.
func TestFleet_headTamperedWith(t *testing.T) {
	t.Parallel()
	all := startGateways(t, 2, defaults(etcdtest.Shared(t, 1)))
	i := intruder{t, all[0].connection()}
	all[0].apply(t, newKey("acme", "first"))
	old := i.get(headName)
	all[0].apply(t, newKey("acme", "second"))
	all[1].awaitPosition(t, all[0])
	now := i.get(headName)
	for name, value := range map[string]string{"old": old, "forged": i.forge(headName, now), "garbage": "x"} {
		i.put(headName, value)
		for _, g := range all {
			g.awaitNotLive(t)
			gatewaytest.Await(t, "a problem with a head that is "+name, func() bool {
				return strings.Contains(g.Problem(), headName) || strings.Contains(g.Problem(), errHistory.Error())
			})
		}
		i.put(headName, now)
		for _, g := range all {
			g.awaitLive(t)
		}
	}
}

// A registration that cannot be read may be that of a gateway that serves.
func TestFleet_registrationTamperedWith(t *testing.T) {
	t.Parallel()
	all := startProxied(t, etcdtest.Shared(t, 1), 2)
	i := intruder{t, all[0].connection()}
	k := issue("acme", "Zapier")
	all[0].apply(t, k.Create)
	all[1].awaitPosition(t, all[0].gateway)
	all[1].each((*etcdtest.Proxy).Drop)
	id := *all[1].id.Load()
	i.put(gatewayPrefix+id, "x")
	if got := all[0].apply(t, revoke(k)).Propagation; got.Confirmed {
		t.Errorf("got the propagation %+v, want one that is pending", got)
	}
	all[1].each((*etcdtest.Proxy).Pass)
	gatewaytest.Await(t, "another registration", func() bool { return *all[1].id.Load() != id })
	all[1].awaitLive(t)
	if got := all[0].apply(t, revoke(k)).Propagation; !got.Confirmed {
		t.Errorf("got the propagation %+v, want a confirmed one", got)
	}
}

// A gateway is not filled with what no gateway wrote.
func TestFleet_filledAfterTampering(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Shared(t, 1)
	all := startGateways(t, 1, defaults(cluster))
	i := intruder{t, all[0].connection()}
	k, other := issue("acme", "revoked"), issue("acme", "other")
	all[0].apply(t, k.Create)
	all[0].apply(t, other.Create)
	old := i.get(k.recordName())
	all[0].apply(t, revoke(k))
	now := i.get(k.recordName())
	for name, value := range map[string]string{
		"forged": i.forge(k.recordName(), old), "another's": i.get(other.recordName()), "garbage": "x",
	} {
		i.put(k.recordName(), value)
		fresh := openGateway(t, name, defaults(cluster))
		gatewaytest.Await(t, "a gateway to say what is wrong", func() bool {
			return strings.Contains(fresh.Problem(), k.recordName())
		})
		if fresh.Live() || fresh.allows(t, k) {
			t.Errorf("%s: the gateway is live: %t, and allows the key: %t", name, fresh.Live(), fresh.allows(t, k))
		}
		i.put(k.recordName(), now)
		fresh.awaitLive(t)
		if fresh.allows(t, k) {
			t.Errorf("%s: the gateway allows a revoked key", name)
		}
	}
}
