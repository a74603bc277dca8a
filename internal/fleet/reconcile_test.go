package fleet

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/authn"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// lossy is a fleet with changes that its etcd is about to lose.
type lossy struct {
	cluster  *etcdtest.Cluster
	snapshot string
	all      []*gateway

	revoked, suspended, rotated, created, twice issued
	fed, closed                                 apikey.Digest
}

// startLossy starts gateways, takes a snapshot of etcd, and makes changes that are not in
// it.
func startLossy(t *testing.T, o Options, cluster *etcdtest.Cluster) *lossy {
	t.Helper()
	l := &lossy{
		cluster: cluster, snapshot: filepath.Join(t.TempDir(), "snapshot"), all: startGateways(t, 2, o),
		revoked: issue("acme", "revoked"), suspended: issue("paid", "suspended"), rotated: issue("acme", "rotated"),
		created: issue("acme", "created"), twice: issue("acme", "twice"),
		fed: apikey.Digest{1}, closed: apikey.Digest{2},
	}
	g := l.all[0]
	for _, k := range []issued{l.revoked, l.suspended, l.rotated} {
		g.apply(t, k.Create)
	}
	g.apply(t, apikey.OpenFeed{WorkspaceID: "acme", Digest: l.closed})
	cluster.Snapshot(l.snapshot)
	g.connection().putOther(t, 5)
	g.apply(t, l.created.Create)
	g.apply(t, l.twice.Create)
	g.apply(t, apikey.OpenFeed{WorkspaceID: "acme", Digest: l.fed})
	g.apply(t, apikey.Rotate{
		WorkspaceID: "acme", KeyID: l.rotated.Key.ID, Replacement: issue("acme", "").Key, RevokeOldAt: time.Now().Add(time.Millisecond),
	})
	g.apply(t, apikey.Suspend{WorkspaceID: "paid", Reason: "unpaid"})
	if p := g.apply(t, revoke(l.revoked)).Propagation; !p.Confirmed {
		t.Fatalf("got the propagation %+v, want it confirmed", p)
	}
	l.all[1].awaitPosition(t, g)
	return l
}

// ended are the keys that no gateway with a replica may ever accept again.
func (l *lossy) ended() []issued { return []issued{l.revoked, l.suspended, l.rotated} }

// watch checks all the time that a gateway does not accept an ended key, until the test
// ends or stop is called.
func (l *lossy) watch(t *testing.T, g *gateway) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			for _, k := range l.ended() {
				if g.allows(t, k) {
					t.Errorf("a gateway accepts the key %q", k.Key.Name)
				}
			}
			time.Sleep(5 * time.Millisecond) // what would accept one does for longer
		}
	})
	return func() { cancel(); done.Wait() }
}

// check checks that a gateway has everything back.
func (l *lossy) check(t *testing.T, g *gateway) {
	t.Helper()
	for k, want := range map[*issued]authn.Result{
		&l.revoked: authn.Revoked, &l.rotated: authn.Revoked, &l.suspended: authn.Suspended, &l.created: authn.Allowed, &l.twice: authn.Allowed,
	} {
		if got := g.judge(t, *k); got != want {
			t.Errorf("the key %q: got %s, want %s", k.Key.Name, got, want)
		}
	}
	if ws, err := g.store.Feed(t.Context(), l.fed); err != nil || ws != "acme" {
		t.Errorf("the feed: got %q, %v", ws, err)
	}
	if ws, err := g.store.Feed(t.Context(), l.closed); err == nil {
		t.Errorf("the feed that was replaced is open, for %q", ws)
	}
}

func (g *gateway) judge(t *testing.T, k issued) authn.Result {
	return g.authn.Check(t.Context(), new(authn.Policy), &authn.Facts{
		Method: "POST", Path: "/", Authorization: []string{"Bearer " + k.token.Reveal()},
	}).Result
}

// A fleet whose etcd was restored from an old snapshot gets back what etcd has lost, and
// none of its gateways accepts in the meantime what had been taken away.
func TestFleet_putBack(t *testing.T) {
	t.Parallel()
	for name, options := range restores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := etcdtest.Start(t, 1)
			l := startLossy(t, defaults(cluster), cluster)
			for _, g := range l.all {
				defer l.watch(t, g)()
			}
			cluster.Restore(l.snapshot, options)
			l.await(t, l.all...)
			l.countEvents(t, 1)
		})
	}
}

// await waits until gateways serve and have everything back, and compares them.
func (l *lossy) await(t *testing.T, all ...*gateway) {
	t.Helper()
	for _, g := range all {
		g.awaitBack(t)
	}
	for _, g := range all {
		g.awaitPosition(t, all[0])
		l.check(t, g)
		if got, want := g.records(t), all[0].records(t); !reflect.DeepEqual(got, want) {
			t.Errorf("got %d records, want the same %d as on another gateway", len(got), len(want))
		}
	}
}

// awaitBack waits until a gateway takes part in the history that etcd has. One that has
// refused to go over to it compares the records again only after ten times as long as that
// took before.
func (g *gateway) awaitBack(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(2 * longEnough); ; time.Sleep(50 * time.Millisecond) {
		head, _, err := g.connection().readHead(t.Context())
		if at, _ := g.progress.now(); err == nil && g.Live() && sameChange(at.Head, head.Head) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the gateway does not come back: %s", g.reason())
		}
	}
}

