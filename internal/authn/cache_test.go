package authn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/testenv/bubble"
)

func revoke(s *source, a *Authenticator, key apikey.Key) {
	key.RevokedAt = epoch
	s.put(key)
	a.Changed(apikey.Outcome{Key: key, Stale: []apikey.Digest{key.Digest}})
}

func TestCheck_remembersKnownKeys(t *testing.T) {
	s := new(source)
	token, _ := s.add()
	a := newAuthenticator(t, s, atEpoch)
	for i, want := range []Lookup{Miss, Hit, Hit} {
		d := get(a, token)
		checkResult(t, "known", d, Allowed)
		if d.Lookup != want {
			t.Errorf("check %d: got %q, want %q", i, d.Lookup, want)
		}
	}
	if got := s.lookups.Load(); got != 1 {
		t.Errorf("got %d look-ups, want 1", got)
	}
}

// Invented tokens do not evict customers' keys, and a key works as soon as it
// exists.
func TestCheck_unknownKeysAreNotCached(t *testing.T) {
	s := new(source)
	token, key := fullKey()
	a := newAuthenticator(t, s, atEpoch)
	for range 3 {
		d := get(a, token)
		checkResult(t, "unknown", d, Unknown)
		if d.Lookup != Miss || d.Key != nil {
			t.Errorf("got lookup %q and key %v, want a miss and none", d.Lookup, d.Key)
		}
	}
	if got := s.lookups.Load(); got != 3 {
		t.Errorf("got %d look-ups, want 3", got)
	}
	if got := a.keys.entries.EstimatedSize(); got != 0 {
		t.Errorf("got %d entries, want none", got)
	}
	s.put(key)
	checkResult(t, "created since, and nobody was told", get(a, token), Allowed)
}

// A digest that MayHave rules out is not looked up.
func TestCheck_ruledOutIsNotLookedUp(t *testing.T) {
	s := &source{sure: true}
	token, _ := s.add()
	a := newAuthenticator(t, s, atEpoch)
	for range 3 {
		unknown, _ := fullKey()
		d := get(a, unknown)
		checkResult(t, "unknown", d, Unknown)
		if d.Lookup != Miss {
			t.Errorf("got look-up %q, want a miss", d.Lookup)
		}
	}
	if got := s.lookups.Load(); got != 0 {
		t.Errorf("got %d look-ups, want none", got)
	}
	checkResult(t, "known", get(a, token), Allowed)
	a.Close()
	unknown, _ := fullKey()
	checkResult(t, "unknown, when nothing is known any more", get(a, unknown), Unavailable)
}

func TestCheck_malformedIsNotLookedUp(t *testing.T) {
	s := new(source)
	token, _ := s.add()
	a := newAuthenticator(t, s, atEpoch)
	good := token.Reveal()
	for _, value := range []string{"", "Bearer", "Bearer " + good[:52], "Bearer " + good + "0", "Bearer " + strings.ToLower(good), "Basic " + good} {
		d := a.Check(context.Background(), policy, &Facts{Method: http.MethodGet, Authorization: []string{value}})
		checkResult(t, "malformed", d, Malformed)
	}
	if got := s.lookups.Load(); got != 0 {
		t.Errorf("got %d look-ups, want none", got)
	}
}

func TestChanged_revoked(t *testing.T) {
	s := new(source)
	token, key := s.add()
	other, _ := s.add()
	a := newAuthenticator(t, s, atEpoch)
	checkResult(t, "before", get(a, token), Allowed)
	checkResult(t, "the other, before", get(a, other), Allowed)
	revoke(s, a, key)
	checkResult(t, "after", get(a, token), Revoked)
	d := get(a, other)
	checkResult(t, "the other, after", d, Allowed)
	if d.Lookup != Hit {
		t.Errorf("the other was forgotten too: got %q, want %q", d.Lookup, Hit)
	}
}

