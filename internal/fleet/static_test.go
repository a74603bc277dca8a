package fleet

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
	"github.com/agiled/caddy-api-keys/internal/sethash"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// inStaticMode makes a gateway serve without etcd for a day.
func inStaticMode(o *Options) { o.Static = true }

func wantPending(t *testing.T, got apikey.Propagation, behind ...string) {
	t.Helper()
	if got.Confirmed || !slices.Equal(got.Behind, behind) {
		t.Errorf("got the propagation %+v, want it pending for %q", got, behind)
	}
}

// awaitRegistered waits until there are so many registrations.
func (g *gateway) awaitRegistered(t *testing.T, want int) {
	t.Helper()
	gatewaytest.Await(t, "former registrations to be removed", func() bool {
		gateways, _, _ := g.registry.all()
		return len(gateways) == want
	})
}

func wantConfirmed(t *testing.T, got apikey.Propagation, gateways int) {
	t.Helper()
	if !got.Confirmed || got.Gateways != gateways {
		t.Errorf("got the propagation %+v, want it confirmed by %d gateways", got, gateways)
	}
}

// A gateway in static mode that is restarted without etcd keeps serving. What is taken away
// elsewhere is pending because of it, until it is back.
func TestStatic_restartedWithoutEtcd(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(*proxied){
		"killed":  func(g *proxied) { g.crash() },
		"stopped": func(g *proxied) { g.each((*etcdtest.Proxy).Drop); g.close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := startProxied(t, etcdtest.Shared(t, 1), 2, inStaticMode)
			k := issue("acme", "Zapier")
			all[0].apply(t, k.Create)
			all[1].awaitPosition(t, all[0].gateway)

			stop(all[1])
			all[1].each((*etcdtest.Proxy).Drop)
			all[1].open(t)
			if !all[1].allows(t, k) {
				t.Error("a gateway that is restarted without etcd refuses a key that it knows")
			}
			wantPending(t, all[0].apply(t, revoke(k)).Propagation, "gw1")
			if !all[1].allows(t, k) {
				t.Error("the gateway knows of a revocation that cannot have reached it")
			}

			all[1].each((*etcdtest.Proxy).Pass)
			all[1].awaitRenewed(t)
			if all[1].allows(t, k) {
				t.Error("the gateway that came back allows a revoked key")
			}
			all[0].awaitRegistered(t, 2)
			wantConfirmed(t, all[0].apply(t, revoke(k)).Propagation, 2)
		})
	}
}

// A gateway in static mode that was killed and is started again removes the registration
// that it has left.
func TestStatic_killedAndStartedAgain(t *testing.T) {
	t.Parallel()
	for name, static := range map[string]bool{"in static mode": true, "in strict mode": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := startProxied(t, etcdtest.Shared(t, 1), 2, inStaticMode)
			all[1].crash()
			all[1].options.Static = static
			all[1].open(t)
			all[1].awaitRenewed(t)
			all[0].awaitRegistered(t, 2)
			k := issue("acme", "Zapier")
			all[0].apply(t, k.Create)
			wantConfirmed(t, all[0].apply(t, revoke(k)).Propagation, 2)

			all[1].each((*etcdtest.Proxy).Drop)
			all[1].close()
			all[1].options.Static = true
			all[1].open(t)
			if got := all[1].Live(); got != static {
				t.Errorf("restarted without etcd, in static mode: it serves: got %t, want %t", got, static)
			}
		})
	}
}

// A gateway that has left its fleet is not waited for, so it may not serve again before it
// has been in contact.
func TestStatic_leaves(t *testing.T) {
	t.Parallel()
	all := startProxied(t, etcdtest.Shared(t, 1), 2, inStaticMode)
	k := issue("acme", "Zapier")
	all[0].apply(t, k.Create)
	all[1].awaitPosition(t, all[0].gateway)
	all[1].close()
	wantConfirmed(t, all[0].apply(t, revoke(k)).Propagation, 1)
	all[1].each((*etcdtest.Proxy).Drop)
	all[1].open(t)
	if all[1].Live() {
		t.Error("a gateway that has left its fleet serves without etcd")
	}
}

// Another mode applies immediately, and nobody is waited for needlessly.
func TestStatic_reload(t *testing.T) {
	t.Parallel()
	g := startProxied(t, etcdtest.Shared(t, 1), 1, inStaticMode, brief)[0]
	adopt := func(static bool) {
		t.Helper()
		o := *g.Fleet.options.Load()
		o.Static = static
		if err := g.Adopt(o); err != nil {
			t.Fatal(err)
		}
		g.awaitRenewed(t)
	}
	adopt(false)
	if got := g.Known().Lease; got > g.options.MaxStaleness {
		t.Errorf("strict: got a lease of %s, want no more than %s", got, g.options.MaxStaleness)
	}
	gatewaytest.Await(t, "the contact to be forgotten", func() bool {
		contact, _, err := g.store.Contact()
		return err == nil && contact.At.IsZero()
	})
	adopt(true)
	if got := g.Known().Lease; got < Static-time.Minute {
		t.Errorf("static: got a lease of %s, want about %s", got, Static)
	}
	g.awaitRegistered(t, 1)
	k := issue("acme", "Zapier")
	g.apply(t, k.Create)
	wantConfirmed(t, g.apply(t, revoke(k)).Propagation, 1)

	// Without etcd, the lease of the earlier mode does not continue.
	g.each((*etcdtest.Proxy).Drop)
	o := *g.Fleet.options.Load()
	o.Static = false
	if err := g.Adopt(o); err != nil {
		t.Fatal(err)
	}
	g.awaitNotLive(t)
}

