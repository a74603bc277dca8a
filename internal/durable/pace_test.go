package durable

import (
	"testing"
	"time"
)

// Work pauses for half as long as it takes, and waiting for the disk is a pause too.
func TestPauseAfter(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct{ elapsed, waited, want time.Duration }{
		{6 * ms, 0, 3 * ms},
		{60 * ms, 0, maxPause},
		{8 * ms, 2 * ms, ms},
		{9 * ms, 3 * ms, 0},
		{60 * ms, 50 * ms, 0},
		{60 * ms, 4 * ms, maxPause - 4*ms},
	} {
		if got := pauseAfter(test.elapsed, test.waited); got != test.want {
			t.Errorf("after %v, of which %v waiting: got a pause of %v, want %v", test.elapsed, test.waited, got, test.want)
		}
	}
}
