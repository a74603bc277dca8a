package ratelimit

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"
)

func benchIDs(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("key_01JD%018d", i)
	}
	return ids
}

// BenchmarkLimiter measures one decision, its look-up included: on one hot key,
// on 10,000 keys and on a million, from all processors. Time passes at a
// microsecond a request, so that the first limit refuses nearly all on the hot
// key and the second none.
func BenchmarkLimiter(b *testing.B) {
	for _, keys := range []int{1, 10_000, 1_000_000} {
		ids := benchIDs(keys)
		for _, limit := range []Limit{{60, time.Minute}, {10_000, time.Millisecond}} {
			b.Run(fmt.Sprintf("keys=%d/limit=%d in %v", keys, limit.N, limit.Window), func(b *testing.B) {
				l := New()
				start := time.Now()
				for _, id := range ids {
					l.Allow(Count{id, read, limit, nil}, start)
				}
				b.ReportAllocs()
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					now := start
					random := rand.Uint32()
					for pb.Next() {
						random = random*1664525 + 1013904223
						now = now.Add(time.Microsecond)
						l.Allow(Count{ids[int(random>>8)%keys], read, limit, nil}, now)
					}
				})
			})
		}
	}
}

// BenchmarkLimiter_hinted measures a decision for a caller with a hint.
func BenchmarkLimiter_hinted(b *testing.B) {
	for _, keys := range []int{1, 10_000, 1_000_000} {
		ids := benchIDs(keys)
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			l, limit, start := New(), Limit{10_000, time.Millisecond}, time.Now()
			hints := make([]Hint, keys)
			for i, id := range ids {
				l.Allow(Count{id, read, limit, &hints[i]}, start)
			}
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				now := start
				random := rand.Uint32()
				for pb.Next() {
					random = random*1664525 + 1013904223
					now = now.Add(time.Microsecond)
					i := int(random>>8) % keys
					l.Allow(Count{ids[i], read, limit, &hints[i]}, now)
				}
			})
		})
	}
}

// BenchmarkLimiter_twoLimits measures a decision for a key that is used at two
// paths with different limits.
func BenchmarkLimiter_twoLimits(b *testing.B) {
	l, start := New(), time.Now()
	limits := [2]Limit{{10_000, time.Millisecond}, {1000, time.Millisecond}}
	hint := new(Hint)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		now := start
		for i := 0; pb.Next(); i++ {
			now = now.Add(time.Microsecond)
			l.Allow(Count{"key", read, limits[i%2], hint}, now)
		}
	})
}

// BenchmarkLimiter_both measures a decision by a limit of a key and one of its workspace,
// whose keys are used at once.
func BenchmarkLimiter_both(b *testing.B) {
	l, start := New(), time.Now()
	limit := Limit{10_000, time.Millisecond}
	var keys atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		own := Count{fmt.Sprint("key ", keys.Add(1)), read, limit, new(Hint)}
		all := Count{"workspace", together, limit, new(Hint)}
		now := start
		for pb.Next() {
			now = now.Add(time.Microsecond)
			l.AllowBoth(own, all, now)
		}
	})
}

// BenchmarkTokenBucket measures the decision alone, without a look-up, of
// golang.org/x/time/rate and of this package: the cost of being exact.
func BenchmarkTokenBucket(b *testing.B) {
	for _, limit := range []Limit{{60, time.Minute}, {10_000, time.Millisecond}} {
		name := fmt.Sprintf("limit=%d in %v", limit.N, limit.Window)
		b.Run("rate/"+name, func(b *testing.B) {
			r := rate.NewLimiter(rate.Every(limit.Window/time.Duration(limit.N)), limit.N)
			start := time.Now()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				now := start
				for pb.Next() {
					now = now.Add(time.Microsecond)
					r.AllowN(now, 1)
				}
			})
		})
		b.Run("ours/"+name, func(b *testing.B) {
			l := New()
			start := time.Now()
			bucket := l.buckets.find(bucketID{"key", read, limit})
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				now := start
				for pb.Next() {
					now = now.Add(time.Microsecond)
					at := l.instant(now)
					bucket.mu.Lock()
					bucket.judge(at)
					bucket.mu.Unlock()
				}
			})
		})
	}
}

// BenchmarkBucketMemory reports the memory of a bucket after one request, and after
// N.
func BenchmarkBucketMemory(b *testing.B) {
	const keys = 100_000
	ids := benchIDs(keys)
	limit := Limit{60, time.Minute}
	for _, requests := range []int{1, limit.N} {
		b.Run(fmt.Sprintf("requests=%d of %d", requests, limit.N), func(b *testing.B) {
			var bytes uint64
			for b.Loop() {
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				l := New()
				for _, id := range ids {
					for range requests {
						l.Allow(Count{id, read, limit, nil}, day)
					}
				}
				runtime.GC()
				runtime.ReadMemStats(&after)
				bytes += after.HeapAlloc - before.HeapAlloc
				runtime.KeepAlive(l)
			}
			b.ReportMetric(float64(bytes)/float64(b.N)/keys, "B/bucket")
		})
	}
}