// When everything that was read may be out of date, all keys are looked up again, also one
// that is just being looked up. What has been counted of their requests stays.
func TestChanged_allStale(t *testing.T) {
	s := new(source)
	token, key := s.add()
	other, otherKey := s.add()
	a := newAuthenticator(t, s, atEpoch)
	checkResult(t, "before", get(a, token), Allowed)
	key.RevokedAt = epoch
	s.put(key)
	checkResult(t, "before, revoked since", get(a, token), Allowed)
	s.during = func(read *apikey.Key) (*apikey.Key, error) {
		stale := *read
		stale.RevokedAt = time.Time{}
		a.Changed(apikey.Outcome{AllStale: true, Unchanged: true})
		return &stale, nil
	}
	otherKey.RevokedAt = epoch
	s.put(otherKey)
	checkResult(t, "looked up meanwhile", get(a, other), Unavailable)
	s.during = nil
	checkResult(t, "afterwards", get(a, token), Revoked)
	checkResult(t, "looked up meanwhile, afterwards", get(a, other), Revoked)
	counts := make(counted)
	counts.flush(t, a)
	used := counts[apikey.KeyDay{KeyID: key.ID, Day: apikey.DayOf(epoch)}]
	if want := (apikey.Usage{Reads: 2, Refused: 1}); used != want {
		t.Errorf("got %+v, want %+v", used, want)
	}
	var uses map[string]apikey.Use
	if err := a.FlushUses(epoch.Add(time.Hour), 0, func(of map[string]apikey.Use) error { uses = of; return nil }); err != nil {
		t.Fatal(err)
	}
	if got := uses[key.ID].At; !got.Equal(epoch) {
		t.Errorf("got the last use %v, want %v", got, epoch)
	}
}

// A key whose revocation is in doubt is refused from then on, although the source has it as
// it was: to requests, to what is in progress, and whatever a look-up from before returns.
func TestChanged_inDoubt(t *testing.T) {
	for _, cached := range []bool{true, false} {
		t.Run(fmt.Sprint("cached=", cached), func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				s := new(source)
				token, key := s.add()
				other, otherKey := s.add()
				a := newAuthenticator(t, s, atEpoch)
				stream, others := openStream(t, a, &key), openStream(t, a, &otherKey)
				checkResult(t, "the other, before", get(a, other), Allowed)
				goOn := make(chan struct{})
				early := make(chan Decision, 1)
				if cached {
					early <- get(a, token)
				} else {
					s.during = func(key *apikey.Key) (*apikey.Key, error) {
						<-goOn
						return key, nil
					}
					go func() { early <- get(a, token) }()
					bubble.Wait() // the look-up has read the key
				}
				digests := []apikey.Digest{key.Digest}
				a.Changed(apikey.Outcome{Stale: digests, Ended: digests, InDoubt: true})
				checkResult(t, "at once", get(a, token), Unavailable)
				stream.lasts(t, "a stream of the key", 0, Unavailable)
				close(goOn)
				checkResult(t, "the early check", <-early, Allowed)
				bubble.Wait()
				for range 2 {
					checkResult(t, "later", get(a, token), Unavailable)
				}
				d := get(a, other)
				checkResult(t, "the other", d, Allowed)
				if d.Lookup != Hit {
					t.Errorf("the other: got %q, want %q", d.Lookup, Hit)
				}
				others.goesOn(t, "a stream of the other")
			})
		})
	}
}

// A look-up reads a key, the key is revoked, and then the look-up returns the old
// state.
func TestChanged_duringALookup(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := new(source)
		token, key := s.add()
		goOn := make(chan struct{})
		s.during = func(key *apikey.Key) (*apikey.Key, error) {
			if key.RevokedAt.IsZero() {
				<-goOn
			}
			return key, nil
		}
		a := newAuthenticator(t, s, atEpoch)
		early := make(chan Decision, 1)
		go func() { early <- get(a, token) }()
		bubble.Wait() // the look-up has read the key as it was

		revoke(s, a, key)
		checkResult(t, "while the old look-up still waits", get(a, token), Revoked)
		close(goOn)
		// It began before the revocation was answered, so both results are right.
		if d := <-early; d.Result != Allowed && d.Result != Revoked {
			t.Errorf("the early check: got %q, want %q or %q", d.Result, Allowed, Revoked)
		}
		bubble.Wait()
		checkResult(t, "after the old look-up has returned", get(a, token), Revoked)
	})
}

