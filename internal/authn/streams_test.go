package authn

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/testenv/bubble"
)

// noted is a stream that records when it was ended.
type noted struct {
	Stream
	begin time.Time
	once  sync.Once
	ended chan time.Duration
}

func (n *noted) End() { n.once.Do(func() { n.ended <- time.Since(n.begin) }) }

func beginStream(t *testing.T, a *Authenticator, key *apikey.Key) *noted {
	t.Helper()
	granted := key.Grant()
	w := &noted{begin: time.Now(), ended: make(chan time.Duration, 1)}
	w.Begin(a, &granted, w)
	t.Cleanup(w.Done)
	return w
}

func openStream(t *testing.T, a *Authenticator, key *apikey.Key) *noted {
	t.Helper()
	w := beginStream(t, a, key)
	w.Watch()
	return w
}

// lasts waits until a stream is ended, and checks when and why.
func (n *noted) lasts(t *testing.T, what string, want time.Duration, why Result) {
	t.Helper()
	if got := <-n.ended; got != want {
		t.Errorf("%s lasted %v, want %v", what, got, want)
	}
	if got := n.Ended(); got != why || n.Stands() {
		t.Errorf("%s: got %q, and that it stands is %t; want %q", what, got, n.Stands(), why)
	}
}

func (n *noted) goesOn(t *testing.T, what string) {
	t.Helper()
	bubble.Wait()
	if len(n.ended) > 0 || !n.Stands() || n.Ended() != "" {
		t.Errorf("%s: got an end for %q, want it to continue", what, n.Ended())
	}
}

// liveKey returns a key in a source that expires in an hour.
func liveKey(s *source) apikey.Key {
	_, key := s.add()
	key.ExpiresAt = time.Now().Add(time.Hour)
	s.put(key)
	return key
}

// revokeAll revokes keys in one change.
func revokeAll(a *Authenticator, s *source, keys ...apikey.Key) {
	var digests []apikey.Digest
	for _, key := range keys {
		key.RevokedAt = time.Now()
		s.put(key)
		digests = append(digests, key.Digest)
	}
	a.Changed(apikey.Outcome{Stale: digests, Ended: digests})
}

func TestStream_endComesCloser(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := new(source)
		key, other := liveKey(s), liveKey(s)
		a := newAuthenticator(t, s, time.Now)
		first, second, bystander := openStream(t, a, &key), openStream(t, a, &key), openStream(t, a, &other)
		old := key
		old.RevokesAt = time.Now().Add(time.Minute)
		s.put(old)
		a.Changed(apikey.Outcome{Replaced: old, Stale: []apikey.Digest{old.Digest}})
		first.lasts(t, "the first", time.Minute, Revoked)
		second.lasts(t, "the second", time.Minute, Revoked)
		bystander.lasts(t, "another key's", time.Hour, Expired)
	})
}

// A stream ends also if its key was revoked between the decision and the start of the
// stream, which no notification reaches.
func TestStream_endedBefore(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := new(source)
		key := liveKey(s)
		a := newAuthenticator(t, s, time.Now)
		revoke(s, a, key)
		openStream(t, a, &key).lasts(t, "a stream judged before", streamInterval, Revoked)
	})
}

func TestStream_endedAtOnce(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := new(source)
		key, second, other := liveKey(s), liveKey(s), liveKey(s)
		a := newAuthenticator(t, s, time.Now)
		one, two, bystander := openStream(t, a, &key), openStream(t, a, &second), openStream(t, a, &other)
		time.Sleep(time.Second + time.Millisecond)
		revokeAll(a, s, key, second)
		one.lasts(t, "a key's of all that were revoked", time.Second+time.Millisecond, Revoked)
		two.lasts(t, "another's", time.Second+time.Millisecond, Revoked)
		bystander.goesOn(t, "one of no such key")
	})
}

