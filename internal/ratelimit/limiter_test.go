package ratelimit

import (
	"fmt"
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

// With the wall clock alone, a clock that is set back neither makes a client wait
// for it to catch up nor lets more requests pass.
func TestWallClockSetBack(t *testing.T) {
	l := New()
	limit := Limit{2, time.Minute}
	ahead := day.Add(5 * time.Hour)
	l.Allow(Count{"key", read, limit, nil}, day)
	l.Allow(Count{"key", read, limit, nil}, ahead)
	l.Allow(Count{"key", read, limit, nil}, ahead.Add(20*time.Second))
	back := day.Add(30 * time.Second)
	if got, want := l.Allow(Count{"key", read, limit, nil}, back).RetryAfter, 40*time.Second; got != want {
		t.Errorf("after the clock was set back: RetryAfter %v, want %v", got, want)
	}
	if !l.Allow(Count{"key", read, limit, nil}, back.Add(40*time.Second)).Allowed {
		t.Error("refused once its passes had left the window")
	}
	if l.Allow(Count{"key", read, limit, nil}, back.Add(59*time.Second)).Allowed {
		t.Error("passed with two in the window")
	}

	// A minute behind is a late request, which waits as usual; further behind is
	// not.
	l.Allow(Count{"late", read, Limit{1, time.Minute}, nil}, ahead)
	for _, c := range []struct{ behind, want time.Duration }{
		{time.Minute, 2 * time.Minute},
		{time.Minute + 1, time.Minute},
	} {
		if got := l.Allow(Count{"late", read, Limit{1, time.Minute}, nil}, ahead.Add(-c.behind)).RetryAfter; got != c.want {
			t.Errorf("%v behind: RetryAfter %v, want %v", c.behind, got, c.want)
		}
	}

	// A sweep before the clock is set back must not delay later requests.
	l.Sweep(day.Add(9 * time.Hour))
	if !l.Allow(Count{"new", read, Limit{1, time.Minute}, nil}, day).Allowed ||
		!l.Allow(Count{"new", read, Limit{1, time.Minute}, nil}, day.Add(time.Minute)).Allowed {
		t.Error("a new bucket waits for a clock that was set back")
	}
}

// A time with a monotonic reading is late, however far behind it is.
func TestMonotonicReadingIsNeverSetBack(t *testing.T) {
	l := New()
	limit := Limit{1, time.Minute}
	start := time.Now()
	l.Allow(Count{"key", read, limit, nil}, start.Add(5*time.Hour))
	if l.Allow(Count{"key", read, limit, nil}, start).Allowed {
		t.Error("a late request passed")
	}
	if l.Allow(Count{"key", read, limit, nil}, start.Add(time.Minute)).Allowed {
		t.Error("a late request set the clock back")
	}
	if !l.Allow(Count{"key", read, limit, nil}, start.Add(5*time.Hour+time.Minute)).Allowed {
		t.Error("refused a window later")
	}
}

// If one of two times has no monotonic reading, they are compared by the wall
// clock.
func TestMixedReadings(t *testing.T) {
	l := New()
	limit := Limit{1, time.Minute}
	start := time.Now()
	l.Allow(Count{"key", read, limit, nil}, start.Add(5*time.Hour))
	if got := l.Allow(Count{"key", read, limit, nil}, start.Round(0)).RetryAfter; got != time.Minute {
		t.Errorf("RetryAfter %v, want a minute", got)
	}
}

// Times and windows at the limits of their types do not get around a limit.
func TestFarOffTimes(t *testing.T) {
	l := New()
	limit := Limit{1, time.Minute}
	l.Allow(Count{"key", read, limit, nil}, day)
	if got := l.Allow(Count{"key", read, limit, nil}, time.Time{}); got.Allowed || got.RetryAfter != time.Minute {
		t.Errorf("at the zero time: %+v, want to wait a minute", got)
	}
	future := day.AddDate(1000, 0, 0)
	if !l.Allow(Count{"key", read, limit, nil}, future).Allowed || l.Allow(Count{"key", read, limit, nil}, future).Allowed {
		t.Error("in a thousand years: want one to pass")
	}
	if got := l.Allow(Count{"key", read, limit, nil}, day); got.Allowed || got.RetryAfter != time.Minute {
		t.Errorf("back again: %+v, want to wait a minute", got)
	}
}

func TestMonotonic(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		time time.Time
		want bool
	}{
		{now, true}, {now.Add(time.Hour), true},
		{now.Round(0), false}, {now.UTC(), false}, {day, false}, {time.Time{}, false},
	} {
		if got := monotonic(c.time); got != c.want {
			t.Errorf("monotonic(%v) = %v, want %v", c.time, got, c.want)
		}
	}
}

func TestSweep(t *testing.T) {
	l := New()
	l.Allow(Count{"short", read, Limit{1, time.Second}, nil}, day)
	l.Allow(Count{"long", read, Limit{1, time.Hour}, nil}, day)
	l.Allow(Count{"both", read, Limit{2, time.Hour}, nil}, day)
	l.Allow(Count{"both", read, Limit{2, time.Second}, nil}, day)
	for _, c := range []struct {
		at   time.Duration
		want int
	}{
		{0, 4},
		{time.Second - 1, 4},
		{time.Second, 2},
		{time.Hour - 1, 2},
		{time.Hour, 0},
	} {
		if got := l.Sweep(day.Add(c.at)); got != c.want || l.Len() != c.want {
			t.Errorf("at %v: %d buckets remain and Len is %d, want %d", c.at, got, l.Len(), c.want)
		}
	}
}