// The same without a request in between: the result of the overtaken look-up must
// not be cached.
func TestChanged_duringALookup_unobserved(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := new(source)
		token, key := s.add()
		goOn := make(chan struct{})
		s.during = func(key *apikey.Key) (*apikey.Key, error) {
			<-goOn
			return key, nil
		}
		a := newAuthenticator(t, s, atEpoch)
		go get(a, token)
		bubble.Wait()
		revoke(s, a, key)
		close(goOn)
		bubble.Wait()
		checkResult(t, "after the old look-up has returned", get(a, token), Revoked)
	})
}

// No check that begins after Changed has returned lets a revoked key pass, cached
// or not, with any number of concurrent look-ups.
func TestChanged_whileMany(t *testing.T) {
	s := new(source)
	a := newAuthenticator(t, s, atEpoch)
	for round := range 100 {
		token, key := s.add()
		if round%2 == 0 {
			checkResult(t, "warm", get(a, token), Allowed)
		}
		var answered atomic.Bool
		var accepted atomic.Int64
		var readers sync.WaitGroup
		for range 4 {
			readers.Go(func() {
				for {
					after := answered.Load()
					if d := get(a, token); after {
						if d.Result != Revoked {
							t.Errorf("round %d: got %q after the revocation was answered", round, d.Result)
						}
						return
					} else if d.Allowed() {
						accepted.Add(1)
					}
				}
			})
		}
		readers.Go(func() {
			revoke(s, a, key)
			answered.Store(true)
		})
		readers.Wait()
	}
}

func TestCheck_oneLookupForAll(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := new(source)
		token, _ := s.add()
		goOn := make(chan struct{})
		s.during = func(key *apikey.Key) (*apikey.Key, error) {
			<-goOn
			return key, nil
		}
		a := newAuthenticator(t, s, atEpoch)
		const requests = 100
		decisions := make(chan Decision, requests)
		for range requests {
			go func() { decisions <- get(a, token) }()
		}
		bubble.Wait()
		close(goOn)
		for range requests {
			checkResult(t, "one of many", <-decisions, Allowed)
		}
		if got := s.lookups.Load(); got != 1 {
			t.Errorf("got %d look-ups, want 1", got)
		}
	})
}

func TestCheck_storeFails(t *testing.T) {
	for name, during := range map[string]func(*apikey.Key) (*apikey.Key, error){
		"error":               func(*apikey.Key) (*apikey.Key, error) { return nil, errors.New("corrupt") },
		"error with a key":    func(key *apikey.Key) (*apikey.Key, error) { return key, errors.New("corrupt") },
		"unavailable":         func(*apikey.Key) (*apikey.Key, error) { return nil, apikey.ErrStoreUnavailable },
		"canceled":            func(*apikey.Key) (*apikey.Key, error) { return nil, context.Canceled },
		"neither":             func(*apikey.Key) (*apikey.Key, error) { return nil, nil },
		"panic":               func(*apikey.Key) (*apikey.Key, error) { panic("a broken page") },
		"panic of an error":   func(*apikey.Key) (*apikey.Key, error) { panic(errors.New("a broken page")) },
		"not found, by panic": func(*apikey.Key) (*apikey.Key, error) { panic(apikey.ErrNotFound) },
	} {
		s := new(source)
		token, _ := s.add()
		a := newAuthenticator(t, s, atEpoch)
		s.during = during
		for range 2 {
			d := get(a, token)
			checkResult(t, name, d, Unavailable)
			if d.Key != nil || d.Lookup != Failed {
				t.Errorf("%s: got the key %v and the lookup %q, want none and %q", name, d.Key, d.Lookup, Failed)
			}
		}
		s.during = nil
		checkResult(t, "once the store has recovered from: "+name, get(a, token), Allowed)
	}
}

func TestCheck_notFoundIsUnknown(t *testing.T) {
	s := new(source)
	token, _ := s.add()
	a := newAuthenticator(t, s, atEpoch)
	s.during = func(*apikey.Key) (*apikey.Key, error) {
		return nil, fmt.Errorf("looking for a digest: %w", apikey.ErrNotFound)
	}
	checkResult(t, "a wrapped ErrNotFound", get(a, token), Unknown)
}

