package authn

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// ErrEnded is why the context of a stream ends when its key may not go on.
var ErrEnded = errors.New("the key of this connection has ended")

// streams are the requests that became another protocol, and so go on after
// they were judged.
type streams struct {
	mu   sync.Mutex
	open map[*stream]struct{}
}

type stream struct {
	digest      apikey.Digest
	workspaceID string
	end         context.CancelCauseFunc
	expiry      *time.Timer
	expires     time.Time // when expiry fires; held by streams.mu
}

// shorten makes a stream end at a time, if it would go on for longer. A key's
// end can come closer after it was read, and what was read then comes too late.
func (s *stream) shorten(until, now time.Time) {
	if until.Before(s.expires) {
		s.expires = until
		s.expiry.Reset(until.Sub(now))
	}
}

// Stream returns a context for a request that passed and asks to become another
// protocol. It ends with [ErrEnded] when the key is revoked or expires, or its
// workspace is suspended, also if that happened since the request was judged.
// The caller calls done when the request is over.
func (a *Authenticator) Stream(ctx context.Context, key *apikey.Key) (_ context.Context, done func()) {
	ctx, end := context.WithCancelCause(ctx)
	s := &stream{digest: key.Digest, workspaceID: key.WorkspaceID, end: end, expires: key.ActiveUntil()}
	s.expiry = time.AfterFunc(s.expires.Sub(a.now()), func() { end(ErrEnded) })
	a.streams.add(s)

	// What changed between the decision and this line was told to nobody.
	current, _, err := a.keys.get(ctx, key.Digest)
	if err != nil || a.closed.Load() || current.Status(a.now()) != apikey.Active || a.suspended.has(key.WorkspaceID) {
		end(ErrEnded)
	} else {
		a.streams.shorten(s, current.ActiveUntil(), a.now())
	}
	return ctx, func() {
		a.streams.remove(s) // before the timer is stopped: shorten starts it anew
		s.expiry.Stop()
		end(nil)
	}
}

func (s *streams) add(one *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = make(map[*stream]struct{})
	}
	s.open[one] = struct{}{}
}

func (s *streams) remove(one *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, one)
}

// shorten makes a stream end at a time.
func (s *streams) shorten(one *stream, until, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one.shorten(until, now)
}

// shortenAll makes every stream of a key end at a time.
func (s *streams) shortenAll(digest apikey.Digest, until, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for one := range s.open {
		if one.digest == digest {
			one.shorten(until, now)
		}
	}
}

// endIf ends the streams for which it is asked to.
func (s *streams) endIf(over func(*stream) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for one := range s.open {
		if over(one) {
			one.end(ErrEnded)
		}
	}
}
