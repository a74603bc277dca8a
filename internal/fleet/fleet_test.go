package fleet

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"go.uber.org/zap/zaptest/observer"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/authn"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/sethash"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// gateway is a gateway of a fleet without its HTTP server.
type gateway struct {
	*Fleet
	store *store.Store
	authn *authn.Authenticator
	disk  *disk
	close func()

	events atomic.Int64 // of this gateway's own changes that it was told of
}

// disk makes the disk of a gateway slow or full, or fail. Its zero value does not.
type disk struct {
	reads, writes atomic.Int64           // how long each takes at most, in nanoseconds
	full          atomic.Bool            // a contact cannot be noted
	stopAt        atomic.Pointer[string] // the step after which nothing works until the gateway is closed
	stopped       chan struct{}          // closed once it has been reached
	compared      atomic.Pointer[func()] // called before records are compared with the replica's
}

// stop has everything fail from a step on.
func (d *disk) stop(step string) { d.stopped = make(chan struct{}); d.stopAt.Store(&step) }

// awaitStop waits until the step has been reached.
func (d *disk) awaitStop(t *testing.T) {
	t.Helper()
	select {
	case <-d.stopped:
	case <-time.After(longEnough):
		t.Fatalf("the gateway does not get to the step %q", *d.stopAt.Load())
	}
}

// after is called after each step of going over to another history.
func (d *disk) after(ctx context.Context, step string) error {
	if at := d.stopAt.Load(); at == nil || *at != step {
		return nil
	}
	close(d.stopped)
	<-ctx.Done()
	return ctx.Err()
}

var errFull = errors.New("the disk is full")

func delay(most *atomic.Int64) {
	if d := most.Load(); d > 0 {
		time.Sleep(rand.N(time.Duration(d)))
	}
}

// replica adapts a store for the fleet, and for the authenticator.
type replica struct {
	*store.Store
	disk *disk
}

func (r replica) BeginReload(ctx context.Context) (Reload, error) {
	reload, err := r.Store.BeginReload(ctx)
	return reloading{reload, r.disk}, errors.Join(err, r.disk.after(ctx, "filling"))
}

func (r replica) BeginComparison(most int) (Comparison, error) {
	c, err := r.Store.BeginComparison(most)
	return comparing{c, r.disk}, err
}

func (r replica) PutBack(ctx context.Context, committed func(apikey.Outcome, int)) error {
	return errors.Join(r.Store.PutBack(ctx, committed), r.disk.after(ctx, "put back"))
}

func (r replica) Has(records []apikey.Record) (bool, error) {
	if compared := r.disk.compared.Load(); compared != nil {
		(*compared)()
	}
	return r.Store.Has(records)
}

type comparing struct {
	*store.Comparison
	disk *disk
}

func (c comparing) Finish(ctx context.Context) (int, error) {
	lost, err := c.Comparison.Finish(ctx)
	return lost, errors.Join(err, c.disk.after(ctx, "compared"))
}

type reloading struct {
	*store.Reload
	disk *disk
}

func (r reloading) Finish(ctx context.Context, at apikey.Position, set *sethash.Hash) error {
	return errors.Join(r.Reload.Finish(ctx, at, set), r.disk.after(ctx, "filled"))
}

// committing is the log of a gateway's store.
type committing struct {
	*Fleet
	disk *disk
}

func (c committing) Commit(ctx context.Context, change apikey.Change, urgent bool, applied func(apikey.Planned) error) (apikey.Outcome, error) {
	outcome, err := c.Fleet.Commit(ctx, change, urgent, applied)
	if _, putBack := change.Do.(apikey.PutBack); putBack {
		err = errors.Join(err, c.disk.after(ctx, "committed"))
	}
	return outcome, err
}

func (r replica) Replay(ctx context.Context, from, to apikey.Position, records []apikey.Record) error {
	delay(&r.disk.writes)
	return r.Store.Replay(ctx, from, to, records)
}

func (r replica) NoteContact(ctx context.Context, c apikey.Contact) error {
	if r.disk.full.Load() {
		return errFull
	}
	return r.Store.NoteContact(ctx, c)
}

