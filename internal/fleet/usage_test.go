package fleet

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
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
	o, want := tellingUsage(defaults(etcdtest.Start(t, 1))), counted{}
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
		g := newProxied(t, cluster, fmt.Sprintf("gw%d", i))
		g.options = tellingUsage(g.options)
		g.open(t)
		all = append(all, g)
	}
	all[0].awaitLive(t)
	var keys []string
	for i := range 4 {
		keys = append(keys, all[0].apply(t, newKey("acme", fmt.Sprintf("Key %d", i))).Key.ID)
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
}

// What a store has counted before it was moved into a fleet is known there.
func TestUsage_imported(t *testing.T) {
	t.Parallel()
	o, l := tellingUsage(defaults(etcdtest.Start(t, 1))), newLivedWith(t, 1)
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

// A new integrity key seals usage again, also that of gateways which are gone.
func TestUsage_rekeyed(t *testing.T) {
	t.Parallel()
	o, want := tellingUsage(withKeys(defaults(etcdtest.Start(t, 1)), oldKey)), counted{}
	g := startGateways(t, 1, o)[0]
	key := g.apply(t, newKey("acme", "Zapier")).Key.ID
	gone := openGateway(t, "gone", o)
	gone.awaitLive(t)
	want.countMore(t, gone, key, apikey.DayOf(time.Now()), apikey.Usage{Reads: 7})
	gone.close()
	g.adopt(t, withKeys(o, secondKey, oldKey))
	g.rekey(t)
	if again := g.rekey(t); again.Sealed != 0 {
		t.Errorf("got %+v, want everything sealed", again)
	}
	fresh := openGateway(t, "fresh", withKeys(o, secondKey))
	fresh.awaitLive(t)
	want.await(t, "with the new key alone", fresh, key)
}

// A value that no gateway wrote is ignored, and what is too old is deleted.
func TestUsage_inEtcd(t *testing.T) {
	t.Parallel()
	o, want := tellingUsage(defaults(etcdtest.Start(t, 1))), counted{}
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

// What has waited for the longest is told first, and no more at once than is allowed, but
// for one value.
func TestUsage_due(t *testing.T) {
	const own = "AAAAAAAAAAAAAAAA"
	u, now, today := newUsage(own), time.Now(), apikey.Day(20_000)
	for i := range 20 {
		u.add(own, counted{{KeyID: apikey.NewKeyID(now), Day: today - apikey.Day(i)}: {Reads: 1}}, now.Add(-time.Duration(i)*time.Second))
	}
	for round := 0; u.waits(); round++ {
		due := u.due(5 * (20 + usageOverhead))
		if len(due) != 5 || due[0].day != today-19+apikey.Day(5*round) {
			t.Fatalf("round %d: got %d values from day %d on, want 5 from %d on", round, len(due), due[0].day, today-19+apikey.Day(5*round))
		}
		if len(u.due(1)) != 1 {
			t.Errorf("got %d values that are larger than what is allowed, want 1", len(u.due(1)))
		}
		u.told(due, today)
	}
	if len(u.values) != 2 || len(u.due(math.MaxInt)) != 0 {
		t.Errorf("got %d values kept, and %d to be told, want those of today and yesterday, and none", len(u.values), len(u.due(math.MaxInt)))
	}

	// What grows while it is told is told again.
	key := apikey.NewKeyID(now)
	u.add(own, counted{{KeyID: key, Day: today}: {Reads: 1}}, now)
	due := u.due(math.MaxInt)
	u.add(own, counted{{KeyID: key, Day: today}: {Reads: 2}}, now)
	u.told(due, today)
	due = u.due(math.MaxInt)
	if len(due) != 1 {
		t.Fatalf("got %d values to be told, want 1", len(due))
	}
	if totals, err := decodeUsage(due[0].encoded); err != nil || totals[key] != (apikey.Usage{Reads: 3}) {
		t.Errorf("got %v, %v, want 3 reads", totals, err)
	}

	// What was dropped is not begun anew, which would take back what was told.
	u.add(own, counted{{KeyID: key, Day: today - 5}: {Reads: 1}}, now)
	if len(u.due(math.MaxInt)) != 1 {
		t.Error("a value of a day that is over has begun anew")
	}
}

func TestUsageAt(t *testing.T) {
	for _, origin := range []string{"", "ABCDEFGHIJKLMNOP"} {
		day, got, ok := usageAt(usageName(20_787, 0x3f, origin))
		if day != 20_787 || got != origin || !ok {
			t.Errorf("got %d, %q, %t, want 20787, %q, true", day, got, ok, origin)
		}
	}
	for _, name := range []string{"", "z/", "z/020787/3f/", "z/020787/3f/abcdefghijklmnop", "z/20787/3f/-", "z/020787/3F/-", "z/020787/3f/-/", "d/020787/3f/-"} {
		if _, _, ok := usageAt(name); ok {
			t.Errorf("%q is taken for the name of a value", name)
		}
	}
	if first, second := usageName(9_999, 0, ""), usageName(10_000, 0, ""); strings.Compare(first, second) >= 0 {
		t.Errorf("%q comes after %q", first, second)
	}
}

// What is decoded is what was encoded, and nothing makes decoding fail in another way than
// with an error.
func FuzzDecodeUsage(f *testing.F) {
	id := apikey.NewKeyID(time.Now())
	f.Add([]byte(nil))
	f.Add(encodeUsage(map[string]apikey.Usage{id: {Reads: 1 << 63, Writes: 1}}))
	f.Add(encodeUsage(map[string]apikey.Usage{id: {}, apikey.NewKeyID(time.Now()): {Refused: 300, RateLimited: 5}}))
	f.Add(make([]byte, 19))
	f.Add([]byte(strings.Repeat("\xff", 40)))
	f.Fuzz(func(t *testing.T, value []byte) {
		totals, err := decodeUsage(value)
		if err != nil {
			return
		}
		again, err := decodeUsage(encodeUsage(totals))
		if err != nil || !maps.Equal(again, totals) {
			t.Errorf("%x: got %v, and %v, %v once it was encoded", value, totals, again, err)
		}
	})
}
