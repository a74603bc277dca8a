package caddymodule

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
)

// A gateway keeps little, and makes much that lives for one request. Go's
// collector, which runs whenever the garbage has become as much as what is kept,
// would run all the time. So it may become four times as much, as long as it
// takes no more than maxGarbage bytes. What that spares is in docs/benchmarks.md.
//
// The memory limit that Caddy takes from its container holds all the same, and
// operators who set GOGC or GOMEMLIMIT have decided for themselves.
//
// Work that takes as long as the store is large makes garbage of its own, and is to
// take little memory beside what requests have: while it is done, there is less.
const (
	maxGarbage   = 128 << 20
	lessGarbage  = 32 << 20
	mostPercent  = 400
	leastPercent = 100 // Go's default

	leastSparingPercent = 25
)

// collector is the garbage collector's setting, which is the whole process's.
type collector struct {
	mu      sync.Mutex
	percent int
	sparing atomic.Int64 // how many want less garbage
}

var garbage collector

// tune adapts the setting to what is kept now. It is cheap enough to be called
// every second.
func (c *collector) tune() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	percent := gcPercent(live[0].Value.Uint64())
	if c.sparing.Load() > 0 {
		percent = sparingPercent(live[0].Value.Uint64())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if percent != c.percent {
		debug.SetGCPercent(percent)
		c.percent = percent
	}
}

// spare has less garbage be kept until the returned function is called.
func (c *collector) spare() (done func()) {
	c.sparing.Add(1)
	c.tune()
	return func() {
		c.sparing.Add(-1)
		c.tune()
	}
}

// gcPercent returns the setting for so many bytes that are kept, in steps of
// 50: each change of it stops the world.
func gcPercent(live uint64) int {
	percent := int(min(maxGarbage*100/max(live, 1), mostPercent))
	return max(percent/50*50, leastPercent)
}

// sparingPercent is gcPercent while long work is done. Most of what that keeps is
// tables that are being written, in which the collector has nothing to look for.
func sparingPercent(live uint64) int {
	percent := int(min(lessGarbage*100/max(live, 1), mostPercent))
	return max(percent/25*25, leastSparingPercent)
}
