package fleet

import (
	"context"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// left is a stopped fleet of two gateways with the same changes.
type left struct {
	options       Options
	dirs          [2]string
	kept, revoked issued
	records       map[string]string
}

func newLeft(t *testing.T) left {
	t.Helper()
	l := left{options: defaults(etcdtest.Shared(t, 1)), dirs: [2]string{t.TempDir(), t.TempDir()}, kept: issue("acme", "kept"), revoked: issue("acme", "revoked")}
	a, b := openIn(t, l.dirs[0], "a", l.options), openIn(t, l.dirs[1], "b", l.options)
	a.awaitLive(t)
	b.awaitLive(t)
	a.apply(t, l.kept.Create)
	a.apply(t, l.revoked.Create)
	b.apply(t, revoke(l.revoked))
	a.apply(t, apikey.Suspend{WorkspaceID: "unpaid"})
	b.awaitPosition(t, a)
	l.records = a.records(t)
	a.close()
	b.close()
	return l
}

// detach opens a replica, moves it out of its fleet, and closes it.
func (l left) detach(t *testing.T, dir string) (already bool, err error) {
	t.Helper()
	s, err := store.OpenToMove(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore(t, s)
	return Detach(t.Context(), l.options, s)
}

func (l left) wantRefused(t *testing.T, dir, want string) {
	t.Helper()
	if _, err := l.detach(t, dir); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
	wantNoStore(t, dir, "it is the replica of a fleet")
}

// The keys of a fleet work in a store of its own, and in no gateway of the fleet any more.
func TestDetach(t *testing.T) {
	t.Parallel()
	l := newLeft(t)
	if already, err := l.detach(t, l.dirs[0]); already || err != nil {
		t.Fatalf("got already %t, %v; want it to be detached", already, err)
	}
	if already, err := l.detach(t, l.dirs[0]); !already || err != nil {
		t.Errorf("again: got already %t, %v; want it to be done", already, err)
	}
	s, err := store.Open(l.dirs[0], zap.NewNop(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore(t, s)
	alone := &gateway{store: s}
	if got := alone.records(t); !maps.Equal(got, l.records) {
		t.Errorf("the store has other records than the fleet: got %d, want %d", len(got), len(l.records))
	}
	if p := alone.apply(t, revoke(l.kept)).Propagation; !p.Confirmed || p.Gateways != 1 {
		t.Errorf("got the propagation %+v, want it confirmed", p)
	}

	l.wantRefused(t, l.dirs[1], "this fleet has ended")
	for name, dir := range map[string]string{"b": l.dirs[1], "new": t.TempDir()} {
		g := openIn(t, dir, name, l.options)
		gatewaytest.Await(t, "a gateway to say why it does not serve", func() bool { return strings.Contains(g.Problem(), "this fleet has ended") })
		if g.Live() || g.allows(t, l.kept) {
			t.Errorf("%s: a gateway serves a fleet that has ended", name)
		}
	}
	if _, err := Import(t.Context(), l.options, toMove(t, newLived(t).path), silent); err == nil || !strings.Contains(err.Error(), "Give the new fleet another prefix") {
		t.Errorf("got %v for an import over it, want a refusal", err)
	}
}

// A static gateway that could serve without etcd stops once it knows, and for good.
func TestDetach_static(t *testing.T) {
	t.Parallel()
	l := newLeft(t)
	static := l.options
	static.Static = true
	g := openIn(t, l.dirs[1], "b", static)
	g.awaitLive(t)
	contact := func() time.Time {
		noted, _, err := g.store.Contact()
		if err != nil {
			t.Fatal(err)
		}
		return noted.At
	}
	gatewaytest.Await(t, "the gateway to note that it was in contact", func() bool { return !contact().IsZero() })
	g.close()
	if _, err := l.detach(t, l.dirs[0]); err != nil {
		t.Fatal(err)
	}
	g = openIn(t, l.dirs[1], "b", static)
	g.awaitNotLive(t)
	gatewaytest.Await(t, "the replica to know", func() bool { return contact().IsZero() })
	g.close()
	static.Endpoints = unreachable.Endpoints
	if g = openIn(t, l.dirs[1], "b", static); g.Live() {
		t.Error("a static gateway serves without etcd, although its fleet has ended")
	}
}

// A gateway that is behind, or not alone, does not end the fleet.
func TestDetach_refused(t *testing.T) {
	t.Parallel()
	l := newLeft(t)
	b := openIn(t, l.dirs[1], "b", l.options)
	b.awaitLive(t)
	l.wantRefused(t, l.dirs[0], "gateways are registered in the fleet: b ("+*b.id.Load()+")")
	b.apply(t, revoke(l.kept))
	b.close()
	l.wantRefused(t, l.dirs[0], "the replica is at change 4, and the fleet at change 5: start its gateway")
	other := l
	other.options.Prefix = "/other/"
	other.wantRefused(t, l.dirs[0], "the store belongs to the fleet with the prefix "+l.options.Prefix+", and the configuration says /other/")

	a := openIn(t, l.dirs[0], "a", l.options) // nothing has come of it
	a.awaitLive(t)
	if a.allows(t, l.kept) {
		t.Error("a gateway allows a key that was revoked")
	}
	a.close()
	intruder{t, connect(t, l.options)}.remove("")
	l.wantRefused(t, l.dirs[0], "there is no fleet below "+l.options.Prefix)
}

// A move out of the fleet that was interrupted can only be finished by the same replica.
func TestDetach_crashes(t *testing.T) {
	t.Parallel()
	for name, times := range map[string]int{"before the end": 0, "after the end": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLeft(t)
			s := toMove(t, l.dirs[0])
			if _, err := Detach(t.Context(), l.options, &failing{s, times}); err == nil {
				t.Fatal("got no error, want one saying that the disk has failed")
			}
			closeStore(t, s)
			wantNoStore(t, l.dirs[0], "it is the replica of a fleet")
			if times == 1 {
				l.wantRefused(t, l.dirs[1], "this fleet has ended")
				g := openIn(t, l.dirs[0], "a", l.options)
				gatewaytest.Await(t, "the gateway to say why it does not serve", func() bool { return strings.Contains(g.Problem(), "this fleet has ended") })
				g.close()
			}
			if already, err := l.detach(t, l.dirs[0]); already || err != nil {
				t.Errorf("got already %t, %v; want it to be detached", already, err)
			}
		})
	}
}

// A gateway that registers while the fleet ends keeps it from ending.
func TestDetach_registersMeanwhile(t *testing.T) {
	t.Parallel()
	l := newLeft(t)
	s := toMove(t, l.dirs[0])
	if !l.registerWhileDetaching(t, s).Live() {
		t.Error("the gateway that has registered does not serve")
	}
}

// registerWhileDetaching starts the second gateway while the first one's replica is being
// detached, and holds that it is not.
func (l left) registerWhileDetaching(t *testing.T, s *store.Store) (b *gateway) {
	t.Helper()
	racing := &hooked{s, func() {
		b = openIn(t, l.dirs[1], "b", l.options)
		b.awaitLive(t)
	}}
	if _, err := Detach(t.Context(), l.options, racing); err == nil || !strings.Contains(err.Error(), "gateways are registered") {
		t.Fatalf("got %v, want an error saying that a gateway is registered", err)
	}
	return b
}

// A copy of a replica that was made after a failed move knows that move. It does not have
// what was changed before the move was repeated, and is not detached.
func TestDetach_copied(t *testing.T) {
	t.Parallel()
	l := newLeft(t)
	s := toMove(t, l.dirs[0])
	b := l.registerWhileDetaching(t, s)
	closeStore(t, s)
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(l.dirs[0])); err != nil {
		t.Fatal(err)
	}
	b.apply(t, revoke(l.kept))
	a := openIn(t, l.dirs[0], "a", l.options)
	a.awaitLive(t)
	a.close()
	b.close()
	if _, err := l.detach(t, l.dirs[0]); err != nil {
		t.Fatal(err)
	}
	l.wantRefused(t, copied, "this fleet has ended")
}

// hooked is a store that does something before its membership is set.
type hooked struct {
	*store.Store
	before func()
}

func (h *hooked) SetMembership(ctx context.Context, m apikey.Membership) error {
	h.before()
	return h.Store.SetMembership(ctx, m)
}
