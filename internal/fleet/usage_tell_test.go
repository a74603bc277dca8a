package fleet

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
)

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
	o, want := tellingUsage(withKeys(defaults(etcdtest.Shared(t, 1)), oldKey)), counted{}
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
