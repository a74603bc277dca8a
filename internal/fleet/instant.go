package fleet

import "time"

// instant is a point in time by both clocks of a machine, neither of which is enough: the
// wall clock can be set, and the monotonic clock stops while the machine is suspended.
type instant struct {
	wall time.Time     // without a monotonic reading
	ran  time.Duration // by the monotonic clock, since this process began
}

var began = time.Now()

// thisInstant reads the clocks.
func thisInstant() instant {
	now := time.Now()
	return instant{now.Round(0), now.Sub(began)}
}

// add returns the instant that is later by d, by both clocks.
func (i instant) add(d time.Duration) instant { return instant{i.wall.Add(d), i.ran + d} }

// since returns how much time has passed since an earlier instant, by the clock that says
// more.
func (i instant) since(earlier instant) time.Duration {
	return max(i.ran-earlier.ran, i.wall.Sub(earlier.wall))
}