// A copy of a replica does not speak for its original.
func TestStatic_copied(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Shared(t, 1)
	all := startProxied(t, cluster, 2, inStaticMode)
	k := issue("acme", "Zapier")
	all[0].apply(t, k.Create)
	all[1].awaitPosition(t, all[0].gateway)
	all[1].crash()
	copied := newProxied(t, cluster, "gw1", inStaticMode)
	if err := os.CopyFS(copied.dir, os.DirFS(all[1].dir)); err != nil {
		t.Fatal(err)
	}
	all[1].each((*etcdtest.Proxy).Drop)
	all[1].open(t) // the original, which serves without etcd

	copied.each((*etcdtest.Proxy).Drop)
	copied.open(t)
	if copied.Live() {
		t.Error("a copy serves without etcd")
	}
	copied.each((*etcdtest.Proxy).Pass)
	copied.awaitRenewed(t)
	wantPending(t, all[0].apply(t, revoke(k)).Propagation, "gw1")
	if !all[1].allows(t, k) {
		t.Error("the original refuses the key: the test tests nothing")
	}
	all[1].each((*etcdtest.Proxy).Pass)
	all[1].awaitRenewed(t)
	all[0].awaitRegistered(t, 3)
	wantConfirmed(t, all[0].apply(t, revoke(k)).Propagation, 3)
}

// A registration is noted before it says that it serves, and removed after it is noted that
// the replica may not be served: a gateway killed in between would leave it behind, or
// serve without it.
func TestStatic_notesFirst(t *testing.T) {
	t.Parallel()
	g := startProxied(t, etcdtest.Shared(t, 1), 1, inStaticMode)[0]
	former := *g.id.Load()
	g.disk.full.Store(true)
	if err := g.Adopt(*g.Fleet.options.Load()); err != nil { // registers again
		t.Fatal(err)
	}
	gatewaytest.Await(t, "the gateway to fail", func() bool { return strings.Contains(g.Problem(), errFull.Error()) })
	if err := g.registry.read(t.Context(), g.connection()); err != nil {
		t.Fatal(err)
	}
	gateways, _, _ := g.registry.all()
	for id, registered := range gateways {
		if registered.serving() != (id == former) {
			t.Errorf("the registration %s is %s; the one that was noted is %s", id, registered.State, former)
		}
	}

	strict := *g.Fleet.options.Load()
	strict.Static = false
	if err := g.Adopt(strict); err != nil {
		t.Fatal(err)
	}
	g.awaitRenewed(t)
	isRegistered := func() bool {
		if err := g.registry.read(t.Context(), g.connection()); err != nil {
			t.Fatal(err)
		}
		gateways, _, _ := g.registry.all()
		former := gateways[former]
		return former.serving()
	}
	if g.awaitRenewed(t); !isRegistered() {
		t.Error("a registration was removed under which the replica may be served")
	}
	g.disk.full.Store(false)
	gatewaytest.Await(t, "the registration to be removed", func() bool { return !isRegistered() })
}

// How long a gateway serves without etcd counts from its last contact, whatever the
// machine's clock says after a restart.
func TestStatic_tooLongAgo(t *testing.T) {
	t.Parallel()
	const never = -1
	for name, test := range map[string]struct {
		contact, confirmed time.Duration // how long ago
		want               time.Duration // the lease that is left
	}{
		"a moment ago":                    {0, 0, Static},
		"almost too long ago":             {23 * time.Hour, time.Minute, time.Hour},
		"too long ago":                    {25 * time.Hour, 25 * time.Hour, 0},
		"never":                           {never, 0, 0},
		"the clock was set back a little": {23 * time.Hour, -30 * time.Second, time.Hour - 30*time.Second},
		"the clock was set back":          {time.Hour, -2 * time.Minute, 0},
		"to before the contact":           {-time.Hour, time.Minute, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, now := filepath.Join(t.TempDir(), "replica"), time.Now()
			contact := apikey.Contact{At: now.Add(-test.contact), Registrations: []string{"A"}, Holder: "gw0 at " + dir}
			if test.contact == never {
				contact.At = time.Time{}
			}
			prepare(t, dir, contact, now.Add(-test.confirmed))
			g := openIn(t, dir, "gw0", unreachable)
			got := g.Known().Lease
			if least := max(test.want-time.Since(now)-time.Second, 0); got < least || got > test.want {
				t.Errorf("got a lease of %s, want %s to %s", got, least, test.want)
			}
		})
	}
}

// unreachable are the options of a gateway in static mode without etcd.
var unreachable = Options{Endpoints: []string{"http://127.0.0.1:1"}, Prefix: "/api-keys/", MaxStaleness: MinStaleness, Static: true}

// prepare makes a complete replica, as a gateway leaves it.
func prepare(t *testing.T, dir string, contact apikey.Contact, confirmed time.Time) {
	t.Helper()
	s, err := store.OpenReplica(dir, unreachable.Prefix, zap.NewNop(), nil)
	if err != nil {
		t.Fatal(err)
	}
	reload, err := s.BeginReload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore(t, s)
	defer reload.Close()
	if err := errors.Join(
		reload.Finish(t.Context(), apikey.Position{Head: apikey.Head{Fleet: "test", Seq: 1}, Revision: 1}, new(sethash.Hash)),
		s.NoteContact(t.Context(), contact),
		s.NoteClock(func() apikey.ClockNote { return apikey.ClockNote{Confirmed: confirmed} }),
	); err != nil {
		t.Fatal(err)
	}
}
