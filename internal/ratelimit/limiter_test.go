package ratelimit

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// day is when the tests take place, without a monotonic reading.
var day = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const read, write, together uint8 = 0, 1, 2

func TestAllow(t *testing.T) {
	const s = time.Second
	threePerMinute := Limit{3, time.Minute}
	passes := func(remaining int, reset time.Duration) Verdict {
		return Verdict{Allowed: true, Remaining: remaining, Reset: reset}
	}
	refused := func(wait time.Duration) Verdict {
		return Verdict{RetryAfter: wait, Reset: wait}
	}
	type request struct {
		at    time.Duration
		limit Limit
		want  Verdict
	}
	tests := map[string][]request{
		"N at once, and no more": {
			{0, threePerMinute, passes(2, 60*s)},
			{0, threePerMinute, passes(1, 60*s)},
			{0, threePerMinute, passes(0, 60*s)},
			{0, threePerMinute, refused(60 * s)},
		},
		"a pass counts until exactly Window later": {
			{0, Limit{1, 60 * s}, passes(0, 60*s)},
			{60*s - 1, Limit{1, 60 * s}, refused(1)},
			{60 * s, Limit{1, 60 * s}, passes(0, 60*s)},
		},
		"a pass for each that leaves the window, not a full refill": {
			{0, threePerMinute, passes(2, 60*s)},
			{20 * s, threePerMinute, passes(1, 40*s)},
			{40 * s, threePerMinute, passes(0, 20*s)},
			{50 * s, threePerMinute, refused(10 * s)},
			{60 * s, threePerMinute, passes(0, 20*s)},
			{60 * s, threePerMinute, refused(20 * s)},
		},
		"no burst around the full minute": {
			{59 * s, threePerMinute, passes(2, 60*s)},
			{59 * s, threePerMinute, passes(1, 60*s)},
			{59 * s, threePerMinute, passes(0, 60*s)},
			{61 * s, threePerMinute, refused(58 * s)},
		},
		"a client at the limit's own pace is never refused": {
			{0 * s, threePerMinute, passes(2, 60*s)},
			{20 * s, threePerMinute, passes(1, 40*s)},
			{40 * s, threePerMinute, passes(0, 20*s)},
			{60 * s, threePerMinute, passes(0, 20*s)},
			{80 * s, threePerMinute, passes(0, 20*s)},
			{100 * s, threePerMinute, passes(0, 20*s)},
		},
		"a refused request uses nothing up": {
			{0, Limit{1, 60 * s}, passes(0, 60*s)},
			{30 * s, Limit{1, 60 * s}, refused(30 * s)},
			{59 * s, Limit{1, 60 * s}, refused(1 * s)},
			{60 * s, Limit{1, 60 * s}, passes(0, 60*s)},
		},
		"each limit has a count of its own": {
			{0, threePerMinute, passes(2, 60*s)},
			{0, threePerMinute, passes(1, 60*s)},
			{10 * s, Limit{1, 60 * s}, passes(0, 60*s)},
			{10 * s, Limit{3, 30 * s}, passes(2, 30*s)},
			{10 * s, threePerMinute, passes(0, 50*s)},
			{10 * s, threePerMinute, refused(50 * s)},
			{10 * s, Limit{1, 60 * s}, refused(60 * s)},
			{10 * s, Limit{3, 30 * s}, passes(1, 30*s)},
		},
		"the same limit, written otherwise, has the same count": {
			{0, Limit{1, 60 * s}, passes(0, 60*s)},
			{0, Limit{1, time.Minute}, refused(60 * s)},
		},
		"a late request is judged at the latest time seen": {
			{0, Limit{2, 60 * s}, passes(1, 60*s)},
			{30 * s, Limit{2, 60 * s}, passes(0, 30*s)},
			{29 * s, Limit{2, 60 * s}, refused(31 * s)},
			{60 * s, Limit{2, 60 * s}, passes(0, 30*s)},
			{59 * s, Limit{2, 60 * s}, refused(31 * s)}, // though at 59 s just one had passed since 0 s
		},
		"a refused request moves the time too": {
			{0, Limit{2, 60 * s}, passes(1, 60*s)},
			{30 * s, Limit{2, 60 * s}, passes(0, 30*s)},
			{60*s - 1, Limit{2, 60 * s}, refused(1)},
			{59 * s, Limit{2, 60 * s}, refused(1 * s)},
			{60 * s, Limit{2, 60 * s}, passes(0, 30*s)},
			{59 * s, Limit{2, 60 * s}, refused(31 * s)},
		},
		"N below 1 passes nothing": {
			{0, Limit{0, 60 * s}, Verdict{RetryAfter: 60 * s}},
			{0, Limit{-1, 60 * s}, Verdict{RetryAfter: 60 * s}},
			{0, Limit{}, Verdict{RetryAfter: 1}},
		},
		"no window holds no request": {
			{0, Limit{1, 0}, passes(1, 0)},
			{0, Limit{1, 0}, passes(1, 0)},
		},
		"the longest window": {
			{0, Limit{1, 1<<63 - 1}, passes(0, 1<<60)},
			{time.Hour, Limit{1, 1<<63 - 1}, refused(1<<60 - time.Hour)},
		},
	}
	for name, requests := range tests {
		t.Run(name, func(t *testing.T) {
			l := New()
			for i, r := range requests {
				if got := l.Allow(Count{"key", read, r.limit, nil}, day.Add(r.at)); got != r.want {
					t.Fatalf("request %d, at %v: %+v, want %+v", i, r.at, got, r.want)
				}
			}
		})
	}
}

