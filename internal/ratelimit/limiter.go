// Package ratelimit limits requests by an exact sliding window.
//
// It promises three things of a limit of N requests in a window:
//
//   - Never more than N pass in any half-open window [t, t+Window), wherever
//     it begins. A token bucket of burst N passes nearly 2N in its first
//     window; a counter per calendar minute passes 2N around the full minute.
//   - A client that stays within the limit is never refused: a request passes
//     if fewer than N passed in the window that ends with it. One that passed
//     exactly Window ago no longer counts.
//   - A refused request uses nothing up.
//
// To keep them, it remembers the instant of each pass for as long as it
// counts: a sliding window log, of 8 bytes a pass.
//
// # Time
//
// The package never reads a clock; the caller passes the time of the request.
// Instants are compared with the first one seen by [time.Time.Sub], so while
// the caller passes what [time.Now] returned, setting the wall clock changes
// nothing: Sub uses the monotonic reading. (UTC, In, Local and Round strip it.)
//
// Concurrent requests may arrive in another order than they read the clock in.
// Each bucket therefore has a clock of its own that does not go back: an
// earlier time is taken as the latest that the bucket has seen, and the
// promises above hold in the time of that clock.
//
// Times without a monotonic reading follow the wall clock. While it is behind
// by up to a minute, that is taken for a late request, as above. Further back,
// the clock was set: the whole log moves with it, every pass keeping its age,
// so that nobody waits for the clock to catch up and nothing is forgiven.
// A wall clock that is set forward ages the log by as much: nothing in such
// times tells the two apart.
package ratelimit

import (
	"sync"
	"sync/atomic"
	"time"
)

// Limit is N requests in any window of the given length. An N below 1 passes
// nothing; a Window of nothing holds no request, so it passes everything.
type Limit struct {
	N      int
	Window time.Duration
}

// Verdict is what a [Limiter] says of one request. Its durations count from
// the request's own time, and hold while nothing else passes.
type Verdict struct {
	// Allowed reports whether the request passes. It is then counted.
	Allowed bool

	// Remaining is how many more would pass now.
	Remaining int

	// RetryAfter is how long until one would pass, to the nanosecond. It is
	// more than zero for a refused request and zero for one that passes.
	RetryAfter time.Duration

	// Reset is how long until Remaining would next grow, and zero when nothing
	// of the limit is used.
	Reset time.Duration
}

// Limiter judges the requests of any number of buckets. A bucket is a key, an
// action and a limit, and has a log of its own: whoever asks with the same limit
// shares it, and whoever asks with another one does not.
//
// Its methods may be called concurrently. Requests of different buckets share
// no lock.
type Limiter struct {
	epoch atomic.Pointer[time.Time] // the first time seen, which instants count from

	// A sync.Map rather than maps in shards: a look-up takes no lock (24 ns of
	// one hot key, where 256 maps under RWMutexes took 54), and what is deleted
	// is freed (a million deleted left 84 MB in the tables of those maps).
	buckets sync.Map // of bucketID to *bucket
	len     atomic.Int64

	sweeping sync.Mutex   // one Sweep at a time
	swept    atomic.Int64 // its clock, where those of new buckets begin
}

type bucketID struct {
	keyID  string
	action uint8
	limit  Limit
}

// New returns a Limiter without buckets.
func New() *Limiter { return new(Limiter) }

// Allow judges one request by a limit of a key and an action, and counts it if
// it passes. With a hint, which may be nil, it looks the bucket up once.
func (l *Limiter) Allow(keyID string, action uint8, limit Limit, now time.Time, hint *Hint) Verdict {
	if limit.Window <= 0 && limit.N > 0 {
		return Verdict{Allowed: true, Remaining: limit.N}
	}
	if limit.N < 1 {
		return Verdict{RetryAfter: max(limit.Window, 1)}
	}
	limit.Window = min(limit.Window, eternity)
	at := l.instant(now)
	if b := hint.take(limit); b != nil {
		if v, ok := l.judge(b, at); ok {
			return v
		}
	}
	id := bucketID{keyID, action, limit}
	for {
		b := l.bucket(id)
		if v, ok := l.judge(b, at); ok {
			hint.keep(b)
			return v
		}
	}
}

// Hint is where the buckets of one key and one action were. Whoever remembers the
// key can remember it too: finding a bucket among many costs more than judging by
// it (see BenchmarkLimiter_hinted). It has room for two, as a site has that limits
// some of its paths more strictly. It is safe for concurrent use; the zero Hint
// knows nothing.
type Hint struct{ buckets [2]atomic.Pointer[bucket] }

func (h *Hint) take(limit Limit) *bucket {
	if h == nil {
		return nil
	}
	for i := range h.buckets {
		if b := h.buckets[i].Load(); b != nil && b.limit == limit {
			return b
		}
	}
	return nil
}

// keep remembers a bucket in place of its predecessor, or of the one that was
// remembered first.
func (h *Hint) keep(b *bucket) {
	if h == nil {
		return
	}
	if first := h.buckets[0].Load(); first != nil && first.limit != b.limit {
		h.buckets[1].Store(first)
	}
	h.buckets[0].Store(b)
}

// judge decides on one request unless a Sweep has released the bucket since it
// was looked up: what passes is then to be counted in its successor.
func (l *Limiter) judge(b *bucket, at instant) (v Verdict, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.released {
		return Verdict{}, false
	}
	if !b.begun { // maybe the successor of one that took its clock with it
		b.begun, b.clock = true, l.swept.Load()
	}
	return b.judge(at), true
}

func (l *Limiter) bucket(id bucketID) *bucket {
	if b, ok := l.buckets.Load(id); ok {
		return b.(*bucket)
	}
	l.len.Add(1) // before a Sweep can find the bucket
	b, loaded := l.buckets.LoadOrStore(id, &bucket{limit: id.limit})
	if loaded {
		l.len.Add(-1)
	}
	return b.(*bucket)
}

// Sweep releases the buckets in which nothing counts any more, and returns how
// many remain. The caller runs it from time to time; requests go on meanwhile.
func (l *Limiter) Sweep(now time.Time) int {
	at := l.instant(now)
	l.sweeping.Lock()
	defer l.sweeping.Unlock()
	// The successor of a released bucket must not begin before the instant at
	// which the passes were found to count no more, or a late request would be
	// judged without them.
	l.swept.Store(advance(l.swept.Load(), at))
	l.buckets.Range(func(id, value any) bool {
		b := value.(*bucket)
		b.mu.Lock()
		if b.idle(at) {
			// Deleted before the lock is given up, so that who finds the
			// bucket released also finds it gone.
			b.released, b.passes = true, ring{} // a Hint may know it for long
			l.buckets.Delete(id)
			l.len.Add(-1)
		}
		b.mu.Unlock()
		return true
	})
	return l.Len()
}

// Len returns the number of buckets in memory.
func (l *Limiter) Len() int { return int(l.len.Load()) }

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
