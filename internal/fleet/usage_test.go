package fleet

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// tellingUsage are options of gateways that tell usage at short intervals.
func tellingUsage(o Options) Options {
	o.usagePause = 10 * time.Millisecond
	return o
}

// counted is how often keys were used, by key and day.
type counted map[apikey.KeyDay]apikey.Usage

// count counts requests on a gateway.
func (g *gateway) count(t testing.TB, more counted) {
	t.Helper()
	if err := g.store.NoteUsage(more); err != nil {
		t.Fatal(err)
	}
	g.NoteUsage(more)
}

// countMore counts requests on a gateway, and adds them to what is wanted.
func (c counted) countMore(t testing.TB, g *gateway, keyID string, day apikey.Day, usage apikey.Usage) {
	t.Helper()
	one := apikey.KeyDay{KeyID: keyID, Day: day}
	c[one] = c[one].Plus(usage)
	g.count(t, counted{one: usage})
}

// shown returns what a gateway shows of some keys of the workspace acme.
func (g *gateway) shown(keyIDs ...string) (counted, error) {
	all, err := g.store.Usage(context.Background(), "acme", keyIDs, 0, apikey.DayOf(time.Now())+aheadDays)
	shown := counted{}
	for id, days := range all {
		for _, day := range days {
			shown[apikey.KeyDay{KeyID: id, Day: day.Day}] = day.Usage
		}
	}
	return shown, err
}

// await waits until a gateway shows what is wanted.
func (c counted) await(t *testing.T, what string, g *gateway, keyIDs ...string) {
	t.Helper()
	var last counted
	defer func() {
		if !maps.Equal(last, c) {
			t.Errorf("%s: got %v, want %v", what, last, c)
		}
	}()
	gatewaytest.Await(t, what+": the sum of all gateways to be shown", func() bool {
		shown, err := g.shown(keyIDs...)
		last = shown
		return err == nil && maps.Equal(shown, c)
	})
}

// All gateways show the sum of what each has counted, those that come later too.
func TestUsage(t *testing.T) {
	t.Parallel()
	o, want := tellingUsage(defaults(etcdtest.Shared(t, 1))), counted{}
	all := startGateways(t, 2, o)
	key, other := all[0].apply(t, newKey("acme", "Zapier")).Key.ID, all[0].apply(t, newKey("acme", "Billing")).Key.ID
	today := apikey.DayOf(time.Now())
	for i := range uint64(5) {
		for n, g := range all {
			want.countMore(t, g, key, today-apikey.Day(n), apikey.Usage{Reads: 1, Writes: i})
			want.countMore(t, g, other, today, apikey.Usage{Refused: 1 + i, RateLimited: 1})
		}
	}
	added := openGateway(t, "added", o)
	added.awaitLive(t)
	for _, g := range append(all, added) {
		want.await(t, "in use", g, key, other)
	}

	// One that stops tells what it has not told.
	seldom := o
	seldom.usagePause = time.Hour
	leaving := openGateway(t, "leaving", seldom)
	leaving.awaitLive(t)
	want.countMore(t, leaving, key, today, apikey.Usage{Reads: 1000})
	leaving.close()
	for _, g := range append(all, added) {
		want.await(t, "once one has left", g, key, other)
	}
	if note, err := all[0].store.UsageNote(); err != nil || note.Merged == 0 {
		t.Errorf("got the note %+v, %v, want a revision", note, err)
	}
}

// Nothing is lost and nothing counted twice if gateways are cut off, crash and are started
// again, and etcd forgets what it had.
func TestUsage_faults(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, 1)
	var all []*proxied
	for i := range 3 {
		all = append(all, openProxied(t, cluster, fmt.Sprintf("gw%d", i), func(o *Options) {
			*o = tellingUsage(*o)
			o.usageShare = 100 // so that additions are told
		}))
	}
	all[0].awaitLive(t)
	var keys []string
	for _, key := range ofOneShard(6) {
		keys = append(keys, all[0].apply(t, key).Key.ID)
	}
	for _, g := range all[1:] {
		g.awaitPosition(t, all[0].gateway)
	}
	random, want := rand.New(rand.NewPCG(3, 4)), counted{}
	today := apikey.DayOf(time.Now())
	for round := range 12 {
		broken := all[round%len(all)]
		switch round % 4 {
		case 0:
			broken.each((*etcdtest.Proxy).Drop)
		case 1:
			broken.close()
			broken.open(t)
		case 2:
			broken.crash()
			broken.open(t)
		case 3:
			cluster.Compact()
		}
		for range 30 {
			g := all[random.IntN(len(all))]
			want.countMore(t, g.gateway, keys[random.IntN(len(keys))], today-apikey.Day(random.IntN(2)), apikey.Usage{Reads: random.Uint64N(5), Writes: 1})
		}
		if round%4 == 0 {
			broken.each((*etcdtest.Proxy).Pass)
		}
	}
	for _, g := range all {
		want.await(t, g.name, g.gateway, keys...)
	}
	fresh := openGateway(t, "fresh", all[0].options)
	fresh.awaitLive(t)
	want.await(t, "a gateway that is new", fresh, keys...)
	gatewaytest.Await(t, "additions to be deleted once the values have them", func() bool { return fresh.additions(t) == 0 })
}