func TestBucketsAreSeparate(t *testing.T) {
	l := New()
	once := Limit{1, time.Minute}
	buckets := []bucketID{
		{"a", read, once}, {"a", write, once}, {"b", read, once}, {"", read, once},
		{"a", read, Limit{1, time.Hour}}, {"a", read, Limit{2, time.Minute}},
	}
	for _, b := range buckets {
		for i := range b.limit.N {
			if !l.Allow(Count{b.subject, b.action, b.limit, nil}, day).Allowed {
				t.Errorf("%v: request %d is refused for what another passed", b, i)
			}
		}
		if l.Allow(Count{b.subject, b.action, b.limit, nil}, day).Allowed {
			t.Errorf("%v passes more than its limit", b)
		}
	}
	if got := l.Len(); got != len(buckets) {
		t.Errorf("Len %d, want %d", got, len(buckets))
	}
}

// A ring grows with the number of passes, up to the largest N.
func TestRingGrowth(t *testing.T) {
	l := New()
	limit := Limit{1000, time.Minute}
	slots := func() int { return len(l.buckets.find(bucketID{"key", read, limit}).passes.slots()) }
	for i := range 10_000 { // one in 20 s: three are in the window
		l.Allow(Count{"key", read, limit, nil}, day.Add(time.Duration(i)*20*time.Second))
	}
	if got := slots(); got != 4 {
		t.Errorf("a slow key takes %d slots, want 4", got)
	}
	later := day.Add(1000 * time.Hour)
	for range 5000 {
		l.Allow(Count{"key", read, limit, nil}, later)
	}
	if got := slots(); got != 1000 {
		t.Errorf("a busy key takes %d slots, want 1000", got)
	}
}

func TestAllowDoesNotAllocate(t *testing.T) {
	l := New()
	limit := Limit{60, time.Minute}
	id := string([]byte("key_01JD"))
	now := time.Now()
	for range 60 {
		l.Allow(Count{id, read, limit, nil}, now)
	}
	if n := testing.AllocsPerRun(1000, func() {
		now = now.Add(700 * time.Millisecond)
		l.Allow(Count{id, read, limit, nil}, now)
	}); n != 0 {
		t.Errorf("%v allocations a request", n)
	}
}

func TestConcurrentAtOneInstant(t *testing.T) {
	l := New()
	limit := Limit{1000, time.Minute}
	var passed atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				if l.Allow(Count{"key", read, limit, nil}, day).Allowed {
					passed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if got := passed.Load(); got != 1000 {
		t.Errorf("%d passed, want 1000", got)
	}
}

// Requests may reach the bucket in a different order than they read the clock, so
// the windows are checked by the bucket's own clock at each pass.
func TestConcurrentAsTimeAdvances(t *testing.T) {
	limit := Limit{100, 1000}
	l := New()
	b := l.buckets.find(bucketID{"key", read, limit})
	var ticks atomic.Int64
	var passed []int64 // guarded by the bucket's lock
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5000 {
				at := l.instant(day.Add(time.Duration(ticks.Add(1))))
				runtime.Gosched()
				b.mu.Lock()
				if b.judge(at).Allowed {
					passed = append(passed, b.clock)
				}
				b.mu.Unlock()
			}
		})
	}
	wg.Wait()
	checkWindows(t, passed, limit)
	// 40 windows have passed; a few requests are lost where the clock skips an
	// instant.
	if got := len(passed); got < 3900 {
		t.Errorf("%d passed, want about 4000", got)
	}
}

// A hint caches the buckets of four actions and limits, and never confuses them.
func TestHint(t *testing.T) {
	l, hint := New(), new(Hint)
	three, five, hourly := Limit{3, time.Minute}, Limit{5, time.Minute}, Limit{3, time.Hour}
	ids := []bucketID{{"key", read, three}, {"key", read, five}, {"key", write, three}, {"all", together, three}, {"key", read, hourly}}
	for round := range 7 {
		for _, id := range ids {
			if got, want := l.Allow(Count{id.subject, id.action, id.limit, hint}, day).Allowed, round < id.limit.N; got != want {
				t.Errorf("round %d: %v passes: %t, want %t", round, id, got, want)
			}
			if got := hint.find(id.action, id.limit); got != l.buckets.find(id) {
				t.Errorf("round %d: the hint of %v is at %p", round, id, got)
			}
		}
		for _, id := range ids[1:] {
			if hint.find(id.action, id.limit) == nil {
				t.Errorf("round %d: the hint has forgotten %v", round, id)
			}
		}
	}
}

// A hint has the successor of a released bucket in its place.
func TestHint_successor(t *testing.T) {
	l, hint, limit := New(), new(Hint), Limit{1, time.Minute}
	for round := range 3 {
		now := day.Add(time.Duration(round) * time.Minute)
		l.Sweep(now)
		for action := range uint8(4) {
			if !l.Allow(Count{"key", action, limit, hint}, now).Allowed {
				t.Errorf("round %d: action %d is refused", round, action)
			}
		}
		for action := range uint8(4) {
			if b := hint.find(action, limit); b == nil || b.released {
				t.Errorf("round %d: the hint has no bucket of action %d", round, action)
			}
		}
	}
}
