package fleet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
)

var oldKey, secondKey, thirdKey = IntegrityKey{1}, IntegrityKey{2}, IntegrityKey{3}

func withKeys(o Options, keys ...IntegrityKey) Options {
	o.IntegrityKeys = keys
	return o
}

// rekey runs all steps, and returns what they did together.
func (g *gateway) rekey(t *testing.T) (done apikey.Rekeyed) {
	t.Helper()
	for {
		step, err := g.Rekey(t.Context(), done.Next)
		if err != nil {
			t.Fatal(err)
		}
		done.Checked, done.Sealed, done.Remaining, done.Next = done.Checked+step.Checked, done.Sealed+step.Sealed, step.Remaining, step.Next
		if done.Next == "" {
			return done
		}
	}
}

// sealedWith counts the values of a fleet in etcd that are sealed with a key.
func sealedWith(t *testing.T, e *etcd, key IntegrityKey) (n int) {
	t.Helper()
	read, err := e.client.Get(t.Context(), e.name(dataPrefix), clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range read.Kvs {
		if (keyring{key}).isCurrent(kv.Value) {
			n++
		}
	}
	return n
}

// The integrity key is replaced twice while the fleet serves, and its records stay as
// they are. No gateway takes that for a change.
func TestRekey(t *testing.T) {
	t.Parallel()
	o, l := withKeys(defaults(etcdtest.Shared(t, 1)), oldKey), newLivedWith(t, 600) // more than one page
	if _, err := Import(t.Context(), o, toMove(t, l.path), silent); err != nil {
		t.Fatal(err)
	}
	core, logged := observer.New(zapcore.ErrorLevel)
	o.Log = zap.New(core)
	all := startGateways(t, 2, o)
	before, _ := all[0].progress.now()
	values := len(l.records) + 1 // with the head
	for i, keys := range [][]IntegrityKey{{secondKey, oldKey}, {thirdKey, secondKey}} {
		for _, g := range all {
			g.adopt(t, withKeys(o, keys[1], keys[0]))
		}
		if _, err := all[0].Rekey(t.Context(), ""); err != nil {
			t.Fatalf("with the old key in first place: %v", err)
		}
		for _, g := range all {
			g.adopt(t, withKeys(o, keys...))
		}
		if got := all[0].rekey(t); got.Checked != values || got.Sealed != values || got.Remaining != 0 {
			t.Errorf("key %d: got %+v, want all %d values sealed", i, got, values)
		}
		if got := all[1].rekey(t); got.Sealed != 0 {
			t.Errorf("key %d: again: got %+v, want nothing sealed", i, got)
		}
		if got := sealedWith(t, all[0].connection(), keys[0]); got != values {
			t.Errorf("key %d: got %d values sealed with it, want %d", i, got, values)
		}
		for _, g := range all {
			g.adopt(t, withKeys(o, keys[0]))
		}
	}
	for _, g := range all {
		if at, _ := g.progress.now(); !sameChange(at.Head, before.Head) {
			t.Errorf("got change %d, want none after change %d", at.Seq, before.Seq)
		}
		if got := g.records(t); !maps.Equal(got, l.records) {
			t.Errorf("the records have changed: got %d, want %d", len(got), len(l.records))
		}
	}
	if p := all[0].apply(t, revoke(l.kept)).Propagation; !p.Confirmed || p.Gateways != 2 {
		t.Errorf("got the propagation %+v, want it confirmed by 2 gateways", p)
	}
	for _, entry := range logged.All() {
		unreadable := strings.Contains(entry.Message, "a registration of the fleet cannot be read") // before all have both keys
		if silence := func(f zap.Field) bool { err, is := f.Interface.(error); return is && isSilence(err) }; !unreadable && !slices.ContainsFunc(entry.Context, silence) {
			t.Errorf("a gateway has logged %q: %v", entry.Message, entry.ContextMap())
		}
	}
	fresh := openGateway(t, "fresh", withKeys(o, thirdKey))
	fresh.awaitLive(t)
	if fresh.allows(t, l.kept) || fresh.allows(t, l.revoked) {
		t.Error("a gateway that was filled again allows a revoked key")
	}
}

// adopt gives a gateway other options, and waits until it is registered with them alone.
func (g *gateway) adopt(t *testing.T, o Options) {
	t.Helper()
	o.Name = g.options.Load().Name
	before := *g.id.Load()
	if err := g.Adopt(o); err != nil {
		t.Fatal(err)
	}
	g.awaitStatus(t, func(got []apikey.GatewayStatus) bool {
		of := func(id string) bool {
			return slices.ContainsFunc(got, func(one apikey.GatewayStatus) bool { return one.ID == id && one.State == apikey.GatewayServing })
		}
		return of(*g.id.Load()) && !of(before) && *g.id.Load() != before
	})
	g.awaitLive(t)
}

// As long as a gateway seals with another key, nothing is sealed again.
func TestRekey_otherGateways(t *testing.T) {
	t.Parallel()
	o := withKeys(defaults(etcdtest.Shared(t, 1)), secondKey, oldKey)
	g := startGateways(t, 1, withKeys(o, oldKey))[0]
	g.apply(t, newKey("acme", "Zapier"))
	ready := openGateway(t, "ready", o)
	ready.awaitLive(t)
	_, err := ready.Rekey(t.Context(), "")
	refusal, _ := errors.AsType[*apikey.Error](err)
	if !errors.Is(err, apikey.ErrIntegrityKeyDiffers) || !strings.Contains(refusal.Message, "gw0 ("+*g.id.Load()+")") {
		t.Errorf("got %v, want %v with the other gateway", err, apikey.ErrIntegrityKeyDiffers)
	}
	if got := sealedWith(t, ready.connection(), secondKey); got != 0 {
		t.Errorf("got %d values sealed with the new key, want none", got)
	}
	g.close()
	if got := ready.rekey(t); got.Sealed != 3 {
		t.Errorf("got %+v, want 3 values sealed", got)
	}
}

// What is changed while records are sealed again is kept.
func TestRekey_whileChanging(t *testing.T) {
	t.Parallel()
	o := withKeys(defaults(etcdtest.Shared(t, 1)), oldKey)
	all := startGateways(t, 2, o)
	var keys []issued
	for i := range 40 {
		keys = append(keys, issue(fmt.Sprintf("ws%d", i), "Zapier"))
		all[0].apply(t, keys[i].Create)
	}
	for _, g := range all {
		g.adopt(t, withKeys(o, secondKey, oldKey))
	}
	var w sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	w.Go(func() {
		for ctx.Err() == nil {
			if _, err := all[1].Rekey(ctx, ""); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	for _, k := range keys {
		if p := all[0].apply(t, revoke(k)).Propagation; !p.Confirmed {
			t.Errorf("got the propagation %+v, want it confirmed", p)
		}
		if all[1].allows(t, k) {
			t.Error("a gateway allows a revoked key")
		}
	}
	stop()
	w.Wait()
	all[1].rekey(t)
	fresh := openGateway(t, "fresh", withKeys(o, secondKey))
	fresh.awaitLive(t)
	if got, want := fresh.records(t), all[0].records(t); !maps.Equal(got, want) {
		t.Errorf("a gateway that was filled again has other records: got %d, want %d", len(got), len(want))
	}
}

// Records that change again and again while they are read are not taken for forged ones.
func TestRekey_overtaken(t *testing.T) {
	t.Parallel()
	o := withKeys(defaults(etcdtest.Shared(t, 1)), oldKey)
	all := startGateways(t, 2, o)
	var keys []issued
	for i := range 2 * rekeyTries {
		keys = append(keys, issue(fmt.Sprintf("ws%d", i), "Zapier"))
		all[0].apply(t, keys[i].Create)
	}
	for _, g := range all {
		g.adopt(t, withKeys(o, secondKey, oldKey))
	}
	changed := 0
	overtake := func() {
		if changed < rekeyTries+2 {
			all[0].apply(t, revoke(keys[changed]))
			changed++
		}
	}
	all[1].disk.compared.Store(&overtake)
	all[1].rekey(t)
	if want := rekeyTries + 2; changed != want {
		t.Errorf("got %d changes meanwhile, want %d", changed, want)
	}
	if got := sealedWith(t, all[1].connection(), oldKey); got != 0 {
		t.Errorf("got %d values sealed with the old key, want none", got)
	}
}

// What somebody with the old key has forged is not sealed again.
func TestRekey_forged(t *testing.T) {
	t.Parallel()
	o := withKeys(defaults(etcdtest.Shared(t, 1)), secondKey, oldKey)
	g := startGateways(t, 1, o)[0]
	k := issue("acme", "Zapier")
	g.apply(t, k.Create)
	i := intruder{t, connect(t, withKeys(o, oldKey))}
	name := i.name(k.recordName())
	value, seq, err := (keyring{secondKey}).open(name, []byte(i.get(k.recordName())))
	if err != nil {
		t.Fatal(err)
	}
	forged := strings.Replace(string(value), "Zapier", "Forged", 1)
	i.put(k.recordName(), string(i.keys.seal(name, seq, []byte(forged))))
	if _, err := g.Rekey(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "is not what this replica has") {
		t.Errorf("got %v, want an error saying that the record is not this replica's", err)
	}
	if got := sealedWith(t, i.etcd, oldKey); got != 1 {
		t.Errorf("got %d values sealed with the old key, want the forged one", got)
	}
}
