package ratelimit

import (
	"sort"
	"sync"
	"time"
)

// bucket is the log of one subject, action and limit.
type bucket struct {
	mu       sync.Mutex
	limit    Limit
	clock    int64 // the latest instant seen: goes back only with the wall clock
	passes   ring  // those within the window: at most N
	begun    bool  // the clock is set
	released bool  // no longer in the Limiter: nothing may be counted here
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
	return b.passes.len < b.limit.N
}

// count counts a request that allows has let pass.
func (b *bucket) count() { b.passes.push(b.clock, b.limit.N) }

func (b *bucket) verdict(allowed bool, at instant) Verdict {
	v := Verdict{Allowed: allowed, Remaining: b.limit.N - b.passes.len}
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
	b.passes.drop(b.passes.len - b.passes.within(b.clock, b.limit.Window))
}

// ring holds instants, oldest first. It grows by doubling, so that a bucket uses
// memory for the requests that passed, not for those that could.
type ring struct {
	slots []int64
	first int // the oldest's slot
	len   int
}

// at returns the ith oldest.
func (r *ring) at(i int) int64 { return r.slots[r.slot(i)] }

func (r *ring) slot(i int) int {
	i += r.first
	if i >= len(r.slots) {
		i -= len(r.slots)
	}
	return i
}

// within counts those in the window that ends now. None is later than now.
func (r *ring) within(now int64, window time.Duration) int {
	if r.len == 0 || now-r.at(0) < int64(window) {
		return r.len
	}
	return r.len - sort.Search(r.len, func(i int) bool { return now-r.at(i) < int64(window) })
}

// push appends the newest of at most limit.
func (r *ring) push(at int64, limit int) {
	if r.len == len(r.slots) {
		grown := make([]int64, min(max(2*r.len, 4), limit))
		n := copy(grown, r.slots[r.first:])
		copy(grown[n:], r.slots[:r.first])
		r.slots, r.first = grown, 0
	}
	r.len++
	r.slots[r.slot(r.len-1)] = at
}

// drop removes the n oldest.
func (r *ring) drop(n int) {
	if n == 0 {
		return
	}
	r.first = r.slot(n)
	r.len -= n
}

// shift moves all of them in time.
func (r *ring) shift(by int64) {
	for i := range r.len {
		r.slots[r.slot(i)] += by
	}
}
