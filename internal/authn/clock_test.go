package authn

import (
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// machine is a machine whose clock a test sets. It runs one server after another.
type machine struct {
	t     *testing.T
	right time.Time     // what the clock would say if it were right
	off   time.Duration // how far it is ahead
	ran   time.Duration // of the run
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

// run has the server run, and note the time every minute.
func (m *machine) run(d time.Duration) {
	for ; d > 0; d -= time.Minute {
		step := min(d, time.Minute)
		m.right, m.ran = m.right.Add(step), m.ran+step
		m.note()
	}
}

// pause has the server stopped for a while, as a kill stops it.
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

// Days by which the tests have a clock be wrong.
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

// A clock that is ahead at a start and is corrected, before the next start or
// while the server runs, leaves nothing behind.
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
			m.want(0, m.clock.Confirmed().Sub(m.right)) // at once, whatever is confirmed
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

// However often a server is started while its clock is ahead, that alone confirms
// nothing.
func TestClock_manyStartsAhead(t *testing.T) {
	m := newMachine(t)
	m.off = 91 * day
	for range 1000 {
		m.pause(time.Second)
		m.start()
		m.run(time.Second)
	}
	m.want(91*day, -time.Second) // it is the first start's pause that is not believed
	m.off = 0
	m.start()
	m.want(0, 0)
}

// A clock that is behind at a start brings no expired key back, and is followed
// again when it is right.
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

// A server that was really stopped for long is judged by its clock at once, and
// the time is confirmed when it has run for days, in however many runs.
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
	m.want(0, 0) // what has expired meanwhile stays so
}

// Days that a clock has stood ahead count for nothing when it is off by more, or
// by less.
func TestClock_aheadByAnother(t *testing.T) {
	m := newMachine(t)
	for _, by := range []time.Duration{91, 10, 600} {
		m.off = by * day
		m.start()
		m.run(2 * day)
		m.want(by*day, 0)
	}
}

// A clock that is plainly wrong is no reason to doubt what an earlier run has seen:
// a key that had expired while the server was stopped for long stays so.
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
