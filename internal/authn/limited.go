package authn

import (
	"sync"
	"sync/atomic"
	"time"
)

// limitedFor is how long a key counts as limited after a limit has refused it.
const limitedFor = 5 * time.Minute

// limited tracks the keys that a limit has refused recently. Only refused requests touch
// it, and it contains existing keys only.
type limited struct {
	keys sync.Map // of key id to *atomic.Int64: the last refusal, in nanoseconds since 1970
}

// note records that a key was refused.
func (l *limited) note(keyID string, at time.Time) {
	if last, ok := l.keys.Load(keyID); ok {
		last.(*atomic.Int64).Store(at.UnixNano())
		return
	}
	first := new(atomic.Int64)
	first.Store(at.UnixNano())
	l.keys.LoadOrStore(keyID, first)
}

// count returns how many keys were refused recently, and removes the others. A key that
// is refused at the same moment may be removed until it is refused again.
func (l *limited) count(now time.Time) (n int) {
	since := now.Add(-limitedFor).UnixNano()
	l.keys.Range(func(keyID, last any) bool {
		if last.(*atomic.Int64).Load() > since {
			n++
		} else {
			l.keys.CompareAndDelete(keyID, last)
		}
		return true
	})
	return n
}

// RateLimited returns how many keys a limit has refused within the last five
// minutes.
func (a *Authenticator) RateLimited() int { return a.limited.count(a.now()) }
