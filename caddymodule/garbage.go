package caddymodule

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// A gateway keeps little, and makes much that lives for one request. Go's
// collector, which runs whenever the garbage has become as much as what is kept,
// would run all the time. So it may become four times as much, as long as it
// takes no more than maxGarbage bytes. What that spares is in docs/benchmarks.md.
//
// The memory limit that Caddy takes from its container holds all the same, and
// operators who set GOGC or GOMEMLIMIT have decided for themselves.
const (
	maxGarbage   = 128 << 20
	mostPercent  = 400
	leastPercent = 100 // Go's default
)

// collector is the garbage collector's setting, which is the whole process's.
type collector struct {
	mu      sync.Mutex
	percent int
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
	c.mu.Lock()
	defer c.mu.Unlock()
	if percent != c.percent {
		debug.SetGCPercent(percent)
		c.percent = percent
	}
}

// gcPercent returns the setting for so many bytes that are kept, in steps of
// 50: each change of it stops the world.
func gcPercent(live uint64) int {
	percent := int(min(maxGarbage*100/max(live, 1), mostPercent))
	return max(percent/50*50, leastPercent)
}
