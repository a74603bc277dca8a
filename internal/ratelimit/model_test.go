package ratelimit

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A model is a plain limiter: per bucket, the times of all passes, counted one by
// one.
type model struct {
	wall    bool
	buckets map[bucketID]*modelBucket
	swept   int64
}

type modelBucket struct {
	limit  Limit
	clock  int64
	passed []int64
}

func (m *model) tick(clock, at int64) int64 {
	if m.wall && at < clock-int64(time.Minute) {
		return at
	}
	return max(clock, at)
}

// tell advances a bucket's clock, and drops the passes that no longer count.
func (m *model) tell(b *modelBucket, at int64) {
	clock := m.tick(b.clock, at)
	if clock < b.clock {
		for i := range b.passed {
			b.passed[i] -= b.clock - clock
		}
	}
	b.clock = clock
	b.passed = slices.DeleteFunc(b.passed, func(p int64) bool { return p <= clock-int64(b.limit.Window) })
}

// count returns how many passes are in the window that ends at a time.
func (b *modelBucket) count(at int64) int {
	n := 0
	for _, p := range b.passed {
		if p > at-int64(b.limit.Window) {
			n++
		}
	}
	return n
}

// until returns how long after a time fewer than n passes are in the window.
func (b *modelBucket) until(n int, at int64) time.Duration {
	for _, p := range b.passed {
		if out := p + int64(b.limit.Window); out > b.clock && b.count(out) < n {
			return time.Duration(out - at)
		}
	}
	return 0
}

// allow judges one request by all of the limits. It counts in all of them or in none.
func (m *model) allow(at int64, ids ...bucketID) []Verdict {
	var buckets []*modelBucket
	var full []bool
	for _, id := range ids {
		b := m.buckets[id]
		if b == nil {
			b = &modelBucket{limit: id.limit, clock: m.swept}
			m.buckets[id] = b
		}
		m.tell(b, at)
		buckets, full = append(buckets, b), append(full, b.count(b.clock) >= b.limit.N)
	}
	var verdicts []Verdict
	for i, b := range buckets {
		v := Verdict{Allowed: !full[i]}
		if full[i] {
			v.RetryAfter = b.until(b.limit.N, at)
		}
		if !slices.Contains(full, true) {
			b.passed = append(b.passed, b.clock)
		}
		used := b.count(b.clock)
		v.Remaining = b.limit.N - used
		if used > 0 {
			v.Reset = b.until(used, at)
		}
		verdicts = append(verdicts, v)
	}
	return verdicts
}

func (m *model) sweep(at int64) int {
	m.swept = m.tick(m.swept, at)
	for id, b := range m.buckets {
		if m.tell(b, at); len(b.passed) == 0 {
			m.swept = max(m.swept, b.clock)
			delete(m.buckets, id)
		}
	}
	return len(m.buckets)
}

func TestLimiterIsItsModel(t *testing.T) {
	t.Run("wall clock", func(t *testing.T) { testModel(t, day) })
	t.Run("monotonic clock", func(t *testing.T) { testModel(t, time.Now()) })
}

