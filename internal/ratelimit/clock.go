package ratelimit

import "time"

// eternity, about 36 years, bounds instants and windows, so that their sums and
// differences fit an int64.
const eternity = 1 << 60

// maxLate is by how much a time without a monotonic reading may be behind a
// clock and still be a late request rather than a wall clock set back.
const maxLate = time.Minute

// instant is a time in nanoseconds since the epoch of its Limiter.
type instant struct {
	ns int64

	// wall is set if ns is by the wall clock, which may be set back, and not by
	// the monotonic one.
	wall bool
}

// monotonic reports whether a time has a monotonic reading, which is what
// Round(0) strips and == compares.
func monotonic(t time.Time) bool { return t != t.Round(0) }

// advance returns what a clock shows after an instant is seen: the later of the
// two, unless the wall clock was set back.
func advance(clock int64, at instant) int64 {
	if at.wall && clock-at.ns > int64(maxLate) {
		return at.ns
	}
	return max(clock, at.ns)
}