func (r replica) Grant(digest apikey.Digest) (apikey.Grant, error) {
	granted, err := r.Store.Grant(digest)
	delay(&r.disk.reads)
	return granted, err
}

func openGateway(t testing.TB, name string, o Options) *gateway {
	t.Helper()
	return openIn(t, filepath.Join(t.TempDir(), name), name, o)
}

// openIn opens a gateway whose replica is in a directory.
func openIn(t testing.TB, dir, name string, o Options) *gateway {
	t.Helper()
	log := zaptest.NewLogger(t).Named(name)
	if o.Log != nil {
		log = o.Log
	}
	g := &gateway{disk: new(disk)}
	g.openStore(t, dir, o.Prefix, log)
	var err error
	data := replica{g.store, g.disk}
	if g.authn, err = authn.New(data, cached, time.Now, log); err != nil {
		t.Fatal(err)
	}
	o.Name, o.Log = name, log
	if g.Fleet, err = Open(o, data); err != nil {
		t.Fatal(err)
	}
	g.store.Follow(committing{g.Fleet, g.disk})
	g.authn.Require(g.Fleet)
	g.close = sync.OnceFunc(func() {
		g.Close()
		g.authn.Close()
		closeStore(t, g.store)
	})
	t.Cleanup(g.close)
	return g
}

