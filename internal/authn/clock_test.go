package authn

import (
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// machine has a clock that a test sets, and runs one server after another.
type machine struct {
	t     *testing.T
	right time.Time     // the correct time
	off   time.Duration // how far the clock is ahead
	ran   time.Duration // how long this run has lasted
	clock *Clock
	shift ClockShift // at the start, or at the last note that had one
	kept  apikey.ClockNote
}

var clockEpoch = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func newMachine(t *testing.T) *machine {
	m := &machine{t: t, right: clockEpoch}
	m.start()
	m.run(time.Hour)
	return m
}

func (m *machine) start() {
	m.ran = 0
	m.clock, m.shift = newClock(m.kept, func() (time.Time, time.Duration) { return m.right.Add(m.off), m.ran })
	m.note()
}

func (m *machine) note() {
	note, shift := m.clock.Note()
	m.kept = note
	if shift != (ClockShift{}) {
		m.shift = shift
	}
}

// run runs the server for a while, with a note every minute.
func (m *machine) run(d time.Duration) {
	for ; d > 0; d -= time.Minute {
		step := min(d, time.Minute)
		m.right, m.ran = m.right.Add(step), m.ran+step
		m.note()
	}
}

// pause stops the server for a while, as if it was killed.
func (m *machine) pause(d time.Duration) { m.right = m.right.Add(d) }

func (m *machine) want(judgedOff, confirmedOff time.Duration) {
	m.t.Helper()
	if got := m.clock.Now().Sub(m.right); got != judgedOff {
		m.t.Errorf("keys are judged by a time that is %v off, want %v", got, judgedOff)
	}
	if got := m.clock.Confirmed().Sub(m.right); got != confirmedOff {
		m.t.Errorf("the confirmed time is %v off, want %v", got, confirmedOff)
	}
}

const day = 24 * time.Hour

// wrongBy is by how much the tests have a clock be wrong.
var wrongBy = []time.Duration{2 * day, 91 * day, 600 * day}

func TestClock_restart(t *testing.T) {
	m := newMachine(t)
	for range 3 {
		m.pause(23 * time.Hour) // a night, or an outage
		m.start()
		m.want(0, 0)
		m.run(time.Minute)
	}
}

func TestClock_setWhileItRuns(t *testing.T) {
	for _, by := range append(wrongBy, time.Hour, 14*time.Hour) {
		m := newMachine(t)
		m.off = by
		m.run(time.Hour)
		m.want(by, 0) // no key outlives its end, and nothing is deleted
		m.off = 0
		m.want(0, 0) // at once
		m.run(time.Hour)
		m.want(0, 0)
		m.off = -by
		m.want(0, 0) // what has expired stays so
		m.run(time.Hour)
		m.want(0, 0)
	}
}

// A clock that is ahead at a start, and is corrected before the next start or while
// the server runs, has no lasting effect.
func TestClock_aheadAtAStart(t *testing.T) {
	for _, by := range wrongBy {
		for _, whileItRuns := range []bool{false, true} {
			m := newMachine(t)
			m.pause(2 * time.Hour)
			m.off = by
			m.start()
			m.want(by, -2*time.Hour)
			if m.shift != (ClockShift{ClockJumped, by + 2*time.Hour}) {
				t.Errorf("got the shift %v", m.shift)
			}
			m.run(10 * time.Second)
			m.off = 0
			if !whileItRuns {
				m.start()
			}
			m.want(0, m.clock.Confirmed().Sub(m.right)) // at once, before anything is confirmed
			m.run(time.Minute)
			m.want(0, 0)
			if m.shift != (ClockShift{ClockCorrected, by}) {
				t.Errorf("got the shift %v", m.shift)
			}
			m.start()
			m.want(0, 0)
		}
	}
}

// Any number of starts with the clock ahead does not confirm it.
func TestClock_manyStartsAhead(t *testing.T) {
	m := newMachine(t)
	m.off = 91 * day
	for range 1000 {
		m.pause(time.Second)
		m.start()
		m.run(time.Second)
	}
	m.want(91*day, -time.Second) // the pause before the first start is not believed
	m.off = 0
	m.start()
	m.want(0, 0)
}

// A clock that is behind at a start does not revive expired keys, and is followed
// again once it is right.
func TestClock_behindAtAStart(t *testing.T) {
	for _, by := range append(wrongBy, 3*time.Hour, 20_000*day) {
		m := newMachine(t)
		m.pause(2 * time.Hour)
		m.off = -by
		m.start()
		m.want(-2*time.Hour, -2*time.Hour)
		m.run(time.Hour)
		m.want(-2*time.Hour, -2*time.Hour)
		m.off = 0
		m.run(time.Minute)
		m.want(0, 0)
	}
}

// After a long pause, the server follows its clock at once. The time is confirmed
// after days of running, in any number of runs.
func TestClock_longPause(t *testing.T) {
	m := newMachine(t)
	m.pause(40 * day)
	for range 71 {
		m.start()
		m.want(0, -40*day)
		m.run(time.Hour)
		m.pause(20 * time.Second)
	}
	m.start()
	m.run(time.Hour - time.Minute)
	m.want(0, -40*day)
	m.run(time.Minute)
	m.want(0, 0)
	if m.shift != (ClockShift{ClockConfirmed, 40 * day}) {
		t.Errorf("got the shift %v", m.shift)
	}
	m.off = -40 * day
	m.start()
	m.want(0, 0) // what expired meanwhile stays expired
}

// Days with the clock ahead do not count if its error then changes.
func TestClock_aheadByAnother(t *testing.T) {
	m := newMachine(t)
	for _, by := range []time.Duration{91, 10, 600} {
		m.off = by * day
		m.start()
		m.run(2 * day)
		m.want(by*day, 0)
	}
}

// A plainly wrong clock does not cast doubt on what an earlier run saw: a key that
// expired during a long pause stays expired.
func TestClock_behindAfterALongPause(t *testing.T) {
	m := newMachine(t)
	m.pause(40 * day)
	m.start()
	m.run(time.Hour)
	for _, off := range []time.Duration{-600 * day, -20_000 * day} {
		m.off = off
		m.want(0, -40*day) // while it runs
		m.start()
		m.want(0, -40*day)
		m.run(time.Hour)
		m.want(0, -40*day)
	}
	m.off = 0
	m.run(time.Hour)
	m.want(0, -40*day)
}

func TestClock_trust(t *testing.T) {
	for _, off := range []time.Duration{-600 * day, -91 * day, -time.Hour, time.Hour, 91 * day} {
		m := newMachine(t)
		m.off = off
		m.run(time.Hour)
		m.clock.Trust(m.clock.Read().Machine)
		m.want(off, off)
		m.run(time.Hour)
		m.want(off, off)
		m.start()
		m.want(off, off)
	}
}

func TestClock_firstStart(t *testing.T) {
	m := &machine{t: t, right: clockEpoch}
	m.start()
	m.want(0, 0)
	if m.shift != (ClockShift{}) {
		t.Errorf("got the shift %v", m.shift)
	}
}