// A request that read its clock before a sweep released its bucket must not be
// judged without the passes that the sweep dropped.
func TestSweepThenLateRequest(t *testing.T) {
	l := New()
	limit := Limit{1, time.Minute}
	l.Allow(Count{"key", read, limit, nil}, day)
	if l.Sweep(day.Add(time.Minute)) != 0 {
		t.Fatal("the bucket was kept")
	}
	// It is judged at 60 s, although its time is 59 s.
	if !l.Allow(Count{"key", read, limit, nil}, day.Add(59*time.Second)).Allowed {
		t.Fatal("refused")
	}
	if l.Allow(Count{"key", read, limit, nil}, day.Add(2*time.Minute-1)).Allowed {
		t.Error("passed twice within a minute of the bucket's clock")
	}
}

// A ring grows with the number of passes, up to the largest N.
func TestRingGrowth(t *testing.T) {
	l := New()
	limit := Limit{1000, time.Minute}
	slots := func() int { return len(l.buckets.find(bucketID{"key", read, limit}).passes.slots) }
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

// A request may have looked up its bucket just before a sweep releases it. Counted
// there, it would be lost.
func TestReleasedBucketCountsNothing(t *testing.T) {
	l := New()
	limit := Limit{1, time.Minute}
	hint := new(Hint)
	l.Allow(Count{"key", read, limit, hint}, day)
	lookedUp := l.buckets.find(bucketID{"key", read, limit})
	later := day.Add(time.Minute)
	l.Sweep(later)
	if _, ok := l.judge(lookedUp, l.instant(later)); ok {
		t.Error("a released bucket judged a request")
	}
	if !l.Allow(Count{"key", read, limit, hint}, later).Allowed || l.Allow(Count{"key", read, limit, nil}, later).Allowed {
		t.Error("its successor does not count")
	}
	if got := hint.find(read, limit); got == lookedUp || got.released {
		t.Error("the hint is still at the released bucket")
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

// sweptKeys is how many keys sweepDuring requests with.
const sweptKeys = 4

// sweepDuring runs rounds, each a minute after the last, in which a limiter is swept while
// four goroutines ask four times for each key whether a request is allowed. check gets how
// many passed. In each round every pass of the round before has just left its windows of a
// minute, so the sweep releases the buckets while requests are being counted in them. A
// count lost with one would let one more request pass.
func sweepDuring(l *Limiter, rounds int, allow func(key int, now time.Time) bool, check func(round int, passed [sweptKeys]int64)) {
	for round := range rounds {
		now := day.Add(time.Duration(round) * time.Minute)
		var passed [sweptKeys]int64
		var wg sync.WaitGroup
		start := make(chan struct{})
		for range 4 {
			wg.Go(func() {
				<-start
				for i := range 4 * sweptKeys {
					if key := i % sweptKeys; allow(key, now) {
						atomic.AddInt64(&passed[key], 1)
					}
				}
			})
		}
		wg.Go(func() {
			<-start
			l.Sweep(now)
		})
		close(start)
		wg.Wait()
		check(round, passed)
	}
}

func TestSweep_duringRequests(t *testing.T) {
	l, limit := New(), Limit{3, time.Minute}
	hints := [sweptKeys]*Hint{new(Hint), new(Hint)} // the other two are looked up
	sweepDuring(l, 3000, func(key int, now time.Time) bool {
		return l.Allow(Count{string(rune('a' + key)), read, limit, hints[key]}, now).Allowed
	}, func(round int, passed [sweptKeys]int64) {
		if want := [sweptKeys]int64{3, 3, 3, 3}; passed != want {
			t.Fatalf("round %d: %d requests of the keys passed, want %d", round, passed, want)
		}
		if got := l.Len(); got != sweptKeys {
			t.Fatalf("round %d: Len %d, want %d", round, got, sweptKeys)
		}
	})
}

// checkWindows fails if any half-open window holds more than N of the passes:
// the pass N after another must be at least a window later.
func checkWindows(t interface{ Fatalf(string, ...any) }, passed []int64, limit Limit) {
	for i := limit.N; i < len(passed); i++ {
		if apart := time.Duration(passed[i] - passed[i-limit.N]); apart < limit.Window {
			t.Fatalf("%d passes lie %v apart: more than %d in %v", limit.N+1, apart, limit.N, limit.Window)
		}
	}
}

func TestSweepReturnsMemory(t *testing.T) {
	keys := 200_000
	if testing.Short() {
		keys = 10_000
	}
	ids := make([]string, keys)
	for i := range ids {
		ids[i] = fmt.Sprintf("key_01JD%018d", i)
	}
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // also frees what the finalizers of the first released
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	l := New()
	limit := Limit{60, time.Minute}
	before := heap()
	for _, id := range ids {
		l.Allow(Count{id, read, limit, nil}, day)
	}
	touched := heap()
	if got := l.Len(); got != keys {
		t.Errorf("Len %d, want %d", got, keys)
	}
	start := time.Now()
	if got := l.Sweep(day.Add(time.Minute)); got != 0 {
		t.Errorf("%d buckets remain", got)
	}
	swept := time.Since(start)
	after := heap()
	runtime.KeepAlive(l)
	runtime.KeepAlive(ids)
	t.Logf("%d keys: %d bytes each; after a sweep of %v, %d in all", keys, (touched-before)/int64(keys), swept, after-before)
	if after-before > (touched-before)/10 {
		t.Errorf("of %d bytes %d are still held", touched-before, after-before)
	}
}
