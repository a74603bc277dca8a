package ratelimit

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

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
