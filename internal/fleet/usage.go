package fleet

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// How often keys were used is no change of the fleet, and nothing is decided by it. Each
// gateway counts for itself, and tells the others its totals of a day: a value for each
// day, shard of the keys, and start of a gateway, which only that gateway writes. So values
// can be told and merged again, nothing is counted twice, and what a gateway that is gone
// has counted stays.

const (
	// usagePause is the shortest time between two rounds of telling. It is less than the time
	// between two notes of usage, so that each is told at once.
	usagePause = 4 * time.Second
	// usageBytes is how much all gateways of a fleet write in that time, fifty kilobytes a
	// second: etcd keeps it for an hour or two, until it is compacted. What is more waits for
	// the next round, and what has waited for the longest goes first.
	usageBytes = 200 << 10
	// usageOverhead is what etcd takes for a value besides its entries.
	usageOverhead = 128
	// usageShards is how many values the keys of a day are spread over: few, because each has
	// that overhead, but so many that one with a share of millions of keys fits into a request.
	usageShards = 128
	// usageRequest is the size of one request; etcd allows 1.5 MiB.
	usageRequest = 256 << 10
	// forgetUsageEvery is how often what is too old is deleted.
	forgetUsageEvery = time.Hour
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

// ownUsage is a value. It is kept as it is written: decoded, a million keys would take a
// hundred megabytes.
type ownUsage struct {
	encoded []byte
	changes int
	since   time.Time // when it began to wait to be told; zero if it does not
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
		}
		value.encoded = encodeUsage(totals)
		value.changes++
		if value.since.IsZero() {
			value.since = now
		}
	}
}

// dueUsage is a value that waits to be told.
type dueUsage struct {
	usageValue
	ownUsage
}

// due returns the values that wait to be told, those first that have waited for the
// longest, and at most so many bytes, but one at least.
func (u *usage) due(most int) (all []dueUsage) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for name, value := range u.values {
		if !value.since.IsZero() {
			all = append(all, dueUsage{name, *value})
		}
	}
	slices.SortFunc(all, func(a, b dueUsage) int { return a.since.Compare(b.since) })
	for n, value := range all {
		if most -= len(value.encoded) + usageOverhead; most < 0 && n > 0 {
			return all[:n]
		}
	}
	return all
}

// told notes that values were told, and drops those that will not change any more.
func (u *usage) told(values []dueUsage, today apikey.Day) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, told := range values {
		if value := u.values[told.usageValue]; value.changes == told.changes {
			value.since = time.Time{}
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
func (u *usage) waits() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, value := range u.values {
		if !value.since.IsZero() {
			return true
		}
	}
	return false
}

// tellUsage tells the other gateways what was counted here until ctx is done.
func (f *Fleet) tellUsage(ctx context.Context) {
	if err := f.addFormerUsage(ctx); err != nil && ctx.Err() == nil {
		f.log.Warn("could not read what this gateway has counted before it was started: the others are told after its next start", zap.Error(err))
	}
	for failed := false; ctx.Err() == nil; {
		err := f.tellDueUsage(ctx, usageBytes/f.gatewaysServing())
		if err != nil && ctx.Err() == nil && !failed {
			f.log.Warn("could not tell the other gateways how often keys were used; trying again every few seconds", zap.Error(err))
		}
		failed = err != nil
		if err == nil {
			f.forgetUsage(ctx)
		}
		_ = pause(ctx, cmp.Or(f.options.Load().usagePause, usagePause))
		if f.usage.waits() {
			continue
		}
		select {
		case <-f.usage.wake:
		case <-ctx.Done():
		}
	}
}

// gatewaysServing returns how many gateways serve, at least one.
func (f *Fleet) gatewaysServing() int {
	gateways, _, _ := f.registry.all()
	return max(countServing(gateways), 1)
}

// addFormerUsage adds what was counted before this start, and may not have been told. It
// waits until that is merged with what is in etcd: the replica may be older.
func (f *Fleet) addFormerUsage(ctx context.Context) error {
	select {
	case <-f.usage.caughtUp:
	case <-ctx.Done():
		return ctx.Err()
	}
	if f.usage.resumed {
		return nil
	}
	note, err := f.replica.UsageNote()
	if err != nil {
		return err
	}
	former := slices.DeleteFunc(note.Untold, func(origin string) bool { return origin == f.usage.origin })
	all := make(map[string]map[apikey.KeyDay]apikey.Usage)
	for _, origin := range former {
		all[origin] = make(map[apikey.KeyDay]apikey.Usage)
	}
	if len(former) > 0 {
		err = f.replica.EachUsage(ctx, former, oldestUsage(time.Now()), func(origin string, one apikey.KeyDay, usage apikey.Usage) {
			all[origin][one] = usage
		})
	}
	if err != nil {
		return err
	}
	for origin, counted := range all {
		f.usage.add(origin, counted, f.started) // so that they are told first
	}
	f.usage.resumed, f.usage.former = true, former
	return nil
}

// oldestUsage is the first day of which usage is kept.
func oldestUsage(now time.Time) apikey.Day { return apikey.DayOf(now) - apikey.UsageDays + 1 }

// tellDueUsage writes values that wait, up to a size.
func (f *Fleet) tellDueUsage(ctx context.Context, most int) error {
	if f.Full() {
		return nil
	}
	e := f.connection()
	for due := f.usage.due(most); len(due) > 0; {
		var puts []clientv3.Op
		for size := 0; len(puts) < min(len(due), maxOps) && (size == 0 || size < usageRequest); {
			value := due[len(puts)]
			name := e.name(usageName(value.day, value.shard, value.origin))
			puts = append(puts, clientv3.OpPut(name, string(e.keys.seal(name, 0, value.encoded))))
			size += len(value.encoded)
		}
		if _, err := e.write(ctx, nil, puts, nil); err != nil {
			return err
		}
		f.usage.told(due[:len(puts)], apikey.DayOf(time.Now()))
		due = due[len(puts):]
	}
	if len(f.usage.former) == 0 || f.usage.waits() {
		return nil
	}
	err := f.replica.NoteUsageTold(f.usage.former)
	if err == nil {
		f.usage.former = nil
	}
	return err
}

// tellLastUsage tells the other gateways everything, before this one stops.
func (f *Fleet) tellLastUsage() {
	if f.Problem() != "" || f.Full() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*attemptTimeout)
	defer cancel()
	err := f.tellDueUsage(ctx, math.MaxInt)
	if err == nil {
		err = f.replica.NoteUsageTold([]string{f.usage.origin})
	}
	if err != nil {
		f.log.Warn("could not tell the other gateways how often keys were used: they are told once this one has been started again", zap.Error(err))
	}
}

// forgetUsage deletes from etcd what is too old, now and then. Whichever gateway does it,
// it goes by the time that has certainly passed.
func (f *Fleet) forgetUsage(ctx context.Context) {
	if time.Since(f.usage.forgotten) < forgetUsageEvery {
		return
	}
	_, confirmed, err := f.replica.Contact()
	if err == nil && !confirmed.IsZero() {
		e := f.connection()
		end := clientv3.WithRange(e.name(usageDayPrefix(max(oldestUsage(confirmed), 0))))
		_, err = e.write(ctx, nil, []clientv3.Op{clientv3.OpDelete(e.name(usagePrefix), end)}, nil)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		f.log.Warn("could not delete how often keys were used long ago; trying again later", zap.Error(err))
		return
	}
	f.usage.forgotten = time.Now()
}
