package authn

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// usage counts the requests with a cached key that have not been flushed yet.
type usage struct {
	counts [counters]atomic.Uint32 // see putAsideAt
	day    atomic.Int32            // of these counts, as an [apikey.Day]
	// listed says that the next flush will look at it.
	listed atomic.Bool
}

// putAsideAt is the count that is put aside even if flushes have failed for so long, so that
// 32 bits suffice.
const putAsideAt = 1 << 31

// A counter is what became of a request, as it is counted for its key.
type counter uint8

const (
	asRead counter = iota
	asWrite
	asRefused
	asLimited
	counters
)

// usages has the counts that are to be flushed. A request only adds to a number in the
// entry it has; only a key's first request after a flush, or on another day, takes the
// lock.
type usages struct {
	mu    sync.Mutex
	fresh []*entry // listed since the last flush, and so not lost if they are evicted
	past  map[apikey.KeyDay]apikey.Usage

	flushing  sync.Mutex // held for the field below
	unwritten map[apikey.KeyDay]apikey.Usage
}

// counterOf returns what an allowed request counts as.
func counterOf(action Action) counter {
	if action == Read {
		return asRead
	}
	return asWrite
}

// count counts a request.
func (u *usages) count(key *entry, as counter, at time.Time) {
	one := &key.usage
	if day := int32(apikey.DayOf(at)); one.day.Load() != day {
		u.turn(key, day)
	}
	if one.counts[as].Add(1) == putAsideAt {
		u.mu.Lock()
		u.putAside(key)
		u.mu.Unlock()
	}
	// After the count: a flush takes it, or has it listed once more.
	if !one.listed.Load() && one.listed.CompareAndSwap(false, true) {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.fresh = append(u.fresh, key)
	}
}

// turn puts the counts of another day aside. A request that is being counted at that very
// moment can be counted for the day after.
func (u *usages) turn(key *entry, day int32) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if key.usage.day.Load() == day {
		return
	}
	u.putAside(key)
	key.usage.day.Store(day)
}

// putAside adds a key's counts to those that no entry has any more. The caller holds the
// lock.
func (u *usages) putAside(key *entry) {
	if u.past == nil {
		u.past = make(map[apikey.KeyDay]apikey.Usage)
	}
	of, more := key.takeUsage()
	addTo(u.past, of, more)
}

// takeUsage removes and returns the counts of a key. The caller holds the lock.
func (key *entry) takeUsage() (apikey.KeyDay, apikey.Usage) {
	take := func(as counter) uint64 { return uint64(key.usage.counts[as].Swap(0)) }
	return apikey.KeyDay{KeyID: key.ID(), Day: apikey.Day(key.usage.day.Load())},
		apikey.Usage{Reads: take(asRead), Writes: take(asWrite), Refused: take(asRefused), RateLimited: take(asLimited)}
}

func addTo(all map[apikey.KeyDay]apikey.Usage, one apikey.KeyDay, more apikey.Usage) {
	if more != (apikey.Usage{}) {
		all[one] = all[one].Plus(more)
	}
}

// FlushUsage calls write with how many requests there were with each key since they were
// last written, by the day of the request, UTC. Call it every few seconds, and finally
// once more. If write fails, it gets the same counts again, and more, the next time. It
// must not keep them.
func (a *Authenticator) FlushUsage(write func(map[apikey.KeyDay]apikey.Usage) error) error {
	u := &a.usages
	u.flushing.Lock()
	defer u.flushing.Unlock()
	u.collect()
	if len(u.unwritten) == 0 {
		return nil
	}
	if err := write(u.unwritten); err != nil {
		return err
	}
	u.unwritten = nil
	return nil
}

// collect adds the counts since the last flush to those that are to be written. If too
// many wait because writes have failed, it drops those of further keys.
func (u *usages) collect() {
	u.mu.Lock()
	fresh, past := u.fresh, u.past
	u.fresh, u.past = nil, nil
	u.mu.Unlock()
	if u.unwritten == nil {
		u.unwritten = make(map[apikey.KeyDay]apikey.Usage, len(fresh))
	}
	full := len(u.unwritten) >= maxUses
	add := func(one apikey.KeyDay, more apikey.Usage) {
		if full {
			if _, waits := u.unwritten[one]; !waits {
				return
			}
		}
		addTo(u.unwritten, one, more)
	}
	for one, more := range past {
		add(one, more)
	}
	for _, key := range fresh {
		key.usage.listed.Store(false)
		u.mu.Lock()
		of, more := key.takeUsage()
		u.mu.Unlock()
		add(of, more)
	}
}