func testModel(t *testing.T, epoch time.Time) {
	rapid.Check(t, func(t *rapid.T) {
		l := New()
		m := &model{wall: !monotonic(epoch), buckets: map[bucketID]*modelBucket{}}
		l.Sweep(epoch) // so that both count from the same time

		// Limits are few and windows short, so that schedules often hit the edges
		// of windows.
		limits := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Limit {
			return Limit{rapid.IntRange(1, 12).Draw(t, "N"), time.Duration(rapid.IntRange(1, 30).Draw(t, "Window"))}
		}), 1, 4).Draw(t, "limits")
		type user struct {
			keyID  string
			action uint8
		}
		users := []user{{"a", read}, {"a", write}, {"b", read}}
		ofA := new(Hint)
		hints := map[user]*Hint{{"a", read}: ofA, {"a", write}: ofA}
		all, allHint := "a and b", new(Hint)

		var now int64
		check := func(t *rapid.T, at int64, got []Verdict, ids ...bucketID) {
			if want := m.allow(at, ids...); !slices.Equal(got, want) {
				t.Fatalf("%v at %d: %+v, want %+v", ids, at, got, want)
			}
			for _, v := range got {
				if v.Allowed == (v.RetryAfter > 0) {
					t.Fatalf("RetryAfter of %+v", v)
				}
			}
		}
		request := func(t *rapid.T, u user, limit Limit, at int64) {
			got := l.Allow(Count{u.keyID, u.action, limit, hints[u]}, epoch.Add(time.Duration(at)))
			check(t, at, []Verdict{got}, bucketID{u.keyID, u.action, limit})
		}
		requestOfBoth := func(t *rapid.T, u user, limit, shared Limit, at int64) {
			own, all := Count{u.keyID, u.action, limit, hints[u]}, Count{all, together, shared, allHint}
			v, w := l.AllowBoth(own, all, epoch.Add(time.Duration(at)))
			check(t, at, []Verdict{v, w}, bucketID{own.Subject, own.Action, limit}, bucketID{all.Subject, together, shared})
		}
		t.Repeat(map[string]func(*rapid.T){
			"requests": func(t *rapid.T) {
				u := rapid.SampledFrom(users).Draw(t, "user")
				limit := rapid.SampledFrom(limits).Draw(t, "limit")
				for range rapid.IntRange(1, 15).Draw(t, "burst") {
					request(t, u, limit, now)
				}
			},
			"requests by two limits": func(t *rapid.T) {
				limit, shared := rapid.SampledFrom(limits).Draw(t, "limit"), rapid.SampledFrom(limits).Draw(t, "shared limit")
				late := rapid.Int64Range(0, 5).Draw(t, "late")
				for range rapid.IntRange(1, 15).Draw(t, "burst") {
					requestOfBoth(t, rapid.SampledFrom(users).Draw(t, "user"), limit, shared, now-late)
				}
			},
			"late request": func(t *rapid.T) {
				u := rapid.SampledFrom(users).Draw(t, "user")
				limit := rapid.SampledFrom(limits).Draw(t, "limit")
				request(t, u, limit, now-rapid.Int64Range(1, 40).Draw(t, "late"))
			},
			"a new hint": func(t *rapid.T) {
				hints[users[0]], allHint = new(Hint), new(Hint)
			},
			"a moment": func(t *rapid.T) {
				now += rapid.Int64Range(1, 5).Draw(t, "moment")
			},
			"a window": func(t *rapid.T) {
				window := rapid.SampledFrom(limits).Draw(t, "limit").Window
				now += int64(window) + rapid.Int64Range(-1, 1).Draw(t, "off")
			},
			"clock set back": func(t *rapid.T) {
				now -= int64(time.Minute) + rapid.Int64Range(-2, 40).Draw(t, "back")
			},
			"clock set forward": func(t *rapid.T) {
				now += int64(time.Minute) + rapid.Int64Range(-40, 40).Draw(t, "forward")
			},
			"sweep": func(t *rapid.T) {
				late := rapid.Int64Range(0, 5).Draw(t, "late")
				if got, want := l.Sweep(epoch.Add(time.Duration(now-late))), m.sweep(now-late); got != want {
					t.Fatalf("%d buckets remain, want %d", got, want)
				}
			},
			"": func(t *rapid.T) {
				if got := l.Len(); got != len(m.buckets) {
					t.Fatalf("Len %d, want %d", got, len(m.buckets))
				}
			},
		})
	})
}

// A ring is a slice that can be cut off at the front.
func TestRing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r ring
		var want []int64
		limit := rapid.IntRange(1, 40).Draw(t, "limit")
		for i, dropped := range rapid.SliceOf(rapid.IntRange(-8, 3)).Draw(t, "dropped") {
			dropped = min(max(dropped, len(want)+1-limit, 0), len(want)) // mostly as few as possible
			r.drop(dropped)
			r.push(int64(i), limit)
			want = append(want[dropped:], int64(i))

			var got []int64
			for i := range r.count() {
				got = append(got, r.at(i))
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%v, want %v", got, want)
			}
		}
	})
}

// The package's promises, without a model: with one limit and times in order, no
// window holds more than N, a request is refused only if the window before it holds
// N, and RetryAfter and Reset come true.
func TestPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := Limit{rapid.IntRange(1, 8).Draw(t, "N"), time.Duration(rapid.IntRange(1, 20).Draw(t, "Window"))}
		gaps := rapid.SliceOfN(rapid.Int64Range(0, 22), 1, 100).Draw(t, "gaps")
		at := func(n int64) time.Time { return day.Add(time.Duration(n)) }

		// try returns the verdict on a request after some passes.
		try := func(passed []int64, now int64) Verdict {
			l := New()
			for _, p := range passed {
				l.Allow(Count{"key", read, limit, nil}, at(p))
			}
			return l.Allow(Count{"key", read, limit, nil}, at(now))
		}

		l := New()
		var passed []int64
		var now int64
		for _, gap := range gaps {
			now += gap
			v := l.Allow(Count{"key", read, limit, nil}, at(now))
			if v.Allowed {
				passed = append(passed, now)
			} else {
				if n := len(passed); n < limit.N || now-passed[n-limit.N] >= int64(limit.Window) {
					t.Fatalf("refused at %d, within the limit", now)
				}
				wait := int64(v.RetryAfter)
				if !try(passed, now+wait).Allowed || try(passed, now+wait-1).Allowed {
					t.Fatalf("RetryAfter %d at %d is not when one would pass", wait, now)
				}
			}
			reset := int64(v.Reset)
			if got := remaining(try(passed, now+reset)); got <= v.Remaining {
				t.Fatalf("%d remain at Reset, and %d before", got, v.Remaining)
			}
			if got := remaining(try(passed, now+reset-1)); got > v.Remaining {
				t.Fatalf("%d remain before Reset, and %d now", got, v.Remaining)
			}
		}
		checkWindows(t, passed, limit)
	})
}

// remaining is how many requests would have passed before the one of a verdict.
func remaining(v Verdict) int {
	if v.Allowed {
		return v.Remaining + 1
	}
	return 0
}
