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

// ErrEnded is why a stream is cut off: its key may no longer be used.
var ErrEnded = errors.New("the key of this request has ended")

const (
	// streamInterval is how long ago a stream's key was checked at most.
	streamInterval = 250 * time.Millisecond
	// recheckTimeout is how long such a check may wait for the source; a cached key
	// needs no wait. Together they stay below the promised second.
	recheckTimeout = 500 * time.Millisecond
)

// Ender cuts a stream off.
type Ender interface {
	// End is called when the key has ended, and again in each interval until the
	// stream is done. It must not block.
	End()
}

// Stream is a request that was allowed, while its body and its response are passed
// on. The code that passes them on calls Stands before each piece. That costs a
// nanosecond, and one check of the key per interval, so a short request never pays
// for one.
//
// A stream that may be idle for long is watched: End is called when its key ends,
// so it ends without waiting for the next piece.
type Stream struct {
	// Endless says that the stream does not end by itself, such as a WebSocket. It is
	// ended when the authenticator retires. Set it before Begin.
	Endless bool

	authn *Authenticator
	key   *apikey.Grant
	ender Ender

	round uint32                 // of streams.round: when the key was last looked at, or never; atomic once it has begun
	state atomic.Uint32          // fresh, watched or done
	ended atomic.Pointer[Result] // nil while the key may be used
	next  *Stream                // of streams.fresh
	mu    sync.Mutex             // held while End runs
}

// never is the round of a stream whose key has ended. A process would have to run for 34
// years to reach it.
const never = 1<<32 - 1

// The states of a stream, in order.
const (
	fresh uint32 = iota
	watched
	done
)

// streams are the watched ones. Adding one takes no lock, and removing one takes nothing:
// the watcher drops it in its next round.
type streams struct {
	round atomic.Uint32          // counts the intervals
	fresh atomic.Pointer[Stream] // a list of those added since the watcher's last round
	wake  chan struct{}          // has room for one
}

// Begin starts the stream of a request that was just allowed.
func (s *Stream) Begin(a *Authenticator, key *apikey.Grant, ender Ender) {
	s.authn, s.key, s.ender, s.round = a, key, ender, a.streams.round.Load()
	// Close increments the round after setting closed: this stream sees one or the
	// other.
	if a.closed.Load() {
		s.end(Unavailable)
	}
}

// Stands reports whether the key may still be used.
func (s *Stream) Stands() bool {
	return s.authn.streams.round.Load() == atomic.LoadUint32(&s.round) || s.recheck()
}

// Ended returns why the key may no longer be used; "" while it may.
func (s *Stream) Ended() Result {
	if why := s.ended.Load(); why != nil {
		return *why
	}
	return ""
}

// Watch ends the stream with its key even while nothing is passed on.
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
	if s.authn.closed.Load() { // the watcher may have stopped
		s.end(Unavailable)
		s.cutOff()
	}
}

// Done says that the request has ended. End is not called after Done has returned.
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

// recheck checks the key if that has not been done in this interval.
func (s *Stream) recheck() bool {
	if s.ended.Load() == nil {
		ctx, cancel := context.WithTimeout(context.Background(), recheckTimeout)
		defer cancel()
		s.look(ctx, s.authn.streams.round.Load())
	}
	return s.ended.Load() == nil
}

// look checks the key. If the source cannot answer, the stream ends: a new request with
// that key would be refused too.
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
	atomic.CompareAndSwapUint32(&s.round, last, round) // another check may have ended it
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

// standing judges a key by its current record.
func (a *Authenticator) standing(ctx context.Context, digest apikey.Digest) Result {
	if !a.mayJudge() { // before the look-up
		return Unavailable
	}
	key, _, err := a.keys.get(ctx, digest)
	if err != nil {
		return reasonFor(err)
	}
	return a.judge(&key.Grant, a.now())
}

// judge returns whether a key may be used at all at the given time.
func (a *Authenticator) judge(key *apikey.Grant, at time.Time) Result {
	switch key.Status(at) {
	case apikey.Revoked:
		if key.Rare().RevokedAt == 0 { // as scheduled
			a.noteEnd(key.ActiveUntil())
		}
		return Revoked
	case apikey.Expired:
		a.noteEnd(key.ActiveUntil())
		return Expired
	case apikey.Active:
	}
	if a.suspended.has(key.WorkspaceID()) {
		return Suspended
	}
	return Allowed
}

// hurry makes the watcher check all streams now.
func (s *streams) hurry() {
	select {
	case s.wake <- struct{}{}:
	default: // it is about to
	}
}

// watch checks all watched streams in each interval, and whenever a key has ended, until
// the authenticator is closed and they are done.
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
		closed := a.closed.Load() // before the last look at the fresh ones
		open = a.lookAt(open)
		if closed && len(open) == 0 {
			return
		}
	}
}

// lookAt ends the streams whose keys have ended, and returns those that are not done.
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
