package fleet

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// How often keys were used is not a change of the fleet, and no decision depends on it.
// Each gateway counts for itself, and tells the others its totals of a day: a value for
// each day, shard of the keys, and start of a gateway, which only that gateway writes. So
// values can be told and merged again, nothing is counted twice, and what a gateway that is
// gone has counted stays.
//
// If that is too much to be written again every few seconds, it tells the totals of those
// keys that have changed since the last time, in a value of its own: an addition. The
// values follow one after another, and once each of them has what an addition says, that
// is deleted.

const (
	// usageShards is how many values the keys of a day are spread over: few, because each has
	// some overhead, but enough for one with a share of millions of keys to fit into a request.
	usageShards = 128
	// usageOverhead is what etcd takes for a value besides its entries.
	usageOverhead = 128
)

// usage is what this gateway has counted, and tells. It is safe for concurrent use.
type usage struct {
	origin string
	wake   chan struct{} // has an element when something is to be told

	mu      sync.Mutex
	values  map[usageValue]*ownUsage
	dropped apikey.Day // the last day whose values are not kept any more

	// Only the goroutine that tells uses these.
	resumed   bool      // whether what earlier starts have counted was added
	former    []string  // the origins of those, until they have been told
	forgotten time.Time // when what is too old was last deleted
	credit    int       // of bytes for values that are out of date: see due
	additions []addition
	added     int // how many there have been

	caughtUp chan struct{} // closed once all that others have told is merged
	catchUp  sync.Once
	merged   int64 // the revision up to which it is; only the one that follows uses it
}

// usageValue says which value it is.
type usageValue struct {
	origin string
	day    apikey.Day
	shard  byte
}

// addition is a value in etcd with what was new in others, at a time.
type addition struct {
	name string
	at   time.Time
}

// ownUsage is a value. It is kept as it is written: decoded, a million keys would take a
// hundred megabytes.
type ownUsage struct {
	encoded []byte
	changes int
	since   time.Time // when it began to wait to be written; zero if it does not
	// untold is since when there is something in it that the others have not been told, also
	// not by an addition; zero if there is nothing. news has the totals that have changed
	// since then, unless they are nearly all, so that the value may as well be told.
	untold time.Time
	news   []byte
}

// change notes totals that the others do not know.
func (v *ownUsage) change(news []byte, now time.Time) {
	v.changes++
	if v.since.IsZero() {
		v.since = now
	}
	if v.untold.IsZero() {
		v.untold = now
	} else if v.news == nil {
		return // as it is told as a whole
	}
	if v.news = append(v.news, news...); 10*len(v.news) > 9*len(v.encoded) {
		v.news = nil
	}
}

func newUsage(origin string) *usage {
	return &usage{origin: origin, wake: make(chan struct{}, 1), values: make(map[usageValue]*ownUsage), caughtUp: make(chan struct{})}
}

// NoteUsage notes that keys were used on this gateway. The replica must have noted it.
func (f *Fleet) NoteUsage(more map[apikey.KeyDay]apikey.Usage) {
	f.usage.add(f.usage.origin, more, time.Now())
	select {
	case f.usage.wake <- struct{}{}:
	default:
	}
}

