package authn

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// ErrEnded is why a stream is cut off: its key may not be used any more.
var ErrEnded = errors.New("the key of this request has ended")

const (
	// streamInterval is how old the last look at a stream's key may be.
	streamInterval = 250 * time.Millisecond
	// recheckTimeout is how long a look may wait for the source. A key that is in
	// memory waits for nothing. Together they stay below the second that is promised.
	recheckTimeout = 500 * time.Millisecond
)

// Ender cuts a stream off.
type Ender interface {
	// End is called when the key has ended, and again after each interval until
	// the stream is done. It must not block.
	End()
}

// Stream is a request that was allowed, while its body and its answer flow. Who
// hands them on asks Stands before each piece. That costs a nanosecond, and a
// look at the key once per interval, so a short request never pays for one.
//
// A stream that can be idle for long is watched: then End is called when its key
// ends, so it ends without waiting for the next piece.
type Stream struct {
	// Endless says that the stream has no end of its own, such as a WebSocket. It is
	// set before Begin, and ends it when the authenticator retires.
	Endless bool

	authn *Authenticator
	key   *apikey.Key
	ender Ender

	round uint32                 // of streams.round: when the key was last looked at, or never; atomic once it has begun
	state atomic.Uint32          // fresh, watched or done
	ended atomic.Pointer[Result] // nil while the key stands
	next  *Stream                // of streams.fresh
	mu    sync.Mutex             // held while End is called
}

// never is the round of a stream whose key has ended. The rounds reach it after a
// process has run for 34 years.
const never = 1<<32 - 1

// The states of a stream, in the order in which it comes to them.
const (
	fresh uint32 = iota
	watched
	done
)

// streams are those that are watched. Adding one takes no lock, and removing
// one nothing at all: the watcher drops it on its next look.
type streams struct {
	round atomic.Uint32          // counts the intervals
	fresh atomic.Pointer[Stream] // those added since the watcher last looked, a list
	wake  chan struct{}          // holds one
}

// Begin starts a stream of a request that was just allowed.
func (s *Stream) Begin(a *Authenticator, key *apikey.Key, ender Ender) {
	s.authn, s.key, s.ender, s.round = a, key, ender, a.streams.round.Load()
	// Close counts the round up after it has closed: this stream sees one or the
	// other.
	if a.closed.Load() {
		s.end(Unavailable)
	}
}

// Stands reports whether the key may still be used.
func (s *Stream) Stands() bool {
	return s.authn.streams.round.Load() == atomic.LoadUint32(&s.round) || s.recheck()
}

// Ended returns why the key may not be used any more; "" while it may.
func (s *Stream) Ended() Result {
	if why := s.ended.Load(); why != nil {
		return *why
	}
	return ""
}

// Watch has the stream ended with its key even while nothing flows.
func (s *Stream) Watch() {
	if s.state.Load() != fresh || !s.state.CompareAndSwap(fresh, watched) {
		return
	}
	all := &s.authn.streams
	for {
		s.next = all.fresh.Load()
		if all.fresh.CompareAndSwap(s.next, s) {
			break
		}
	}
	if s.authn.closed.Load() { // the watcher may have gone
		s.end(Unavailable)
		s.cutOff()
	}
}

// Done says that the request is over. End is not called after it has returned.
func (s *Stream) Done() {
	if s.state.Swap(done) == watched {
		s.mu.Lock() // waits for End
		s.ender = nil
		s.mu.Unlock()
	}
}

func (s *Stream) end(why Result) {
	s.ended.CompareAndSwap(nil, &why)
	atomic.StoreUint32(&s.round, never)
}

// recheck looks at the key in an interval in which nobody has.
func (s *Stream) recheck() bool {
	if s.ended.Load() == nil {
		ctx, cancel := context.WithTimeout(context.Background(), recheckTimeout)
		defer cancel()
		s.look(ctx, s.authn.streams.round.Load())
	}
	return s.ended.Load() == nil
}

// look asks what has become of the key. If the source cannot tell, the stream
// ends: a new request with that key would be refused too.
func (s *Stream) look(ctx context.Context, round uint32) {
	last := atomic.LoadUint32(&s.round)
	if s.ended.Load() != nil {
		return
	}
	if s.Endless && s.authn.retired.Load() {
		s.end(Unavailable)
		return
	}
	if now := s.authn.standing(ctx, s.key.Digest); now != Allowed {
		s.end(now)
		return
	}
	atomic.CompareAndSwapUint32(&s.round, last, round) // another look may have ended it
}

// cutOff calls End, unless the stream is done.
func (s *Stream) cutOff() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isDone() {
		s.ender.End()
	}
}

func (s *Stream) isDone() bool { return s.state.Load() == done }

// standing judges a key by what the source says of it now.
func (a *Authenticator) standing(ctx context.Context, digest apikey.Digest) Result {
	if a.closed.Load() {
		return Unavailable
	}
	key, _, err := a.keys.get(ctx, digest)
	if err != nil {
		return reasonFor(err)
	}
	return a.judge(&key.Key, a.now())
}

// judge says whether a key may be used at a time, for whatever.
func (a *Authenticator) judge(key *apikey.Key, at time.Time) Result {
	switch key.Status(at) {
	case apikey.Revoked:
		if key.RevokedAt.IsZero() { // as was scheduled
			a.noteEnd(key.ActiveUntil())
		}
		return Revoked
	case apikey.Expired:
		a.noteEnd(key.ActiveUntil())
		return Expired
	case apikey.Active:
	}
	if a.suspended.has(key.WorkspaceID) {
		return Suspended
	}
	return Allowed
}

// hurry has the watcher look at all streams now.
func (s *streams) hurry() {
	select {
	case s.wake <- struct{}{}:
	default: // it is about to
	}
}

// watch looks at all watched streams in each interval, and when a key has ended,
// until the authenticator is closed and they are done.
func (a *Authenticator) watch() {
	tick := time.NewTicker(streamInterval)
	defer tick.Stop()
	var open []*Stream
	for {
		select {
		case <-tick.C:
			a.streams.round.Add(1)
		case <-a.streams.wake:
		}
		closed := a.closed.Load() // before the last look at what is fresh
		open = a.lookAt(open)
		if closed && len(open) == 0 {
			return
		}
	}
}

// lookAt ends the streams whose keys have ended, and returns those that go on.
func (a *Authenticator) lookAt(open []*Stream) []*Stream {
	for s := a.streams.fresh.Swap(nil); s != nil; {
		open = append(open, s)
		s, s.next = s.next, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), recheckTimeout)
	defer cancel()
	round := a.streams.round.Load()
	open = slices.DeleteFunc(open, (*Stream).isDone)
	for _, s := range open {
		s.look(ctx, round)
		if s.ended.Load() != nil {
			s.cutOff()
		}
	}
	return open
}
