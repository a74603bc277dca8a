package apikey

import "time"

// ClockNote is what is stored about the time between runs of the server.
//
// A machine's clock may be wrong, so what it says becomes certain in two steps.
// Confirmed is the time that is certain to have passed: it advances as the server
// runs, and over a pause of up to [MaxPause] between two runs. A clock that is
// further ahead is followed, but not confirmed before it has stood so for
// [ConfirmAfter]: until then it can be corrected, and everything is as it was.
type ClockNote struct {
	Confirmed time.Time
	// Ahead is how far the machine's clock was ahead of Confirmed; 0 if it was not.
	Ahead time.Duration
	// Stood is for how long the server has run with the clock so far ahead.
	Stood time.Duration
}

const (
	// MaxPause is the longest pause between two runs over which a clock is trusted
	// immediately. A restart and an outage of a night are shorter; the clocks that come
	// up wrong are off by months or years.
	MaxPause = 24 * time.Hour
	// ConfirmAfter is how long the server runs with a clock that is ahead before
	// that is confirmed. It leaves enough time to act on the alarm, even over a
	// weekend.
	ConfirmAfter = 3 * 24 * time.Hour
	// ClockTolerance is how far off a clock may be: the note is made once a minute.
	ClockTolerance = time.Minute
)

// ClockReading is the time on a machine's clock, and the times derived from it.
type ClockReading struct {
	Machine   time.Time
	Confirmed time.Time // nothing later than this is deleted because of its age
	Judged    time.Time // used to decide whether keys have expired
}

// Offset is how far the machine's clock is ahead of the confirmed time; below
// zero if it is behind.
func (r ClockReading) Offset() time.Duration { return r.Machine.Sub(r.Confirmed) }

// ClockStatus says whether a machine's clock agrees with the confirmed time.
type ClockStatus string

const (
	ClockAgrees ClockStatus = "ok"
	ClockAhead  ClockStatus = "ahead"
	ClockBehind ClockStatus = "behind"
)

// Status says whether the machine's clock agrees with the confirmed time.
func (r ClockReading) Status() ClockStatus {
	switch offset := r.Offset(); {
	case offset > ClockTolerance:
		return ClockAhead
	case offset < -ClockTolerance:
		return ClockBehind
	}
	return ClockAgrees
}

// OpClock is the operation of a [TrustClock].
const OpClock Operation = "clock"

// TrustClock makes the machine's time the confirmed one: an operator says that the
// clock is right. Where that sets the confirmed time back, keys that had expired
// only by the later one are active again. No revoked key is: one that was revoked
// by its schedule stays so. It fails with [ErrClockAgrees] if there is nothing to
// set.
type TrustClock struct {
	Clock  ClockReading
	Reason string
}

// Operation returns OpClock.
func (TrustClock) Operation() Operation { return OpClock }

// Subject returns nothing: a clock is that of all keys.
func (TrustClock) Subject() (string, string) { return "", "" }
