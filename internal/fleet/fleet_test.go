package fleet

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// gateway is a gateway of a fleet without its HTTP server.
type gateway struct {
	*Fleet
	store *store.Store
}

// replica adapts a store.
type replica struct{ *store.Store }

func (r replica) BeginReload(ctx context.Context) (Reload, error) {
	return r.Store.BeginReload(ctx)
}

func openGateway(t *testing.T, name string, o Options) *gateway {
	t.Helper()
	log := zaptest.NewLogger(t).Named(name)
	opened, err := store.OpenReplica(filepath.Join(t.TempDir(), name), o.Prefix, log, nil)
	if err != nil {
		t.Fatal(err)
	}
	o.Name, o.Log = name, log
	f, err := Open(o, replica{opened})
	if err != nil {
		t.Fatal(err)
	}
	opened.Follow(f)
	t.Cleanup(func() {
		f.Close()
		if err := opened.Close(); err != nil {
			t.Error(err)
		}
	})
	return &gateway{f, opened}
}

func (g *gateway) awaitLive(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !g.Live(); {
		if time.Now().After(deadline) {
			t.Fatalf("the gateway does not get a lease: %s", g.reason())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func newKey(ws, name string) apikey.Create {
	now := time.Now().UTC().Truncate(time.Millisecond)
	token := apikey.NewToken("agk")
	return apikey.Create{Key: apikey.Key{
		ID: apikey.NewKeyID(now), WorkspaceID: ws, Name: name, Preset: apikey.FullAccess,
		Digest: token.Digest(), TokenHint: token.Hint(), CreatedAt: now, ExpiresAt: now.Add(90 * 24 * time.Hour),
	}}
}

func (g *gateway) apply(t *testing.T, do apikey.Action) apikey.Outcome {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Millisecond)
	outcome, err := g.store.Apply(t.Context(), apikey.Change{EventID: apikey.NewEventID(now), At: now, Actor: "test", Do: do})
	if err != nil {
		t.Fatalf("%T: %v", do, err)
	}
	return outcome
}

func startGateways(t *testing.T, n int, o Options) (all []*gateway) {
	t.Helper()
	for i := range n {
		all = append(all, openGateway(t, fmt.Sprintf("gw%d", i), o))
	}
	for _, g := range all {
		g.awaitLive(t)
	}
	return all
}

func defaults(cluster *etcdtest.Cluster) Options {
	return Options{
		Endpoints: cluster.Endpoints(), Prefix: "/api-keys/", MaxStaleness: 3 * time.Second,
		IntegrityKeys: []IntegrityKey{{1}}, Version: "test",
	}
}

func TestFleet_revoke(t *testing.T) {
	all := startGateways(t, 3, defaults(etcdtest.Start(t, 3)))
	created := all[0].apply(t, newKey("acme", "Zapier"))
	revoked := all[1].apply(t, apikey.Revoke{WorkspaceID: "acme", KeyID: created.Key.ID, Reason: "test"})
	for _, g := range all { // no waiting: it is confirmed
		key, err := g.store.Lookup(created.Key.Digest)
		if err != nil || key.Status(time.Now()) != apikey.Revoked {
			t.Errorf("%s: got %+v, %v after the revocation, want a revoked key", g.options.Load().Name, key, err)
		}
	}
	got := revoked.Propagation
	got.Waited = 0
	if want := (apikey.Propagation{Confirmed: true, Revision: 2, Gateways: 3}); !reflect.DeepEqual(got, want) {
		t.Errorf("got the propagation %+v, want %+v", got, want)
	}
}

// Gateways that change things at the same time get their turns, and end up with the same
// records.
func TestFleet_concurrentChanges(t *testing.T) {
	all := startGateways(t, 3, defaults(etcdtest.Start(t, 3)))
	const writers, each = 10, 5
	var w sync.WaitGroup
	for _, g := range all {
		for i := range writers {
			w.Go(func() {
				for j := range each {
					g.apply(t, newKey(fmt.Sprintf("ws%d", i), fmt.Sprintf("key %s %d", g.options.Load().Name, j)))
				}
			})
		}
	}
	w.Wait()
	for _, g := range all {
		for _, other := range all {
			g.awaitPosition(t, other)
		}
	}
	want := all[0].records(t)
	if n := 2 * len(all) * writers * each; len(want) != n { // a key and an event each
		t.Errorf("got %d records, want %d", len(want), n)
	}
	for _, g := range all[1:] {
		if got := g.records(t); !reflect.DeepEqual(got, want) {
			t.Errorf("%s has other records than %s", g.options.Load().Name, all[0].options.Load().Name)
		}
	}
}

// awaitPosition waits until a gateway has applied what another one has.
func (g *gateway) awaitPosition(t *testing.T, other *gateway) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	want, _ := other.progress.now()
	if at, err := g.progress.reach(ctx, func(at point) bool { return at.Seq >= want.Seq }); err != nil {
		t.Fatalf("got change %d, want %d: %v", at.Seq, want.Seq, err)
	}
}

func (g *gateway) records(t *testing.T) map[string]string {
	t.Helper()
	records := make(map[string]string)
	if err := g.store.EachRecord(t.Context(), func(r apikey.Record) error {
		records[recordName(r)] = string(r.Value)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return records
}
