package ratelimit

import (
	"sort"
	"sync"
	"time"
)

// bucket is the log of one key and action.
type bucket struct {
	mu       sync.Mutex
	clock    int64         // the latest instant seen: goes back only with the wall clock
	most     int           // the largest N asked
	longest  time.Duration // the longest Window asked
	passes   ring          // at most the newest `most`, within `longest`
	released bool          // no longer in the Limiter: nothing may be counted here
}

// judge decides on one request. The caller holds the lock.
func (b *bucket) judge(at instant, limit Limit) Verdict {
	b.most = max(b.most, limit.N)
	b.longest = max(b.longest, limit.Window)
	b.advance(at)

	used := b.passes.within(b.clock, limit.Window)
	v := Verdict{Allowed: used < limit.N}
	if v.Allowed {
		b.passes.push(b.clock, b.most)
		used++
	}
	v.Remaining = max(limit.N-used, 0)
	// One more will pass once the Nth newest pass is out of the window; while
	// fewer are in it, once the oldest of them is.
	next := b.passes.at(b.passes.len - min(used, limit.N))
	v.Reset = time.Duration(next-at.ns) + limit.Window
	if !v.Allowed {
		v.RetryAfter = v.Reset
	}
	return v
}

// idle reports whether nothing counts any more. The caller holds the lock.
func (b *bucket) idle(at instant) bool {
	b.advance(at)
	return b.passes.len == 0
}

// advance sets the clock and drops the passes that no window holds any more.
func (b *bucket) advance(at instant) {
	clock := advance(b.clock, at)
	if clock < b.clock {
		b.passes.shift(clock - b.clock)
	}
	b.clock = clock
	b.passes.drop(b.passes.len - b.passes.within(b.clock, b.longest))
}

// ring holds instants, oldest first. It grows by doubling, so that a bucket
// takes the memory of what passed and not of what could have.
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

// within counts those in the window that ends with now, which none is after.
func (r *ring) within(now int64, window time.Duration) int {
	if r.len == 0 || now-r.at(0) < int64(window) {
		return r.len
	}
	return r.len - sort.Search(r.len, func(i int) bool { return now-r.at(i) < int64(window) })
}

// push appends the newest, in place of the oldest if there are limit of them.
func (r *ring) push(at int64, limit int) {
	if r.len == limit {
		r.drop(1)
	}
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