// add adds to what was counted under an origin. Days that are over and told are not kept:
// if they come back because a clock was wrong, only this gateway knows of it.
func (u *usage) add(origin string, more map[apikey.KeyDay]apikey.Usage, now time.Time) {
	byValue := make(map[usageValue]map[string]apikey.Usage)
	for one, usage := range more {
		name := usageValue{origin, one.Day, shardOf(one.KeyID) % usageShards}
		if byValue[name] == nil {
			byValue[name] = make(map[string]apikey.Usage)
		}
		byValue[name][one.KeyID] = usage
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for name, more := range byValue {
		value := u.values[name]
		switch {
		case value == nil && origin == u.origin && name.day <= u.dropped:
			continue
		case value == nil:
			value = &ownUsage{}
			u.values[name] = value
		}
		totals, _ := decodeUsage(value.encoded) // which this gateway has encoded
		for id, usage := range more {
			totals[id] = totals[id].Plus(usage)
			more[id] = totals[id]
		}
		value.encoded = encodeUsage(totals)
		value.change(encodeUsage(more), now)
	}
}

// dueUsage is a value that waits to be told, in full or what is new in it.
type dueUsage struct {
	usageValue
	ownUsage
	inFull bool
	at     time.Time // as of when
}

func (d *dueUsage) size() int {
	if d.inFull {
		return len(d.encoded) + usageOverhead
	}
	return len(d.news)
}

// waiting returns the values that wait, in full, and first those that have done so for the
// longest.
func (u *usage) waiting() (all []dueUsage) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	for name, value := range u.values {
		if !value.since.IsZero() {
			all = append(all, dueUsage{name, *value, true, now})
		}
	}
	slices.SortFunc(all, func(a, b dueUsage) int { return a.since.Compare(b.since) })
	return all
}

// due returns what is to be told. If all that waits is no more than some bytes, it is that.
// Otherwise it is what the others have not been told yet, up to most bytes, and a few of the
// values that have waited for the longest, so that additions can be deleted: on average, a
// quarter of that, or a tenth of some.
func (u *usage) due(some, most int) []dueUsage {
	all := u.waiting()
	size, untold := 0, 0
	for i := range all {
		size += all[i].size()
		if !all[i].untold.IsZero() {
			untold += cmp.Or(len(all[i].news), all[i].size())
		}
	}
	if size <= some {
		u.credit = 0
		return all
	}
	n := 0
	for u.credit += max(min(untold, most)/4, some/10); n < len(all) && u.credit >= all[n].size(); n++ {
		u.credit -= all[n].size()
	}
	var news []dueUsage
	for _, one := range all[n:] {
		if !one.untold.IsZero() {
			one.inFull = one.news == nil
			news = append(news, one)
		}
	}
	slices.SortStableFunc(news, func(a, b dueUsage) int { return a.untold.Compare(b.untold) })
	return append(upTo(news, most), all[:n]...)
}

// upTo returns the first values up to a size, and one at least.
func upTo(values []dueUsage, most int) []dueUsage {
	for n := range values {
		if most -= values[n].size(); most < 0 && n > 0 {
			return values[:n]
		}
	}
	return values
}

// told notes that values were told, and drops those that will not change any more.
func (u *usage) told(values []dueUsage, today apikey.Day) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, told := range values {
		value, later := u.values[told.usageValue], told.at // it waits since then, if it has changed since
		if value.changes == told.changes {
			later, value.news = time.Time{}, nil
		}
		value.untold = later
		if told.inFull {
			value.since = later
		}
	}
	maps.DeleteFunc(u.values, func(name usageValue, value *ownUsage) bool {
		if !value.since.IsZero() || name.origin == u.origin && name.day >= today-1 {
			return false
		}
		if name.origin == u.origin {
			u.dropped = max(u.dropped, name.day)
		}
		return true
	})
}

// waits reports whether anything waits to be told.
func (u *usage) waits() bool { return len(u.waiting()) > 0 }

// hasFormer reports whether there are values of earlier starts, which wait to be told.
func (u *usage) hasFormer() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	for name := range u.values {
		if name.origin != u.origin {
			return true
		}
	}
	return false
}

// expect notes an addition that is about to be written, perhaps once more: it has its name
// until it is known to be written.
func (u *usage) expect(one addition) {
	if last := len(u.additions) - 1; last >= 0 && u.additions[last].name == one.name {
		u.additions[last] = one
		return
	}
	u.additions = append(u.additions, one)
}

// superseded returns how many of the additions say nothing that is not in the values: they
// are from before all that waits.
func (u *usage) superseded() int {
	all := u.waiting()
	if len(all) == 0 {
		return len(u.additions)
	}
	for n, addition := range u.additions {
		if !addition.at.Before(all[0].since) {
			return n
		}
	}
	return len(u.additions)
}
