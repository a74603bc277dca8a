package fleet

import (
	"sync/atomic"
	"time"
)

// lease says until when this gateway may serve. It is safe for concurrent use.
type lease struct {
	granted atomic.Pointer[grant]
	was     atomic.Bool    // there has been one since the start
	clock   func() instant // those of this machine, except in tests; set before it is used
	lapses  *time.Timer    // fires if the lease runs out without being ended; may be nil
	again   func()         // called for a lease that is granted after that
	lapsed  atomic.Bool    // it did
}

// tell sets what is called when a lease runs out, and when one is granted after that. Call
// it before the lease is used.
func (l *lease) tell(ended, again func()) {
	l.again = again
	l.lapses = time.AfterFunc(time.Hour, func() {
		switch left := l.remaining(); {
		case l.granted.Load() == nil:
		case left > 0: // granted again in the meantime
			l.lapses.Reset(left)
		default:
			l.lapsed.Store(true)
			ended()
		}
	})
	l.lapses.Stop()
}

// grant is a lease that was obtained by a read of etcd.
type grant struct {
	from instant // before the read
	last time.Duration
}

// extend has the lease last for a while from an instant, which must be before the read that
// proves that nothing has changed.
func (l *lease) extend(from instant, last time.Duration) {
	l.granted.Store(&grant{from, last})
	l.was.Store(true)
	if left := l.remaining(); l.lapses != nil && left > 0 {
		l.lapses.Reset(left)
		if l.lapsed.Swap(false) {
			l.again()
		}
	}
}

// from returns the time from which the lease counts, zero if there is none.
func (l *lease) from() time.Time {
	if g := l.granted.Load(); g != nil {
		return g.from.wall
	}
	return time.Time{}
}

// shorten has the lease last no longer than it would if it were granted now, as after
// another configuration. Nothing may extend it at the same time.
func (l *lease) shorten(most time.Duration) {
	if g := l.granted.Load(); g != nil && g.last > most {
		l.extend(g.from, most)
	}
}

// end ends the lease.
func (l *lease) end() {
	l.granted.Store(nil)
	l.lapsed.Store(false)
	if l.lapses != nil {
		l.lapses.Stop()
	}
}

// remaining returns how long the lease lasts from now on; zero or less if it has ended.
func (l *lease) remaining() time.Duration {
	g := l.granted.Load()
	if g == nil {
		return 0
	}
	return g.last - l.clock().since(g.from)
}
