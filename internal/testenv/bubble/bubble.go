// Package bubble runs tests in bubbles of testing/synctest, in which time is virtual, one
// goroutine at a time.
//
// Go runs the timers of a bubble in one context of the race detector. With two threads or
// more, goroutines that look at expired timers at the same time share that context, and the
// race detector crashes (https://go.dev/issue/78156, open as of Go 1.26.8).
package bubble

import (
	"runtime"
	"testing"
	"testing/synctest"
)

// Test is [synctest.Test] with a single thread. No other test may run at the same time
// that needs more than one.
func Test(t *testing.T, f func(*testing.T)) {
	t.Helper()
	before := runtime.GOMAXPROCS(1)
	defer func() {
		if got := runtime.GOMAXPROCS(before); got != 1 {
			t.Errorf("GOMAXPROCS became %d while a bubble needed 1", got)
		}
	}()
	synctest.Test(t, f)
}

// Wait is [synctest.Wait].
func Wait() { synctest.Wait() }
