package fleet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// lived is a closed store of its own in which everything has happened that can.
type lived struct {
	path          string
	kept, revoked issued
	records       map[string]string
}

func newLived(t *testing.T) lived {
	t.Helper()
	return newLivedWith(t, 150) // more than one transaction of etcd
}

// newLivedWith returns one in which a number of keys have been created besides.
func newLivedWith(t *testing.T, keys int) lived {
	t.Helper()
	l := lived{path: filepath.Join(t.TempDir(), "keys"), kept: issue("acme", "kept"), revoked: issue("acme", "revoked")}
	s, err := store.Open(l.path, zap.NewNop(), nil)
	if err != nil {
		t.Fatal(err)
	}
	feed := apikey.NewFeedToken()
	do := []apikey.Action{
		l.kept.Create, l.revoked.Create, revoke(l.revoked),
		apikey.Suspend{WorkspaceID: "unpaid", Reason: "invoice"}, apikey.Suspend{WorkspaceID: "paid"}, apikey.Resume{WorkspaceID: "paid"},
		apikey.OpenFeed{WorkspaceID: "acme", Digest: feed.Digest()}, apikey.CloseFeed{WorkspaceID: "acme"},
		apikey.OpenFeed{WorkspaceID: "acme", Digest: apikey.NewFeedToken().Digest()},
	}
	for i := range keys {
		do = append(do, newKey(fmt.Sprintf("ws%d", i), "some"))
	}
	g := gateway{store: s}
	for _, do := range do {
		g.apply(t, do)
	}
	l.records = g.records(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return l
}

// toMove opens a store to move it, and closes it when the test ends.
func toMove(t *testing.T, path string) *store.Store {
	t.Helper()
	s, err := store.OpenToMove(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

// closeStore closes a store that may be opened again at once.
func closeStore(t testing.TB, s *store.Store) {
	t.Helper()
	// A process that is being started has the lock of the directory, too, for a moment.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func silent(string, int, int) {}

// wantNoStore fails if a directory opens as a store of its own.
func wantNoStore(t *testing.T, path, want string) {
	t.Helper()
	s, err := store.Open(path, zap.NewNop(), nil)
	if err == nil {
		closeStore(t, s)
	}
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v for a store of its own, want %q", err, want)
	}
}

// The keys of a single gateway work in a fleet, and its directory is a replica.
func TestImport(t *testing.T) {
	t.Parallel()
	o, l := defaults(etcdtest.Shared(t, 1)), newLived(t)
	origin := toMove(t, l.path)
	var last [2]int
	got, err := Import(t.Context(), o, origin, func(_ string, done, total int) { last = [2]int{done, total} })
	if err != nil {
		t.Fatal(err)
	}
	if want := (Imported{Records: len(l.records), Keys: 152, Events: 159}); got != want || last != [2]int{len(l.records), len(l.records)} {
		t.Errorf("got %+v, progress %v; want %+v, and all of it", got, last, want)
	}
	got, err = Import(t.Context(), o, origin, silent)
	if want := (Imported{Already: true}); got != want || err != nil {
		t.Errorf("again: got %+v, %v; want %+v", got, err, want)
	}
	closeStore(t, origin)
	wantNoStore(t, l.path, "it is the replica of a fleet")

	own := openIn(t, l.path, "own", o)
	if at, complete, err := own.store.Position(); !complete || at.Seq != 1 || err != nil {
		t.Errorf("the replica is at %+v, complete: %t, %v; want it complete at change 1", at, complete, err)
	}
	filled := openGateway(t, "filled", o)
	for _, g := range []*gateway{own, filled} {
		g.awaitLive(t)
		if got := g.records(t); !maps.Equal(got, l.records) {
			t.Errorf("%s has other records than the store: got %d, want %d", g.options.Load().Name, len(got), len(l.records))
		}
		if !g.allows(t, l.kept) || g.allows(t, l.revoked) {
			t.Errorf("%s: got %t and %t for a key and a revoked one", g.options.Load().Name, g.allows(t, l.kept), g.allows(t, l.revoked))
		}
	}
	if p := own.apply(t, revoke(l.kept)).Propagation; !p.Confirmed || p.Gateways != 2 {
		t.Errorf("got the propagation %+v, want it confirmed by 2 gateways", p)
	}
	if filled.allows(t, l.kept) {
		t.Error("a gateway allows a key that was revoked in the fleet")
	}
	own.checkRecords(t)
}

// An import that is interrupted leaves the store as it was, and can be made again.
// A gateway that starts in the meantime waits for it.
func TestImport_interrupted(t *testing.T) {
	t.Parallel()
	o, l := defaults(etcdtest.Shared(t, 1)), newLived(t)
	ctx, cancel := context.WithCancel(t.Context())
	origin := toMove(t, l.path)
	if _, err := Import(ctx, o, origin, func(_ string, done, _ int) {
		if done > 0 {
			cancel()
		}
	}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want an error saying that it was interrupted", err)
	}
	if m, err := origin.Membership(); err != nil || !reflect.DeepEqual(m, apikey.Membership{}) {
		t.Errorf("got the membership %+v, %v; want none", m, err)
	}
	g := openGateway(t, "early", o)
	gatewaytest.Await(t, "a gateway to wait for the import", func() bool {
		return strings.Contains(g.Problem(), "an import into the fleet below "+o.Prefix+" has not finished")
	})
	got, err := Import(t.Context(), o, origin, silent)
	if err != nil || got.Discarded == 0 || got.Records != len(l.records) {
		t.Fatalf("again: got %+v, %v; want all records, after some were discarded", got, err)
	}
	g.awaitLive(t)
	if got := g.records(t); !maps.Equal(got, l.records) {
		t.Errorf("the gateway has other records than the store: got %d, want %d", len(got), len(l.records))
	}
}

// failing is a store whose membership can be set only a number of times.
type failing struct {
	*store.Store
	times int
}

var errDisk = errors.New("the disk has failed")

func (f *failing) SetMembership(ctx context.Context, m apikey.Membership) error {
	if f.times--; f.times < 0 {
		return errDisk
	}
	return f.Store.SetMembership(ctx, m)
}

// Whenever an import ends, the store is not used alone while the fleet has its keys.
func TestImport_crashes(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Shared(t, 1)
	for name, test := range map[string]struct {
		times int  // that the directory can be marked
		later bool // gateways use the fleet in the meantime
	}{
		"before the head":             {1, false},
		"after the head":              {2, false},
		"after the head, and changed": {2, true},
	} {
		t.Run(name, func(t *testing.T) {
			o, l := defaults(cluster), newLived(t)
			o.Prefix += strings.ReplaceAll(name, " ", "-") + "/"
			origin := toMove(t, l.path)
			if _, err := Import(t.Context(), o, &failing{origin, test.times}, silent); !errors.Is(err, errDisk) {
				t.Fatalf("got %v, want %v", err, errDisk)
			}
			again := Imported{Already: true}
			if test.times == 1 {
				n := len(l.records)
				again = Imported{Discarded: n, Records: n, Keys: 152, Events: 159}
			} else {
				closeStore(t, origin)
				const want = "it is being moved into the fleet with the prefix"
				wantNoStore(t, l.path, want)
				if s, err := store.OpenReplica(l.path, o.Prefix, zap.NewNop(), nil); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, %v for a replica, want %q", s, err, want)
				}
				origin = toMove(t, l.path)
			}
			if test.later {
				g := openGateway(t, "other", o)
				g.awaitLive(t)
				g.apply(t, revoke(l.kept))
			}
			if got, err := Import(t.Context(), o, origin, silent); err != nil || got != again {
				t.Fatalf("again: got %+v, %v; want %+v", got, err, again)
			}
			closeStore(t, origin)
			g := openIn(t, l.path, "own", o)
			g.awaitLive(t)
			if got := g.allows(t, l.kept); got == test.later {
				t.Errorf("got %t for a key that was revoked meanwhile: %t", got, test.later)
			}
			if p := g.apply(t, apikey.Suspend{WorkspaceID: "acme"}).Propagation; !p.Confirmed {
				t.Errorf("got the propagation %+v, want it confirmed", p)
			}
			g.apply(t, newKey("acme", "later"))
			g.checkRecords(t)
		})
	}
}

// marking is a store that is marked, but fails to say so.
type marking struct{ *store.Store }

func (m marking) SetMembership(ctx context.Context, to apikey.Membership) error {
	if err := m.Store.SetMembership(ctx, to); err != nil || !to.Moving {
		return err
	}
	return errDisk
}

// A store that was marked for an import that has not finished can be used alone again as
// soon as another one has begun.
func TestImport_marked(t *testing.T) {
	t.Parallel()
	o, l := defaults(etcdtest.Shared(t, 1)), newLived(t)
	origin := toMove(t, l.path)
	if _, err := Import(t.Context(), o, marking{origin}, silent); !errors.Is(err, errDisk) {
		t.Fatalf("got %v, want %v", err, errDisk)
	}
	closeStore(t, origin)
	wantNoStore(t, l.path, "it is being moved into the fleet")
	origin = toMove(t, l.path)
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := Import(ctx, o, origin, func(string, int, int) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want an error saying that it was interrupted", err)
	}
	closeStore(t, origin)
	alone, err := store.Open(l.path, zap.NewNop(), nil)
	if err != nil {
		t.Fatal(err)
	}
	closeStore(t, alone)
}

// What is in etcd already is not touched.
func TestImport_refused(t *testing.T) {
	t.Parallel()
	o, l := defaults(etcdtest.Start(t, 1)), newLived(t)
	g := openGateway(t, "gw0", o)
	g.awaitLive(t)
	g.apply(t, newKey("acme", "Zapier"))
	origin, e := toMove(t, l.path), connect(t, o)
	refused := func(name string, o Options, want string) {
		t.Helper()
		before := namesIn(t, e, "/")
		if got, err := Import(t.Context(), o, origin, silent); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %+v, %v; want %q", name, got, err, want)
		}
		if after := namesIn(t, e, "/"); !slices.Equal(after, before) {
			t.Errorf("%s: etcd has other keys than before", name)
		}
		if m, err := origin.Membership(); err != nil || m.Moving {
			t.Errorf("%s: got the membership %+v, %v", name, m, err)
		}
	}
	refused("a fleet", o, "there is a fleet below /api-keys/ already")
	g.close()
	intruder{t, connect(t, o)}.remove(headName)
	refused("a fleet without a head", o, "2 records below /api-keys/ without a head, and no import wrote them")

	o.Prefix = "/own/"
	if _, err := Import(t.Context(), o, origin, silent); err != nil {
		t.Fatal(err)
	}
	other := o
	other.Prefix = "/other/"
	refused("a replica with another prefix", other, "the store belongs to the fleet with the prefix /own/, and the configuration says /other/")
	intruder{t, connect(t, o)}.remove("")
	refused("a replica whose fleet is gone", o, "the store is the replica of a fleet other than the one below /own/")
	g = openGateway(t, "gw1", o)
	g.awaitLive(t)
	refused("a replica of another fleet", o, "the store is the replica of a fleet other than the one below /own/")
}

func connect(t *testing.T, o Options) *etcd {
	t.Helper()
	e, err := dial(&o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.close)
	return e
}
