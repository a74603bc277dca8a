package fleet

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
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
		g.options.usageShare = 100 // so that additions are told
		g.open(t)
		all = append(all, g)
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
	o, want := defaults(etcdtest.Start(t, 1)), counted{}
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

// additions returns how many additions are in etcd.
func (g *gateway) additions(t *testing.T) (n int) {
	e := g.connection()
	read, err := e.read(t.Context(), clientv3.OpGet(e.name(usagePrefix), clientv3.WithPrefix(), clientv3.WithKeysOnly()))
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range read.Responses[0].GetResponseRange().Kvs {
		if strings.Contains(strings.TrimPrefix(string(kv.Key), e.prefix), "/x/") {
			n++
		}
	}
	return n
}

// ofOneShard returns keys whose counts are in one value, so that what is new can be less than
// that.
func ofOneShard(n int) (keys []apikey.Create) {
	for len(keys) < n {
		if key := newKey("acme", fmt.Sprintf("Key %d", len(keys))); shardOf(key.Key.ID)%usageShards == 7 {
			keys = append(keys, key)
		}
	}
	return keys
}

// A new integrity key seals usage again, also additions, and that of gateways which are gone.
func TestUsage_rekeyed(t *testing.T) {
	t.Parallel()
	o, want := tellingUsage(withKeys(defaults(etcdtest.Start(t, 1)), oldKey)), counted{}
	g := startGateways(t, 1, o)[0]
	o.usageShare = 1
	adding, gone := openGateway(t, "adding", o), openGateway(t, "gone", o)
	adding.awaitLive(t)
	gone.awaitLive(t)
	today := apikey.DayOf(time.Now())
	var keys []string
	for _, key := range ofOneShard(6) {
		keys = append(keys, g.apply(t, key).Key.ID)
		want.countMore(t, adding, key.Key.ID, today, apikey.Usage{Reads: 7})
	}
	want.countMore(t, gone, keys[1], today, apikey.Usage{Reads: 7})
	want.await(t, "in values", g, keys...)
	gone.close()
	want.countMore(t, adding, keys[0], today, apikey.Usage{Reads: 1})
	want.await(t, "in an addition", g, keys...)
	if g.additions(t) == 0 {
		t.Error("got no addition")
	}
	for _, one := range []*gateway{g, adding} {
		one.adopt(t, withKeys(o, secondKey, oldKey))
	}
	g.rekey(t)
	if again := g.rekey(t); again.Sealed != 0 {
		t.Errorf("got %+v, want everything sealed", again)
	}
	fresh := openGateway(t, "fresh", withKeys(o, secondKey))
	fresh.awaitLive(t)
	want.await(t, "with the new key alone", fresh, keys...)
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

// What has waited for the longest is told first, and no more at a time than is allowed, but
// for one value.
func TestUsage_due(t *testing.T) {
	const own, size = "AAAAAAAAAAAAAAAA", 20 + usageOverhead
	u, now, today := newUsage(own), time.Now(), apikey.Day(20_000)
	for i := range 20 {
		u.add(own, counted{{KeyID: apikey.NewKeyID(now), Day: today - apikey.Day(i)}: {Reads: 1}}, now.Add(-time.Duration(i)*time.Second))
	}
	for round := 0; u.waits(); round++ {
		all := u.waiting()
		due := upTo(all, 5*size)
		if len(due) != 5 || due[0].day != today-19+apikey.Day(5*round) {
			t.Fatalf("round %d: got %d values from day %d on, want 5 from %d on", round, len(due), due[0].day, today-19+apikey.Day(5*round))
		}
		if len(upTo(all, 1)) != 1 {
			t.Errorf("got %d values that are larger than what is allowed, want 1", len(upTo(all, 1)))
		}
		u.told(due, today)
	}
	if len(u.values) != 2 || len(u.due(math.MaxInt, 0)) != 0 {
		t.Errorf("got %d values kept, and %d to be told, want those of today and yesterday, and none", len(u.values), len(u.due(math.MaxInt, 0)))
	}

	// What grows while it is told is told again.
	key := apikey.NewKeyID(now)
	u.add(own, counted{{KeyID: key, Day: today}: {Reads: 1}}, now)
	due := u.due(math.MaxInt, 0)
	u.add(own, counted{{KeyID: key, Day: today}: {Reads: 2}}, now)
	u.told(due, today)
	due = u.due(math.MaxInt, 0)
	if len(due) != 1 {
		t.Fatalf("got %d values to be told, want 1", len(due))
	}
	if totals, err := decodeUsage(due[0].encoded); err != nil || totals[key] != (apikey.Usage{Reads: 3}) {
		t.Errorf("got %v, %v, want 3 reads", totals, err)
	}

	// What was dropped is not restarted, which would take back what was told.
	u.add(own, counted{{KeyID: key, Day: today - 5}: {Reads: 1}}, now)
	if len(u.due(math.MaxInt, 0)) != 1 {
		t.Error("a value of a day that is over has started over")
	}
}

// With ten thousand keys in use, of which some are used again, what is new is told at
// once, and takes a small part of what the values would. In the end all values have it, and
// no additions are left.
func TestUsage_additions(t *testing.T) {
	const own, keys, again, some, most = "AAAAAAAAAAAAAAAA", 10_000, 1_500, usageBytes / 3, usageBurst / 3
	u, today := newUsage(own), apikey.Day(20_000)
	ids, all, told := make([]string, keys), counted{}, counted{}
	for i := range ids {
		ids[i] = apikey.NewKeyID(time.Now())
		all[apikey.KeyDay{KeyID: ids[i], Day: today}] = apikey.Usage{Reads: 100, Writes: 1}
	}
	u.add(own, all, time.Now())
	tell := func(some, most int) (size int) {
		for _, one := range u.due(some, most) {
			value := one.news
			if one.inFull {
				value = one.encoded
			} else {
				u.expect(addition{strconv.Itoa(u.added), one.at})
				u.added++
			}
			size += one.size()
			totals, err := decodeUsage(value)
			if err != nil {
				t.Fatal(err)
			}
			for id, total := range totals {
				told[apikey.KeyDay{KeyID: id, Day: one.day}] = total
			}
			u.told([]dueUsage{one}, today)
		}
		u.additions = u.additions[u.superseded():]
		return size
	}
	full := tell(math.MaxInt, 0)
	random, written, longest := rand.New(rand.NewPCG(1, 2)), 0, 0
	const rounds = 40
	for range rounds {
		more := counted{}
		for range again {
			more[apikey.KeyDay{KeyID: ids[random.IntN(keys)], Day: today}] = apikey.Usage{Reads: 1}
		}
		u.add(own, more, time.Now())
		for one := range more {
			all[one] = all[one].Plus(apikey.Usage{Reads: 1})
		}
		written += tell(some, most)
		longest = max(longest, len(u.additions))
		if !maps.Equal(told, all) {
			t.Fatal("something that is new was not told immediately")
		}
	}
	if average := written / rounds; average > full/4 {
		t.Errorf("got %d bytes written in a round, want at most a quarter of %d", average, full)
	}
	if longest >= rounds*usageShards*9/10 {
		t.Errorf("got %d additions of %d, want those deleted that are in the values", longest, rounds*usageShards)
	}
	for range 1000 {
		if tell(some, most) == 0 {
			break
		}
	}
	if u.waits() || len(u.additions) > 0 {
		t.Errorf("got %d values that wait and %d additions, want none", len(u.waiting()), len(u.additions))
	}
}

// An addition that may not have been written is written again, and is deleted by when that was.
func TestUsage_expect(t *testing.T) {
	u, now := newUsage("AAAAAAAAAAAAAAAA"), time.Now()
	for i, name := range []string{"0", "1", "1", "2"} {
		u.expect(addition{name, now.Add(time.Duration(i))})
	}
	want := []addition{{"0", now}, {"1", now.Add(2)}, {"2", now.Add(3)}}
	if !slices.Equal(u.additions, want) {
		t.Errorf("got %v, want %v", u.additions, want)
	}
}

func TestUsageAt(t *testing.T) {
	for _, origin := range []string{"", "ABCDEFGHIJKLMNOP"} {
		day, got, ok := usageAt(usageName(20_787, 0x3f, origin))
		if day != 20_787 || got != origin || !ok {
			t.Errorf("got %d, %q, %t, want 20787, %q, true", day, got, ok, origin)
		}
	}
	if day, origin, ok := usageAt(additionName(20_787, "ABCDEFGHIJKLMNOP", 0x1f)); day != 20_787 || origin != "ABCDEFGHIJKLMNOP" || !ok {
		t.Errorf("an addition: got %d, %q, %t", day, origin, ok)
	}
	for _, name := range []string{"", "z/", "z/020787/x/-/00000001", "z/020787/x/ABCDEFGHIJKLMNOP/1", "z/020787/3f/", "z/020787/3f/abcdefghijklmnop", "z/20787/3f/-", "z/020787/3F/-", "z/020787/3f/-/", "d/020787/3f/-"} {
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