func TestStream_suspended(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := new(source)
		key, other := liveKey(s), liveKey(s)
		other.WorkspaceID = "globex"
		s.put(other)
		a := newAuthenticator(t, s, time.Now)
		one, bystander := openStream(t, a, &key), openStream(t, a, &other)
		time.Sleep(time.Millisecond)
		a.Changed(apikey.Outcome{Workspace: apikey.Workspace{ID: key.WorkspaceID, SuspendedAt: time.Now()}})
		one.lasts(t, "one of the workspace", time.Millisecond, Suspended)
		bystander.goesOn(t, "another workspace's")
	})
}

// A stream that is not watched ends when something is passed on: nothing is, once
// the interval in which its key ended is over.
func TestStream_busy(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := new(source)
		key := liveKey(s)
		a := newAuthenticator(t, s, time.Now)
		busy := beginStream(t, a, &key)
		revoke(s, a, key)
		lookups := s.lookups.Load()
		for range 1000 {
			if !busy.Stands() {
				t.Fatal("got an end within the interval, want that a short request is not looked at")
			}
		}
		if got := s.lookups.Load() - lookups; got != 0 {
			t.Errorf("got %d look-ups within the interval, want none", got)
		}
		time.Sleep(streamInterval)
		bubble.Wait()
		if busy.Stands() || busy.Ended() != Revoked {
			t.Errorf("got %q after the interval, want %q", busy.Ended(), Revoked)
		}
		if len(busy.ended) > 0 {
			t.Error("got End called, want that only for what is watched")
		}
	})
}

// A stream is not ended because its key was evicted from the cache.
func TestStream_keyEvicted(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := new(source)
		key := liveKey(s)
		a := newAuthenticator(t, s, time.Now)
		one := openStream(t, a, &key)
		for range 10 {
			a.Changed(apikey.Outcome{Stale: []apikey.Digest{key.Digest}})
			time.Sleep(streamInterval)
			one.goesOn(t, "a key that is renamed")
		}
	})
}

// Nothing is passed on if the source cannot say whether the key has ended. A source
// that hangs holds up no other stream.
func TestStream_storeFails(t *testing.T) {
	for name, hangs := range map[string]bool{"error": false, "hangs": true} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				s, goOn := new(source), make(chan struct{})
				defer close(goOn)
				a := newAuthenticator(t, s, time.Now)
				warm := openStream(t, a, new(liveKey(s)))
				time.Sleep(streamInterval)
				bubble.Wait() // it is cached
				s.during = func(*apikey.Key) (*apikey.Key, error) {
					if hangs {
						<-goOn
					}
					return nil, errors.New("corrupt")
				}
				var cold []*noted
				for range 2 * maxReaders {
					cold = append(cold, openStream(t, a, new(liveKey(s))))
				}
				for _, one := range cold {
					if got := <-one.ended; got > time.Second {
						t.Errorf("a stream lasted %v after its key could not be read, want a second at most", got)
					}
					if got := one.Ended(); got != Unavailable {
						t.Errorf("got %q, want %q", got, Unavailable)
					}
				}
				warm.goesOn(t, "a key in memory")
			})
		})
	}
}

func TestStream_close(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := new(source)
		key := liveKey(s)
		a := newAuthenticator(t, s, time.Now)
		idle, busy := openStream(t, a, &key), beginStream(t, a, &key)
		a.Close()
		idle.lasts(t, "one that is watched", 0, Unavailable)
		if busy.Stands() {
			t.Error("got a stream that stands, want one that does not")
		}
		busy.Watch()
		busy.lasts(t, "one that is watched from then on", 0, Unavailable)
		late := openStream(t, a, &key)
		late.lasts(t, "one that begins then", 0, Unavailable)
		for _, one := range []*noted{idle, busy, late} {
			one.Done()
		}
		time.Sleep(streamInterval) // the watcher stops
	})
}

// A stream that is done is neither ended nor kept in memory.
func TestStream_done(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := new(source)
		key := liveKey(s)
		a := newAuthenticator(t, s, time.Now)
		one := openStream(t, a, &key)
		one.Done()
		revoke(s, a, key)
		bubble.Wait()
		if len(one.ended) > 0 {
			t.Error("got End called after Done")
		}
		open := a.lookAt([]*Stream{&one.Stream})
		if got := len(open); got != 0 {
			t.Errorf("got %d streams kept, want none", got)
		}
	})
}