// countEvents checks how often something was put back, according to the audit trail.
func (l *lossy) countEvents(t *testing.T, most int) {
	t.Helper()
	n := 0
	for name, value := range l.all[0].records(t) {
		if strings.HasPrefix(name, eventPrefix) && strings.Contains(value, fmt.Sprintf("%q", apikey.OpPutBack)) {
			n++
		}
	}
	if n == 0 || n > most {
		t.Errorf("got %d events of what was put back, want 1 to %d", n, most)
	}
}

// It makes no difference when a gateway is stopped while it goes over to the history of a
// restored etcd.
func TestFleet_putBackInterrupted(t *testing.T) {
	t.Parallel()
	for _, at := range []struct {
		step   string
		static bool
	}{
		{"compared", false}, {"compared", true}, {"filling", false}, {"filled", true}, {"committed", false}, {"put back", true},
	} {
		t.Run(fmt.Sprintf("%s, static: %t", at.step, at.static), func(t *testing.T) {
			t.Parallel()
			cluster := etcdtest.Start(t, 1)
			o := defaults(cluster)
			o.Static = at.static
			l := startLossy(t, o, cluster)
			l.all[1].close()
			first := l.all[0]
			stop := l.watch(t, first)
			first.disk.stop(at.step)
			cluster.Restore(l.snapshot, etcdtest.RestoreOptions{Bump: true})
			first.disk.awaitStop(t)
			if first.Live() && !(at.static && at.step == "compared") {
				t.Error("the gateway serves before everything is back")
			}
			stop()
			first.close()
			again := openIn(t, first.store.Path(), "again", o)
			defer l.watch(t, again)()
			l.await(t, again)
			l.all[0] = again
			l.countEvents(t, 1)
		})
	}
}

// Gateways whose etcd was restored while they were away put back what was lost although
// others have gone on with it, and what those have done in the meantime stands.
func TestFleet_putBackOvertaken(t *testing.T) {
	t.Parallel()
	for name, options := range restores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := etcdtest.Start(t, 1)
			o := defaults(cluster)
			l := startLossy(t, o, cluster)
			for _, g := range l.all {
				g.close()
			}
			cluster.Restore(l.snapshot, options)
			fresh := openGateway(t, "fresh", o)
			fresh.awaitLive(t)
			same, later := issue("acme", l.twice.Key.Name), issue("other", "later")
			fresh.apply(t, same.Create)
			fresh.apply(t, later.Create)
			for i := range 5 {
				fresh.apply(t, newKey("acme", strings.Repeat("x", i+1)))
			}
			fresh.apply(t, revoke(later))
			fresh.apply(t, apikey.Suspend{WorkspaceID: "third"})
			cluster.Compact()
			fresh.connection().putOther(t, 20) // so that its revisions are later ones, too
			all := []*gateway{fresh}
			for i, g := range l.all {
				back := openIn(t, g.store.Path(), fmt.Sprint("back", i), o)
				defer l.watch(t, back)()
				all = append(all, back)
			}
			l.await(t, all...)
			for _, g := range all {
				if got := g.judge(t, same); got != authn.Allowed {
					t.Errorf("a key with the name of another: got %s", got)
				}
				if got := g.judge(t, later); got != authn.Revoked {
					t.Errorf("a key that was revoked after the restore: got %s", got)
				}
				key, err := g.store.Lookup(l.twice.Key.Digest)
				if err != nil || !strings.HasPrefix(key.Name, "twice (restored ") {
					t.Errorf("the key whose name was given to another: got %q, %v", key.Name, err)
				}
			}
		})
	}
}

// A gateway of which etcd has lost more than it puts back without being asked changes
// nothing, and does not serve, until it is asked. The others follow.
func TestFleet_putBackTooMany(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, 1)
	l := startLossy(t, defaults(cluster), cluster)
	for i := range 60 {
		l.all[0].apply(t, newKey("many", fmt.Sprint(i)))
	}
	l.all[1].awaitPosition(t, l.all[0])
	before := l.all[0].records(t)
	for _, g := range l.all {
		defer l.watch(t, g)()
	}
	cluster.Restore(l.snapshot, etcdtest.RestoreOptions{Bump: true})
	for _, g := range l.all {
		g.awaitOtherHistory(t)
		gatewaytest.Await(t, "a gateway to say how many records are missing", func() bool {
			return strings.Contains(g.Known().Problem, "records of this replica are missing in etcd")
		})
		if got := g.records(t); !reflect.DeepEqual(got, before) {
			t.Errorf("got %d records, want the %d from before", len(got), len(before))
		}
	}
	if err := l.all[0].watch(t.Context(), l.all[0].connection()); !errors.Is(err, errHistory) {
		t.Errorf("watching from before the restore: got %v, want %v", err, errHistory)
	}
	for _, g := range l.all {
		if got := g.Known().Lost; got == nil || got.Records < 2*60 || got.Left != got.Records || !got.Waiting {
			t.Errorf("got %+v lost, want at least 120 records that wait", got)
		}
	}
	l.all[1].PutBack()
	l.all[1].PutBack() // as if it had been asked twice
	l.await(t, l.all...)
	for _, g := range l.all {
		if lost := g.Known().Lost; lost != nil {
			t.Errorf("got %+v lost after everything was put back", lost)
		}
	}
	l.countEvents(t, 3)
	l.all[0].PutBack() // when there is nothing to put back
}
