package authn

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// Clock returns the time by which keys are judged. See [apikey.ClockNote] for when
// the machine's clock is confirmed.
//
// It never returns a time before the confirmed one, even if the machine's clock is
// behind: a key that had expired by then stays expired. It follows a machine's
// clock that is ahead, so that no key outlives its end; when that clock is
// corrected, the keys that it expired are valid again.
type Clock struct {
	read  func() (wall time.Time, elapsed time.Duration)
	state atomic.Pointer[clockState]

	mu       sync.Mutex    // held while state is replaced
	observed time.Duration // the elapsed time at the last call of Note
	pause    time.Duration // how long a pause before this run can still explain
}

type clockState struct {
	floor time.Time // the confirmed time when nothing had elapsed
	ahead time.Duration
	stood time.Duration
}

// ClockShift is a change in the difference between the machine's clock and the confirmed
// time. The zero value means no change.
type ClockShift struct {
	What ShiftKind
	By   time.Duration
}

// ShiftKind is a kind of ClockShift.
type ShiftKind int

const (
	_              ShiftKind = iota
	ClockJumped              // it has jumped implausibly far ahead
	ClockCorrected           // it was ahead, and has gone back
	ClockConfirmed           // it has been ahead long enough to be trusted
)

// NewClock returns a clock that continues from the note of the last run, and how the
// machine's clock differs from it.
func NewClock(note apikey.ClockNote) (*Clock, ClockShift) {
	start := time.Now()
	return newClock(note, func() (time.Time, time.Duration) {
		now := time.Now()
		return now, now.Sub(start) // by the monotonic clock
	})
}

func newClock(note apikey.ClockNote, read func() (time.Time, time.Duration)) (*Clock, ClockShift) {
	wall, elapsed := read()
	if note.Confirmed.IsZero() {
		note.Confirmed = wall
	}
	c := &Clock{read: read, observed: elapsed, pause: apikey.MaxPause}
	c.setState(note, elapsed)
	_, shift := c.Note()
	return c, shift
}

// setState makes a note the state. Round strips the monotonic reading, which would otherwise
// be used to compare times.
func (c *Clock) setState(note apikey.ClockNote, elapsed time.Duration) {
	c.state.Store(&clockState{note.Confirmed.Round(0).Add(-elapsed), note.Ahead, note.Stood})
}

// Now returns the time by which keys are judged.
func (c *Clock) Now() time.Time {
	wall, elapsed := c.read()
	return c.state.Load().judged(wall, elapsed)
}

// Confirmed returns the time that has certainly passed: nothing may be deleted for its
// age by a later one.
func (c *Clock) Confirmed() time.Time {
	_, elapsed := c.read()
	return c.state.Load().floor.Add(elapsed)
}

// Read returns the time and its components.
func (c *Clock) Read() apikey.ClockReading {
	wall, elapsed := c.read()
	state := c.state.Load()
	return apikey.ClockReading{Machine: wall.Round(0), Confirmed: state.floor.Add(elapsed), Judged: state.judged(wall, elapsed).Round(0)}
}

func (s *clockState) judged(wall time.Time, elapsed time.Duration) time.Time {
	confirmed := s.floor.Add(elapsed)
	switch {
	case !wall.Before(confirmed):
		return wall
	case tooFarBehind(wall.Sub(confirmed)):
		return confirmed.Add(s.ahead)
	}
	return confirmed
}

// tooFarBehind reports whether a machine's clock is too far behind to say anything about
// the time. An earlier run may have seen a later time than the confirmed one, and such a
// clock is no reason to doubt it.
func tooFarBehind(ahead time.Duration) bool { return ahead < -apikey.MaxPause }

// Note returns the note to store for the next run, and how the machine's clock has
// shifted since the last call. Call it once a minute.
func (c *Clock) Note() (apikey.ClockNote, ClockShift) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall, elapsed := c.read()
	wall = wall.Round(0)
	state := c.state.Load()
	before := apikey.ClockNote{Confirmed: state.floor.Add(elapsed), Ahead: state.ahead, Stood: state.stood}
	after, shift := settle(before, wall, elapsed-c.observed, c.pause)
	c.pause = max(c.pause-after.Confirmed.Sub(before.Confirmed), 0)
	if wall.Sub(after.Confirmed).Abs() <= apikey.ClockTolerance {
		c.pause = 0 // they agree: a later difference is not a pause
	}
	c.observed = elapsed
	c.setState(after, elapsed)
	return after, shift
}

// Trust makes a time the confirmed one, because an operator says so.
func (c *Clock) Trust(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, elapsed := c.read()
	c.pause = 0
	c.setState(apikey.ClockNote{Confirmed: now}, elapsed)
}

// settle updates a note from the machine's clock after the server has run for a while;
// the note's confirmed time has already advanced by that. If the clock is further ahead,
// the difference counts as the pause before this run, up to its maximum.
func settle(note apikey.ClockNote, wall time.Time, ran, pause time.Duration) (apikey.ClockNote, ClockShift) {
	ahead := wall.Sub(note.Confirmed)
	moved := ahead - note.Ahead
	switch {
	case tooFarBehind(ahead):
		return note, ClockShift{}
	case moved > max(pause, apikey.ClockTolerance):
		return apikey.ClockNote{Confirmed: note.Confirmed, Ahead: ahead}, ClockShift{ClockJumped, ahead}
	case moved < -apikey.ClockTolerance:
		return correct(note, ahead, pause)
	}
	if pause > 0 {
		note.Confirmed = note.Confirmed.Add(max(moved, 0))
	}
	if note.Ahead == 0 {
		return note, ClockShift{}
	}
	if note.Stood += ran; note.Stood < apikey.ConfirmAfter {
		return note, ClockShift{}
	}
	return apikey.ClockNote{Confirmed: note.Confirmed.Add(note.Ahead)}, ClockShift{ClockConfirmed, note.Ahead}
}

// correct is settle for a clock that has gone back.
func correct(note apikey.ClockNote, ahead, pause time.Duration) (apikey.ClockNote, ClockShift) {
	if note.Ahead == 0 { // it is behind, and was not ahead before
		return note, ClockShift{}
	}
	shift := ClockShift{ClockCorrected, note.Ahead - ahead}
	ahead = max(ahead, 0)
	switch {
	case ahead <= pause:
		return apikey.ClockNote{Confirmed: note.Confirmed.Add(ahead)}, shift
	case ahead <= apikey.ClockTolerance:
		ahead = 0
	}
	return apikey.ClockNote{Confirmed: note.Confirmed, Ahead: ahead}, shift
}