func TestCheck_panicIsLogged(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	s := new(source)
	token, _ := s.add()
	a, err := New(s, 10, atEpoch, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	s.during = func(*apikey.Key) (*apikey.Key, error) { panic("a broken page") }
	checkResult(t, "panic", get(a, token), Unavailable)
	entries := logs.FilterLevelExact(zapcore.ErrorLevel).All()
	if len(entries) != 1 {
		t.Fatalf("got %d errors in the log, want 1", len(entries))
	}
	if got := fmt.Sprint(entries[0].ContextMap()); !strings.Contains(got, "a broken page") || !strings.Contains(got, "Grant") {
		t.Errorf("got %s, want what happened and where", got)
	} else if strings.Contains(got, token.Reveal()) {
		t.Errorf("the log has the token: %s", got)
	}
}

func TestCheck_slowStore(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := new(source)
		token, _ := s.add()
		goOn := make(chan struct{})
		s.during = func(key *apikey.Key) (*apikey.Key, error) {
			<-goOn
			return key, nil
		}
		a := newAuthenticator(t, s, atEpoch)
		start := time.Now()
		checkResult(t, "a store that hangs", get(a, token), Unavailable)
		if got := time.Since(start); got != lookupTimeout {
			t.Errorf("the check took %v, want %v", got, lookupTimeout)
		}
		close(goOn)
		bubble.Wait()
		checkResult(t, "once the store has answered", get(a, token), Allowed)
		if got := s.lookups.Load(); got != 1 {
			t.Errorf("got %d look-ups, want 1: the late answer is as good as any", got)
		}
	})
}

// Checks of one key that ask at different times while the store hangs wait for as long each,
// whether or not the key has changed meanwhile. What they asked with is reused, and must not
// get their late answer.
func TestCheck_slowStore_oneAfterAnother(t *testing.T) {
	for name, change := range map[string]func(*Authenticator, apikey.Digest){
		"unchanged": func(*Authenticator, apikey.Digest) {},
		"changed": func(a *Authenticator, digest apikey.Digest) {
			a.Changed(apikey.Outcome{Stale: []apikey.Digest{digest}})
		},
	} {
		bubble.Test(t, func(t *testing.T) {
			s := new(source)
			slow, key := s.add()
			readOnly, other := fullKey()
			other.Preset = apikey.ReadOnly
			s.put(other)
			goOn := map[apikey.Digest]chan struct{}{key.Digest: make(chan struct{}), other.Digest: make(chan struct{})}
			s.during = func(found *apikey.Key) (*apikey.Key, error) {
				<-goOn[found.Digest]
				return found, nil
			}
			a := newAuthenticator(t, s, atEpoch)
			var waiting sync.WaitGroup
			for range 3 {
				waiting.Go(func() {
					start := time.Now()
					checkResult(t, name+": a store that hangs", get(a, slow), Unavailable)
					if got := time.Since(start); got > lookupTimeout || got < lookupTimeout-tick {
						t.Errorf("%s: the check took %v, want at most %v, and nearly as much", name, got, lookupTimeout)
					}
				})
				time.Sleep(lookupTimeout/3 + tick/3)
			}
			change(a, key.Digest)
			waiting.Wait()
			for range 3 { // one for each question
				waiting.Go(func() {
					checkResult(t, name+": another key", a.Check(context.Background(), policy, request(http.MethodPost, readOnly)), ReadOnly)
				})
			}
			bubble.Wait()
			close(goOn[key.Digest])
			bubble.Wait()
			close(goOn[other.Digest])
			waiting.Wait()
			checkResult(t, name+": once the store has answered", get(a, slow), Allowed)
		})
	}
}

func TestCheck_clientHangsUp(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := new(source)
		token, _ := s.add()
		goOn := make(chan struct{})
		s.during = func(key *apikey.Key) (*apikey.Key, error) {
			<-goOn
			return key, nil
		}
		a := newAuthenticator(t, s, atEpoch)
		start := time.Now()
		ctx, hangUp := context.WithCancel(context.Background())
		first, second := make(chan Decision, 1), make(chan Decision, 1)
		go func() { first <- a.Check(ctx, policy, request(http.MethodGet, token)) }()
		bubble.Wait() // the first caller owns the look-up
		go func() { second <- get(a, token) }()
		bubble.Wait()
		hangUp()
		gone := <-first
		if got := time.Since(start); got > tick {
			t.Errorf("who hung up waited %v, want at most %v", got, tick)
		}
		checkResult(t, "who hung up", gone, Unavailable)
		if gone.Lookup != Miss {
			t.Errorf("who hung up: got the lookup %q, want %q: the store has not failed", gone.Lookup, Miss)
		}
		close(goOn)
		checkResult(t, "who waited", <-second, Allowed)
	})
}