// When thirty thousand keys are in use, those that are used again are shown by the other
// gateways before all that was counted would have been written again.
func TestUsage_manyKeys(t *testing.T) {
	t.Parallel()
	o, want := defaults(etcdtest.Shared(t, 1)), counted{}
	o.usagePause = time.Second
	all := startGateways(t, 2, o)
	g, other, today := all[0], all[1], apikey.DayOf(time.Now())
	many, again := counted{}, counted{}
	for range 30_000 {
		many[apikey.KeyDay{KeyID: apikey.NewKeyID(time.Now()), Day: today}] = apikey.Usage{Reads: 1000}
	}
	var shown []string
	for i := range 10 {
		key := apikey.KeyDay{KeyID: g.apply(t, newKey("acme", fmt.Sprintf("Key %d", i))).Key.ID, Day: today}
		many[key], again[key], want[key] = apikey.Usage{Reads: 1}, apikey.Usage{Reads: 1}, apikey.Usage{Reads: 2}
		shown = append(shown, key.KeyID)
	}
	for one := range many {
		if again[one] = (apikey.Usage{Reads: 1}); len(again) == 3000 {
			break
		}
	}
	g.count(t, many)
	gatewaytest.Await(t, "everything to be told", func() bool { return !g.usage.waits() })
	e := g.connection()
	before, err := e.read(t.Context(), clientv3.OpGet(e.name(headName)))
	if err != nil {
		t.Fatal(err)
	}
	g.count(t, again)
	want.await(t, "used again", other, shown...)
	read, err := e.read(t.Context(), clientv3.OpGet(e.name(usagePrefix), clientv3.WithPrefix(), clientv3.WithMinModRev(before.Header.Revision+1)))
	if err != nil {
		t.Fatal(err)
	}
	written := 0
	for _, kv := range read.Responses[0].GetResponseRange().Kvs {
		written += len(kv.Value)
	}
	if most := 60 * len(again); written > most {
		t.Errorf("got %d bytes written for %d keys, want at most %d", written, len(again), most)
	}
	gatewaytest.Await(t, "all of them to be shown", func() bool {
		reads := uint64(0)
		err := other.store.EachUsage(t.Context(), []string{g.store.UsageOrigin()}, today, func(_ string, _ apikey.KeyDay, usage apikey.Usage) { reads += usage.Reads })
		return err == nil && reads == 30_000*1000+10+uint64(len(again))
	})
}

// What a store has counted before it was moved into a fleet is known there.
func TestUsage_imported(t *testing.T) {
	t.Parallel()
	o, l := tellingUsage(defaults(etcdtest.Shared(t, 1))), newLivedWith(t, 1)
	key, today, want := l.kept.Key.ID, apikey.DayOf(time.Now()), counted{}
	alone, err := store.Open(l.path, zap.NewNop(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for day := range apikey.Day(40) {
		want[apikey.KeyDay{KeyID: key, Day: today - day}] = apikey.Usage{Reads: uint64(day) + 1}
	}
	if err := alone.NoteUsage(want); err != nil {
		t.Fatal(err)
	}
	closeStore(t, alone)
	moving, err := store.OpenToMove(l.path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Import(t.Context(), o, moving, silent); err != nil {
		t.Fatal(err)
	}
	closeStore(t, moving)
	first, second := openIn(t, l.path, "first", o), openGateway(t, "second", o)
	want.await(t, "where it was counted", first, key)
	want.await(t, "elsewhere", second, key)
}

// A value that no gateway wrote is ignored, and what is too old is deleted.
func TestUsage_inEtcd(t *testing.T) {
	t.Parallel()
	o, want := tellingUsage(defaults(etcdtest.Shared(t, 1))), counted{}
	dir := filepath.Join(t.TempDir(), "keys")
	g := openIn(t, dir, "gw", o)
	g.awaitLive(t)
	key, now := g.apply(t, newKey("acme", "Zapier")).Key.ID, time.Now()
	if err := g.store.NoteClock(func() apikey.ClockNote { return apikey.ClockNote{Confirmed: now} }); err != nil {
		t.Fatal(err)
	}
	today, e := apikey.DayOf(now), g.connection()
	value := string(encodeUsage(map[string]apikey.Usage{key: {Reads: 5}}))
	sealed := func(day apikey.Day, origin string) string {
		name := usageName(day, shardOf(key), origin)
		intruder{t, e}.put(name, string(e.keys.seal(e.name(name), 0, []byte(value))))
		return name
	}
	const origin = "AAAAAAAAAAAAAAAA"
	intruder{t, e}.put(usageName(today, shardOf(key), "BBBBBBBBBBBBBBBB"), value)
	intruder{t, e}.put(usagePrefix+"else", value)
	sealed(today+aheadDays+1, origin)
	old := []string{sealed(today-apikey.UsageDays, origin), sealed(today-200, origin)}
	sealed(today-apikey.UsageDays+1, origin)
	want[apikey.KeyDay{KeyID: key, Day: today - apikey.UsageDays + 1}] = apikey.Usage{Reads: 5}
	g.close()
	again := openIn(t, dir, "gw", o)
	want.await(t, "what was told", again, key)
	gatewaytest.Await(t, "what is too old to be deleted", func() bool {
		for _, name := range old {
			read, err := again.connection().read(t.Context(), clientv3.OpGet(e.name(name)))
			if err != nil || len(read.Responses[0].GetResponseRange().Kvs) > 0 {
				return false
			}
		}
		return true
	})
}
