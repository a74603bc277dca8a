package ratelimit

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The package's promises for a limit of each key and one of all keys together: no window
// of either has more than N passes, and a request is refused only if one of them is full.
func TestPromises_both(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) Limit {
			return Limit{rapid.IntRange(1, 8).Draw(t, "N "+name), time.Duration(rapid.IntRange(1, 20).Draw(t, "Window "+name))}
		}
		own, all := draw("of a key"), draw("of all")
		l, passed, together := New(), map[string][]int64{}, []int64(nil)
		full := func(passed []int64, limit Limit, now int64) bool {
			n := len(passed)
			return n >= limit.N && now-passed[n-limit.N] < int64(limit.Window)
		}
		var now int64
		for _, key := range rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c"}), 1, 100).Draw(t, "keys") {
			now += rapid.Int64Range(0, 7).Draw(t, "gap")
			v, w := both(l, key, own, all, day.Add(time.Duration(now)))
			if got, want := v.Allowed, !full(passed[key], own, now); got != want {
				t.Fatalf("key %s at %d: allowed %v by its own limit, want %v", key, now, got, want)
			}
			if got, want := w.Allowed, !full(together, all, now); got != want {
				t.Fatalf("key %s at %d: allowed %v by the limit of all, want %v", key, now, got, want)
			}
			if v.Allowed && w.Allowed {
				passed[key], together = append(passed[key], now), append(together, now)
			}
		}
		checkWindows(t, together, all)
		for _, p := range passed {
			checkWindows(t, p, own)
		}
	})
}

func both(l *Limiter, key string, own, all Limit, now time.Time) (Verdict, Verdict) {
	return l.AllowBoth(Count{key, read, own, nil}, Count{"all", together, all, nil}, now)
}

func TestSweep_duringRequestsByTwoLimits(t *testing.T) {
	l, own, all := New(), Limit{3, time.Minute}, Limit{10, time.Minute}
	sweepDuring(l, 1000, func(key int, now time.Time) bool {
		v, w := both(l, string(rune('a'+key)), own, all, now)
		return v.Allowed && w.Allowed
	}, func(round int, passed [sweptKeys]int64) {
		sum := int64(0)
		for key, got := range passed {
			if got > 3 {
				t.Fatalf("round %d: %d requests of key %d passed, want at most 3", round, got, key)
			}
			sum += got
		}
		if sum != 10 {
			t.Fatalf("round %d: %d requests passed, want 10", round, sum)
		}
	})
}

// A request that the other limit refused has set the clock of a bucket in which nothing
// counts. A sweep that is late releases it, and its successor continues with that clock.
func TestSweep_afterARefusal(t *testing.T) {
	l, own, all := New(), Limit{1, 10 * time.Second}, Limit{2, time.Minute}
	at := func(ms int64) time.Time { return day.Add(time.Duration(ms) * time.Millisecond) }
	both(l, "a", own, all, at(0))
	both(l, "b", own, all, at(5000))
	if v, w := both(l, "a", own, all, at(10_001)); !v.Allowed || w.Allowed {
		t.Fatalf("got %v by its own limit and %v by that of all, want true and false", v.Allowed, w.Allowed)
	}
	l.Sweep(at(9990))
	a := Count{"a", read, own, nil}
	if !l.Allow(a, at(9995)).Allowed {
		t.Error("got a late request refused, want it to count at 10.001 s")
	}
	if l.Allow(a, at(19_996)).Allowed {
		t.Error("got two passes within 9.995 s, want one in 10 s")
	}
}