func TestCheck_tooManyWait(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := new(source)
		warm, _ := s.add()
		a := newAuthenticator(t, s, atEpoch)
		checkResult(t, "warm", get(a, warm), Allowed)

		goOn := make(chan struct{})
		s.during = func(key *apikey.Key) (*apikey.Key, error) {
			<-goOn
			return key, nil
		}
		waiting := make(chan Decision, maxReaders)
		for range maxReaders {
			token, _ := s.add()
			go func() { waiting <- get(a, token) }()
		}
		bubble.Wait()

		cold, _ := s.add()
		refuseAtOnce := func(what string) {
			t.Helper()
			start := time.Now()
			checkResult(t, what, get(a, cold), Unavailable)
			if got := time.Since(start); got != 0 {
				t.Errorf("%s: the check took %v, want no time", what, got)
			}
		}
		refuseAtOnce("one too many")
		checkResult(t, "a remembered key waits for nobody", get(a, warm), Allowed)
		for range maxReaders {
			checkResult(t, "one of those that wait", <-waiting, Unavailable)
		}
		refuseAtOnce("they gave up, but the store still hangs")

		close(goOn)
		bubble.Wait()
		checkResult(t, "once the store has answered", get(a, cold), Allowed)
		if got := len(a.keys.readers.all); got > maxIdle {
			t.Errorf("%d readers stay, want at most %d", got, maxIdle)
		}
	})
}

// The clock is read after the look-up, even if that takes long.
func TestCheck_expiresDuringALookup(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := new(source)
		token, key := s.add()
		key.ExpiresAt = time.Now().Add(time.Second)
		s.put(key)
		s.during = func(key *apikey.Key) (*apikey.Key, error) {
			time.Sleep(time.Second)
			return key, nil
		}
		checkResult(t, "expired meanwhile", get(newAuthenticator(t, s, time.Now), token), Expired)
	})
}

func TestClose(t *testing.T) {
	s := new(source)
	warm, _ := s.add()
	cold, _ := s.add()
	unknown, _ := fullKey()
	a := newAuthenticator(t, s, atEpoch)
	checkResult(t, "before", get(a, warm), Allowed)
	a.Close()
	checkResult(t, "a remembered key", get(a, warm), Unavailable)
	checkResult(t, "another key", get(a, cold), Unavailable)
	checkResult(t, "an unknown key", get(a, unknown), Unavailable)
	if got := s.lookups.Load(); got != 1 {
		t.Errorf("got %d look-ups, want none after closing", got-1)
	}
}

func TestRemember(t *testing.T) {
	s := new(source)
	a := newAuthenticator(t, s, atEpoch)
	var tokens []apikey.Token
	for range 100 {
		token, _ := s.add()
		tokens = append(tokens, token)
		checkResult(t, "cold", get(a, token), Allowed)
	}
	a.Remember(10)
	a.keys.entries.CleanUp()
	if got := a.keys.entries.EstimatedSize(); got > 10 {
		t.Errorf("got %d keys remembered, want at most 10", got)
	}
	for _, token := range tokens {
		checkResult(t, "remembered or not", get(a, token), Allowed)
	}
}

// A token whose digest begins like that of a cached key is another one.
func TestCache_halfDigest(t *testing.T) {
	s := new(source)
	token, key := s.add()
	a := newAuthenticator(t, s, atEpoch)
	checkResult(t, "the key", get(a, token), Allowed)
	other := key.Digest
	other[len(other)-1]++
	if found, ok := a.keys.cached(other); ok {
		t.Errorf("got the key %s by the digest of another", found.ID())
	}
	if _, _, err := a.keys.get(t.Context(), other); err != errUnknown {
		t.Errorf("got error %v, want %v", err, errUnknown)
	}
	if _, ok := a.keys.cached(key.Digest); !ok {
		t.Error("the key is not cached any more")
	}
}
