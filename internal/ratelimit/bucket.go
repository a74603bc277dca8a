package ratelimit

import (
	"sort"
	"sync"
	"time"
)

// bucket is the log of one subject, action and limit. The pointers come first, so that the
// garbage collector need not look at the rest.
type bucket struct {
	next    *bucket // in its chain, whose lock guards it
	subject string
	passes  ring // those within the window: at most N
	limit   Limit
	hash    uint32
	action  uint8

	begun    bool // the clock is set
	released bool // no longer in the Limiter: nothing may be counted here
	mu       sync.Mutex
	clock    int64 // the latest instant seen: goes back only with the wall clock
}

func (b *bucket) is(id *bucketID) bool {
	return b.limit == id.limit && b.action == id.action && b.subject == id.subject
}

// judge decides on one request. The caller holds the lock.
func (b *bucket) judge(at instant) Verdict {
	allowed := b.allows(at)
	if allowed {
		b.count()
	}
	return b.verdict(allowed, at)
}

// allows reports whether a request would pass, and counts nothing. The caller holds the
// lock.
func (b *bucket) allows(at instant) bool {
	b.advance(at)
	return b.passes.count() < b.limit.N
}

// count counts a request that allows has let pass.
func (b *bucket) count() { b.passes.push(b.clock, b.limit.N) }

func (b *bucket) verdict(allowed bool, at instant) Verdict {
	v := Verdict{Allowed: allowed, Remaining: b.limit.N - b.passes.count()}
	if b.passes.len > 0 {
		v.Reset = time.Duration(b.passes.at(0)-at.ns) + b.limit.Window
	}
	if !allowed {
		v.RetryAfter = v.Reset
	}
	return v
}

// idle reports whether nothing counts any more. The caller holds the lock.
func (b *bucket) idle(at instant) bool {
	b.advance(at)
	return b.passes.len == 0
}

// advance sets the clock and drops the passes that have left the window.
func (b *bucket) advance(at instant) {
	clock := advance(b.clock, at)
	if clock < b.clock {
		b.passes.shift(clock - b.clock)
	}
	b.clock = clock
	b.passes.drop(b.passes.count() - b.passes.within(b.clock, b.limit.Window))
}

// ring holds instants, oldest first. It grows by doubling, so that a bucket uses
// memory for the requests that passed, not for those that could. The first few need no
// allocation.
type ring struct {
	more       *[]int64 // in place of few
	first, len uint32   // the oldest's slot, and how many there are
	few        [4]int64
}

func (r *ring) slots() []int64 {
	if r.more != nil {
		return *r.more
	}
	return r.few[:]
}

func (r *ring) count() int { return int(r.len) }

// at returns the ith oldest.
func (r *ring) at(i int) int64 {
	slots := r.slots()
	return slots[r.slot(slots, i)]
}

func (r *ring) slot(slots []int64, i int) int {
	i += int(r.first)
	if i >= len(slots) {
		i -= len(slots)
	}
	return i
}

// within counts those in the window that ends now. None is later than now.
func (r *ring) within(now int64, window time.Duration) int {
	if r.len == 0 || now-r.at(0) < int64(window) {
		return r.count()
	}
	return r.count() - sort.Search(r.count(), func(i int) bool { return now-r.at(i) < int64(window) })
}

// push appends the newest of at most limit.
func (r *ring) push(at int64, limit int) {
	slots := r.slots()
	if r.count() == len(slots) {
		slots = r.grow(slots, limit)
	}
	slots[r.slot(slots, r.count())] = at
	r.len++
}

func (r *ring) grow(slots []int64, limit int) []int64 {
	grown := make([]int64, min(2*len(slots), limit))
	n := copy(grown, slots[r.first:])
	copy(grown[n:], slots[:r.first])
	if r.more == nil {
		r.more = new([]int64)
	}
	*r.more, r.first = grown, 0
	return grown
}

// drop removes the n oldest.
func (r *ring) drop(n int) {
	if n == 0 {
		return
	}
	r.first = uint32(r.slot(r.slots(), n))
	r.len -= uint32(n)
}

// shift moves all of them in time.
func (r *ring) shift(by int64) {
	slots := r.slots()
	for i := range r.count() {
		slots[r.slot(slots, i)] += by
	}
}
