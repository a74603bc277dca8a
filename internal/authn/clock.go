package authn

import "time"

// Clock tells a time that does not go back: not while it runs, whatever is done
// to the machine's clock, and not to before the mark that it is begun with,
// which is what the last run had come to. So a key that has expired stays
// expired.
//
// A clock that is set forward is believed for as long as it is so, and not
// remembered: once it is set right, keys that it had made expire are as they
// were. Only time that has really passed counts for the mark.
type Clock struct {
	read  func() (wall time.Time, elapsed time.Duration)
	floor time.Time // of the wall at the beginning, and the mark
}

// NewClock begins a clock at the machine's time, or at mark if that is later.
func NewClock(mark time.Time) *Clock {
	start := time.Now()
	return newClock(mark, func() (time.Time, time.Duration) {
		now := time.Now()
		return now, now.Sub(start) // by the monotonic clock
	})
}

func newClock(mark time.Time, read func() (time.Time, time.Duration)) *Clock {
	wall, elapsed := read()
	floor := wall.Round(0).Add(-elapsed) // Round takes the monotonic reading away
	if mark.After(floor) {
		floor = mark
	}
	return &Clock{read: read, floor: floor}
}

// Now returns the time.
func (c *Clock) Now() time.Time {
	wall, elapsed := c.read()
	if least := c.floor.Add(elapsed); least.After(wall) {
		return least
	}
	return wall
}

// Mark returns what the next clock is to be begun with.
func (c *Clock) Mark() time.Time {
	_, elapsed := c.read()
	return c.floor.Add(elapsed)
}

// Behind returns how far the machine's clock is behind; zero or less if it is
// not.
func (c *Clock) Behind() time.Duration {
	wall, elapsed := c.read()
	return c.floor.Add(elapsed).Sub(wall)
}
