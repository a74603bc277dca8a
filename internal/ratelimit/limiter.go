// Package ratelimit limits requests by an exact sliding window.
//
// For a limit of N requests per window, it promises:
//
//   - Never more than N pass in any half-open window [t, t+Window), wherever
//     it begins. A token bucket of burst N passes nearly 2N in its first
//     window; a counter per calendar minute passes 2N around the full minute.
//   - A client that stays within the limit is never refused: a request passes
//     if fewer than N passed in the window that ends with it. One that passed
//     exactly Window ago no longer counts.
//   - A refused request does not count. Where two limits apply to a request, it counts in
//     both or in neither.
//
// To do so, it stores the instant of each pass for as long as it counts: a sliding
// window log, of 8 bytes per pass.
//
// # Time
//
// The package never reads a clock; the caller passes the time of the request.
// Instants are computed relative to the first one seen, by [time.Time.Sub]. As long as
// the caller passes what [time.Now] returned, setting the wall clock changes nothing,
// because Sub uses the monotonic reading. (UTC, In, Local and Round strip it.)
//
// Concurrent requests may arrive in a different order than they read the clock. So each
// bucket has its own clock, which does not go back: an earlier time counts as the latest
// that the bucket has seen, and the promises hold in the time of that clock.
//
// Times without a monotonic reading follow the wall clock. If such a time is behind by up
// to a minute, the request is late, as above. If it is further behind, the clock was set
// back: the whole log moves with it and every pass keeps its age, so that nobody waits for
// the clock to catch up and no pass is lost. A wall clock that is set forward ages the log
// by as much: such times do not distinguish the two.
package ratelimit

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// Limit is N requests in any window of the given length. If N is below 1, nothing
// passes. If Window is zero, everything passes, because no window contains a request.
type Limit struct {
	N      int
	Window time.Duration
}

// Verdict is the decision on one request. Its durations count from the time of the
// request, and hold as long as nothing else passes.
type Verdict struct {
	// Allowed reports whether the request passes. If so, it counts.
	Allowed bool

	// Remaining is how many more would pass now.
	Remaining int

	// RetryAfter is how long until a request would pass, to the nanosecond. It is above
	// zero for a refused request, and zero for one that passes.
	RetryAfter time.Duration

	// Reset is how long until Remaining grows. It is zero if none of the limit is used.
	Reset time.Duration
}

// Limiter judges the requests of any number of buckets. A bucket belongs to a subject
// (whose requests are limited: a key, a workspace), an action and a limit, and has its own
// log: callers with the same limit share it, callers with different limits do not.
//
// Its methods may be called concurrently. Requests of different buckets share
// no lock once their Hints have the buckets.
type Limiter struct {
	epoch   atomic.Pointer[time.Time] // the first time seen, which instants count from
	buckets table

	sweeping sync.Mutex   // one Sweep at a time
	swept    atomic.Int64 // its clock, where those of new buckets begin
}

type bucketID struct {
	subject string
	action  uint8
	limit   Limit
}

// Count is what a request is to be counted as: as one of a subject, for an action, within a
// limit. With a Hint, which may be nil, its bucket is looked up once.
type Count struct {
	Subject string
	Action  uint8
	Limit   Limit
	Hint    *Hint
}

// New returns a Limiter without buckets.
func New() *Limiter { return &Limiter{buckets: table{seed: maphash.MakeSeed()}} }

// Allow judges one request by a limit, and counts it if it passes.
func (l *Limiter) Allow(c Count, now time.Time) Verdict {
	if c.Limit.Window <= 0 && c.Limit.N > 0 {
		return Verdict{Allowed: true, Remaining: c.Limit.N}
	}
	if c.Limit.N < 1 {
		return Verdict{RetryAfter: max(c.Limit.Window, 1)}
	}
	at := l.instant(now)
	for b := l.hinted(&c); ; b = l.bucketOf(&c) {
		if v, ok := l.judge(b, at); ok {
			return v
		}
	}
}

// AllowBoth judges one request by two limits, each with N and Window above zero. It passes
// if both verdicts allow it, and then counts in both; else it counts in neither. All callers
// pass the two in the order of their actions, which differ: so no two requests wait for each
// other.
func (l *Limiter) AllowBoth(first, second Count, now time.Time) (Verdict, Verdict) {
	at := l.instant(now)
	for b, c := l.hinted(&first), l.hinted(&second); ; b, c = l.bucketOf(&first), l.bucketOf(&second) {
		if v, w, ok := l.judgeBoth(b, c, at); ok {
			return v, w
		}
	}
}

