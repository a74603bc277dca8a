package caddymodule

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
)

// A gateway has a small live heap, and allocates much that lives for one request. With
// its default setting, Go's garbage collector would run all the time, because it runs
// whenever the heap has doubled. So there may be twice as much garbage as live heap that
// the collector has to look through, up to maxGarbage bytes. Badger's memtable, which has
// no pointers, is more than half of a small live heap. docs/benchmarks.md says what that
// costs and saves.
//
// The memory limit that Caddy takes from its container still applies, and GOGC and
// GOMEMLIMIT override all this.
//
// Work on the whole store allocates much more, and should use little memory next to
// that of requests: while it runs, the heap may grow by lessGarbage at most.
const (
	memtable     = 11_000_000
	maxGarbage   = 128 << 20
	lessGarbage  = 32 << 20
	mostPercent  = 200
	leastPercent = 100 // Go's default

	leastSparingPercent = 25
)

// collector sets the garbage collector's target for the whole process.
type collector struct {
	mu      sync.Mutex
	percent int
	sparing atomic.Int64 // how many callers of spare are running
}

var garbage collector

// tune adapts the setting to the current live heap. It is cheap enough to be called
// every second.
func (c *collector) tune() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	percent := gcPercent(live[0].Value.Uint64())
	if c.sparing.Load() > 0 {
		percent = min(percent, sparingPercent(live[0].Value.Uint64()))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if percent != c.percent {
		debug.SetGCPercent(percent)
		c.percent = percent
	}
}

// spare limits garbage further until the returned function is called.
func (c *collector) spare() (done func()) {
	c.sparing.Add(1)
	c.tune()
	return func() {
		c.sparing.Add(-1)
		c.tune()
	}
}

// gcPercent returns the setting for a live heap, in steps of 25: each change stops the
// world.
func gcPercent(live uint64) int {
	looked := live - min(live, memtable)
	percent := int(min(looked*2, maxGarbage) * 100 / max(live, 1))
	return max(percent/25*25, leastPercent)
}

// sparingPercent is gcPercent while long work runs. Most of its live heap is tables
// that are being written, which contain no pointers to follow.
func sparingPercent(live uint64) int {
	percent := int(min(lessGarbage*100/max(live, 1), mostPercent))
	return max(percent/25*25, leastSparingPercent)
}
