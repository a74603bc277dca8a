package authn

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// openStream begins a stream of a key that lives for an hour, and tells how long it
// has gone on when it ends.
func openStream(t *testing.T, a *Authenticator, key *apikey.Key) <-chan time.Duration {
	t.Helper()
	ctx, done := a.Stream(context.Background(), key)
	begin, ended := time.Now(), make(chan time.Duration, 1)
	go func() {
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), ErrEnded) {
			t.Errorf("the stream ended with %v, want ErrEnded", context.Cause(ctx))
		}
		ended <- time.Since(begin)
		done()
	}()
	return ended
}

func lasts(t *testing.T, what string, stream <-chan time.Duration, want time.Duration) {
	t.Helper()
	if got := <-stream; got != want {
		t.Errorf("%s lasted %v, want %v", what, got, want)
	}
}

// liveKey returns a key of a source that lives for an hour from now.
func liveKey(s *source) apikey.Key {
	_, key := s.add()
	key.ExpiresAt = time.Now().Add(time.Hour)
	s.put(key)
	return key
}

func TestStream_endComesCloser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(source)
		key, other := liveKey(s), liveKey(s)
		a := newAuthenticator(t, s, time.Now)
		first, second, bystander := openStream(t, a, &key), openStream(t, a, &key), openStream(t, a, &other)
		old := key
		old.RevokesAt = time.Now().Add(time.Minute)
		s.put(old)
		a.Changed(apikey.Outcome{Replaced: old, Stale: []apikey.Digest{old.Digest}})
		lasts(t, "the first", first, time.Minute)
		lasts(t, "the second", second, time.Minute)
		lasts(t, "another key's", bystander, time.Hour)
	})
}

// An end that was set after the request was judged and before its stream began
// was told to nobody.
func TestStream_endCameCloserBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(source)
		key := liveKey(s)
		a := newAuthenticator(t, s, time.Now)
		old := key
		old.RevokesAt = time.Now().Add(time.Minute)
		s.put(old)
		lasts(t, "a stream judged before", openStream(t, a, &key), time.Minute)
	})
}

func TestStream_endedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(source)
		key, second, other := liveKey(s), liveKey(s), liveKey(s)
		a := newAuthenticator(t, s, time.Now)
		one, two, bystander := openStream(t, a, &key), openStream(t, a, &second), openStream(t, a, &other)
		time.Sleep(time.Second)
		ended := []apikey.Digest{key.Digest, second.Digest}
		a.Changed(apikey.Outcome{Stale: ended, Ended: ended})
		lasts(t, "a key's of all that were revoked", one, time.Second)
		lasts(t, "another's", two, time.Second)
		lasts(t, "one of no such key", bystander, time.Hour)
	})
}

// A stream that is over leaves no timer behind, whatever changes meanwhile.
func TestStream_over(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(source)
		key := liveKey(s)
		a := newAuthenticator(t, s, time.Now)
		ctx, done := a.Stream(context.Background(), &key)
		done()
		old := key
		old.RevokesAt = time.Now().Add(time.Minute)
		a.Changed(apikey.Outcome{Replaced: old})
		if got := context.Cause(ctx); errors.Is(got, ErrEnded) {
			t.Errorf("got %v, want a stream that was over before", got)
		}
		if got := len(a.streams.open); got != 0 {
			t.Errorf("got %d open streams, want none", got)
		}
	})
}
