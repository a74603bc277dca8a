package delivery

import (
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	// firstPause is before a message is sent for the second time, longestPause the most
	// between two of its tries. A pause is a third longer or shorter by chance.
	firstPause   = 3 * time.Second
	longestPause = 5 * time.Minute
	// longestAsked bounds what a receiver may ask for with Retry-After.
	longestAsked = time.Hour

	// downAfter is after how many failures in a row a receiver counts as down.
	downAfter = 16
	// shortestProbe and longestProbe are between two tries while it does.
	shortestProbe = time.Second
	longestProbe  = time.Minute
)

// pauses returns growing pauses. They are cheap to keep, as there is one for each subject in
// trouble.
func pauses(first, longest time.Duration) backoff.ExponentialBackOff {
	return backoff.ExponentialBackOff{InitialInterval: first, MaxInterval: longest, Multiplier: 2, RandomizationFactor: 1. / 3}
}

// subject is a key or a workspace one of whose messages is being sent, or has failed.
type subject struct {
	sending bool
	pauses  backoff.ExponentialBackOff
	failed  time.Time // the last time; zero if it has not
	next    time.Time // when to try again
	asked   time.Time // not before, as the receiver has asked
}

func newSubject() *subject { return &subject{pauses: pauses(firstPause, longestPause)} }

// inTrouble reports whether its first message has failed.
func (s *subject) inTrouble() bool { return !s.failed.IsZero() }

// waits reports whether the subject has to wait for its next try.
func (s *subject) waits(now time.Time) bool { return s.sending || now.Before(s.next) }

// fail sets when to try again: after the next pause, or when the receiver has asked for it.
func (s *subject) fail(now time.Time, asked time.Duration) {
	s.failed, s.asked = now, now.Add(min(asked, longestAsked))
	s.next = later(now.Add(s.pauses.NextBackOff()), s.asked)
}

// health is whether anything gets through to a receiver. While nothing does, single messages
// are tried, with pauses for the receiver as a whole.
type health struct {
	gone     bool      // it wants no more
	failures int       // in a row
	since    time.Time // of the first of them
	probes   backoff.ExponentialBackOff
	probed   time.Time // the last time
	probe    time.Time // when to probe next
}

// down reports whether nothing has got through for a while.
func (h *health) down() bool { return h.failures >= downAfter }

// fail notes a failure, and reports whether the receiver is down from now on.
func (h *health) fail(now time.Time) bool {
	if h.failures == 0 {
		h.since = now
	}
	h.failures++
	if h.failures == downAfter {
		h.probes = pauses(shortestProbe, longestProbe)
	}
	if h.down() {
		h.delay(now)
	}
	return h.failures == downAfter
}

// delay puts the next probe off.
func (h *health) delay(now time.Time) { h.probe = now.Add(h.probes.NextBackOff()) }

// hurry has a receiver that is down probed soon, because there is a new message: one that it
// may take.
func (h *health) hurry() {
	if soon := h.probed.Add(shortestProbe); h.down() && soon.Before(h.probe) {
		h.probe = soon
	}
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