// Hint caches the buckets of one caller. Store it with the subject: finding a bucket among
// many costs more than the decision itself (see BenchmarkLimiter_hinted). It has room for
// four, each of another action or limit, which is enough for reads, writes and all keys of a
// workspace on a site with another limit on some of its paths. What counts as an action must
// always be for the same subject. It is safe for concurrent use; the zero Hint is empty.
type Hint struct{ buckets [4]atomic.Pointer[bucket] }

func (h *Hint) find(action uint8, limit Limit) *bucket {
	if h == nil {
		return nil
	}
	for i := range h.buckets {
		if b := h.buckets[i].Load(); b != nil && b.limit == limit && b.action == action {
			return b
		}
	}
	return nil
}

// put stores a bucket in place of its predecessor, or of the oldest one.
func (h *Hint) put(b *bucket) {
	if h == nil {
		return
	}
	moved := b
	for i := range h.buckets {
		older := h.buckets[i].Swap(moved)
		if older == nil || older.limit == b.limit && older.action == b.action {
			return
		}
		moved = older
	}
}

// judge decides on one request, unless a Sweep has released the bucket since it was
// looked up: then the request must count in the bucket's successor.
func (l *Limiter) judge(b *bucket, at instant) (v Verdict, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !l.begin(b) {
		return Verdict{}, false
	}
	return b.judge(at), true
}

// judgeBoth is judge for a request that counts in two buckets or in neither.
func (l *Limiter) judgeBoth(b, c *bucket, at instant) (v, w Verdict, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c.mu.Lock() // no deadlock: see AllowBoth about the order
	defer c.mu.Unlock()
	if !l.begin(b) || !l.begin(c) {
		return v, w, false
	}
	first, second := b.allows(at), c.allows(at)
	if first && second {
		b.count()
		c.count()
	}
	return b.verdict(first, at), c.verdict(second, at), true
}

// begin prepares a bucket for a request, unless it was released. The caller holds its lock.
func (l *Limiter) begin(b *bucket) bool {
	if b.released {
		return false
	}
	if !b.begun { // maybe the successor of one that took its clock with it
		b.begun, b.clock = true, l.swept.Load()
	}
	return true
}

// hinted is bucketOf without the look-up if the hint has the bucket, which may have been
// released since.
func (l *Limiter) hinted(c *Count) *bucket {
	if b := c.Hint.find(c.Action, c.Limit); b != nil {
		return b
	}
	return l.bucketOf(c)
}

func (l *Limiter) bucketOf(c *Count) *bucket {
	limit := c.Limit
	limit.Window = min(limit.Window, eternity)
	b := l.buckets.find(bucketID{c.Subject, c.Action, limit})
	c.Hint.put(b)
	return b
}

// Sweep releases the buckets in which nothing counts any more, and returns how many
// remain. Call it from time to time; it does not block requests for long.
func (l *Limiter) Sweep(now time.Time) int {
	at := l.instant(now)
	l.sweeping.Lock()
	defer l.sweeping.Unlock()
	// The successor of a released bucket must not begin before the instant at which the
	// passes stopped counting, or a late request would be judged without them.
	l.swept.Store(advance(l.swept.Load(), at))
	l.buckets.removeIf(func(b *bucket) bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		if !b.idle(at) {
			return false
		}
		// Its clock can be ahead of this sweep's: a request that another limit refused has
		// set it.
		l.swept.Store(max(l.swept.Load(), b.clock))
		// A request that finds the bucket released waits until it is removed.
		b.released, b.passes = true, ring{} // a Hint may keep it for long
		return true
	})
	return l.Len()
}

// Len returns the number of buckets in memory.
func (l *Limiter) Len() int { return l.buckets.size() }

func (l *Limiter) instant(now time.Time) instant {
	epoch := l.epoch.Load()
	if epoch == nil {
		first := now
		l.epoch.CompareAndSwap(nil, &first)
		epoch = l.epoch.Load()
	}
	return instant{
		ns:   int64(min(max(now.Sub(*epoch), -eternity), eternity)),
		wall: !monotonic(now) || !monotonic(*epoch),
	}
}