// openStore opens the gateway's replica.
func (g *gateway) openStore(t testing.TB, dir, prefix string, log *zap.Logger) {
	t.Helper()
	var err error
	g.store, err = store.OpenReplica(dir, prefix, log, func(outcome apikey.Outcome) {
		if outcome.Event.ID != "" {
			g.events.Add(1)
		}
		g.authn.Changed(outcome)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// cached is how many keys a gateway remembers: few, so that the store is read often.
const cached = 4

// allows reports whether a gateway lets a request with a key's token pass.
func (g *gateway) allows(t *testing.T, k issued) bool { return g.judges(t, k) == authn.Allowed }

// judges returns what a gateway says of a request with a key's token.
func (g *gateway) judges(t *testing.T, k issued) authn.Result {
	return g.authn.Check(t.Context(), new(authn.Policy), &authn.Facts{
		Method: "POST", Path: "/", Authorization: []string{"Bearer " + k.token.Reveal()},
	}).Result
}

// issued is a key with its token.
type issued struct {
	apikey.Create
	token apikey.Token
}

func issue(ws, name string) issued {
	now := time.Now().UTC().Truncate(time.Millisecond)
	token := apikey.NewToken("agk")
	return issued{apikey.Create{Key: apikey.Key{
		ID: apikey.NewKeyID(now), WorkspaceID: ws, Name: name, Preset: apikey.FullAccess,
		Digest: token.Digest(), TokenHint: token.Hint(), CreatedAt: now, ExpiresAt: now.Add(90 * 24 * time.Hour),
	}}, token}
}

func (g *gateway) awaitLive(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(longEnough); !g.Live(); {
		if time.Now().After(deadline) {
			t.Fatalf("the gateway does not get a lease: %s", g.reason())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func newKey(ws, name string) apikey.Create { return issue(ws, name).Create }

func revoke(k issued) apikey.Revoke {
	return apikey.Revoke{WorkspaceID: k.Key.WorkspaceID, KeyID: k.Key.ID, Reason: "test"}
}

func (g *gateway) try(ctx context.Context, do apikey.Action) (apikey.Outcome, error) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	return g.store.Apply(ctx, apikey.Change{EventID: apikey.NewEventID(now), At: now, Actor: "test", Do: do})
}

func (g *gateway) apply(t *testing.T, do apikey.Action) apikey.Outcome {
	t.Helper()
	outcome, err := g.try(t.Context(), do)
	if err != nil {
		t.Fatalf("%T: %v", do, err)
	}
	return outcome
}

func startGateways(t testing.TB, n int, o Options) (all []*gateway) {
	t.Helper()
	for i := range n {
		all = append(all, openGateway(t, fmt.Sprintf("gw%d", i), o))
	}
	for _, g := range all {
		g.awaitLive(t)
	}
	return all
}

// defaults are the options of gateways whose leases last although the machine stops for
// some seconds, and are renewed as often as the shortest ones. See lasting.
func defaults(cluster *etcdtest.Cluster) Options {
	return Options{
		Endpoints: cluster.Endpoints(), Prefix: cluster.Prefix, MaxStaleness: 30 * time.Second, renewal: MinStaleness / 4,
		IntegrityKeys: []IntegrityKey{{1}}, Version: "test",
	}
}

// lasting sets how long leases last. A test that waits for the end of one must not mind if
// the machine stops and they end early.
func lasting(lease time.Duration) func(*Options) { return func(o *Options) { o.MaxStaleness = lease } }

// brief leases are the shortest that there are.
var brief = lasting(MinStaleness)

// longEnough is how long a test waits for what must happen.
const longEnough = time.Minute

func TestFleet_revoke(t *testing.T) {
	all := startGateways(t, 3, defaults(etcdtest.Shared(t, 3)))
	created := all[0].apply(t, newKey("acme", "Zapier"))
	revoked := all[1].apply(t, apikey.Revoke{WorkspaceID: "acme", KeyID: created.Key.ID, Reason: "test"})
	for _, g := range all { // no waiting: it is confirmed
		live := g.Live() // one that was slow may have been excluded
		key, err := g.store.Lookup(created.Key.Digest)
		if live && (err != nil || key.Status(time.Now()) != apikey.Revoked) {
			t.Errorf("%s: got %+v, %v after the revocation, want a revoked key", g.options.Load().Name, key, err)
		}
	}
	got := revoked.Propagation
	got.Waited = 0
	if want := (apikey.Propagation{Confirmed: true, Revision: 2, Gateways: 3}); !reflect.DeepEqual(got, want) {
		t.Errorf("got the propagation %+v, want %+v", got, want)
	}
}

// A gateway whose registration cannot be read may serve: what it has not acknowledged is
// not confirmed.
func TestFleet_unreadableRegistration(t *testing.T) {
	core, logged := observer.New(zap.ErrorLevel)
	o := defaults(etcdtest.Shared(t, 1))
	o.Log = zap.New(core)
	all := startGateways(t, 1, o)
	o.IntegrityKeys, o.Log = []IntegrityKey{{2}, {1}}, nil
	newer := openGateway(t, "newer", o)
	newer.awaitLive(t)
	created := all[0].apply(t, newKey("acme", "Zapier"))
	got := all[0].apply(t, apikey.Revoke{WorkspaceID: "acme", KeyID: created.Key.ID, Reason: "test"}).Propagation
	if want := []string{*newer.id.Load()}; got.Confirmed || !reflect.DeepEqual(got.Behind, want) {
		t.Errorf("got confirmed %t, behind %q; want it pending for %q", got.Confirmed, got.Behind, want)
	}
	want := apikey.GatewayStatus{ID: *newer.id.Load(), State: apikey.GatewayUnreadable}
	if listed := all[0].Status(t.Context()).Gateways; !slices.Contains(listed, want) {
		t.Errorf("got the gateways %+v, want among them %+v", listed, want)
	}
	// That is not logged again whenever the registration changes or is read.
	const said = "a registration of the fleet cannot be read: what is taken away from now on cannot be confirmed. The integrity_key of that gateway or of this one may be wrong. Delete the registration only if its gateway has gone"
	if got := logged.FilterMessage(said).All(); len(got) != 1 || got[0].ContextMap()["registration"] != o.Prefix+gatewayPrefix+want.ID {
		t.Errorf("got %+v logged, want the registration once", logged.All())
	}
}

// Gateways that change things at the same time get their turns, and end up with the same
// records.
func TestFleet_concurrentChanges(t *testing.T) {
	all := startGateways(t, 3, defaults(etcdtest.Shared(t, 3)))
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
	all[0].checkRecords(t)
}

// awaitPosition waits until a gateway has applied what another one has.
func (g *gateway) awaitPosition(t *testing.T, other *gateway) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), longEnough)
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

// Most of these tests wait for something most of the time.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	failed := m.Run()
	etcdtest.EndShared()
	os.Exit(failed)
}
