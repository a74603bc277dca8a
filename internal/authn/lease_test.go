package authn

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/testenv/bubble"
)

// lease is live or not, as its test says.
type lease struct{ live atomic.Bool }

func newLease(live bool) *lease {
	l := new(lease)
	l.live.Store(live)
	return l
}

func (l *lease) Live() bool { return l.live.Load() }

func TestCheck_lease(t *testing.T) {
	s := new(source)
	known, key := s.add()
	unknown, _ := fullKey()
	a := newAuthenticator(t, s, atEpoch)
	l := newLease(true)
	a.Require(l)
	checkResult(t, "live", get(a, known), Allowed)
	checkResult(t, "live, an unknown token", get(a, unknown), Unknown)
	granted := key.Grant()
	passed := &Facts{Method: http.MethodGet, Before: &Pass{Key: &granted}}

	l.live.Store(false)
	lookups := s.lookups.Load()
	for name, facts := range map[string]*Facts{
		"lapsed, a cached key":                 request(http.MethodGet, known),
		"lapsed, a write":                      request(http.MethodPost, known),
		"lapsed, an unknown token":             request(http.MethodGet, unknown),
		"lapsed, a request that passed before": passed,
	} {
		d := a.Check(context.Background(), policy, facts)
		checkResult(t, name, d, Unavailable)
		if d.Key != nil || d.Lookup != "" {
			t.Errorf("%s: the key was looked up", name)
		}
	}
	checkResult(t, "lapsed, a malformed token", a.Check(context.Background(), policy, &Facts{Authorization: []string{"Bearer x"}}), Malformed)
	checkResult(t, "lapsed, no token", a.Check(context.Background(), policy, &Facts{Method: http.MethodGet}), Missing)
	if got := s.lookups.Load() - lookups; got != 0 {
		t.Errorf("got %d look-ups without a lease, want none", got)
	}

	l.live.Store(true)
	checkResult(t, "live again", get(a, known), Allowed)
}

// A lease that comes back while the key is being looked up does not count: what was read
// may be older than what the lease stands for. One that lapses then is no reason to
// refuse: the request began while it was live.
func TestCheck_leaseBeforeLookup(t *testing.T) {
	cases := []struct {
		name string
		live bool
		want Result
	}{
		{"back during the look-up", false, Unavailable},
		{"lapsed during the look-up", true, Allowed},
	}
	for _, c := range cases {
		s := new(source)
		token, _ := s.add()
		a := newAuthenticator(t, s, atEpoch)
		l := newLease(c.live)
		a.Require(l)
		s.during = func(key *apikey.Key) (*apikey.Key, error) {
			l.live.Store(!c.live)
			return key, nil
		}
		checkResult(t, c.name, get(a, token), c.want)
	}
}

// A source that goes back to an earlier state may have keys again that were revoked. What
// is read from then on does not count for a request that began before, even if the lease
// that it began with has been replaced by a new one.
func TestCheck_sourceGoesBack(t *testing.T) {
	s := new(source)
	token, _ := s.add()
	a := newAuthenticator(t, s, atEpoch)
	l := newLease(true)
	a.Require(l)
	s.during = func(key *apikey.Key) (*apikey.Key, error) {
		l.live.Store(false)
		a.Changed(apikey.Outcome{GoesBack: true, Unchanged: true})
		l.live.Store(true)
		return key, nil
	}
	checkResult(t, "gone back during the look-up", get(a, token), Unavailable)
	s.during = nil
	checkResult(t, "a later request", get(a, token), Allowed)
}

// Streams end with the lease, whether something is passed on or not, and an end is final.
func TestStream_leaseLapses(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := new(source)
		key := liveKey(s)
		a := newAuthenticator(t, s, time.Now)
		l := newLease(true)
		a.Require(l)
		idle, busy := openStream(t, a, &key), beginStream(t, a, &key)
		time.Sleep(time.Minute + time.Millisecond)
		idle.goesOn(t, "one with a lease")
		busy.goesOn(t, "another")
		l.live.Store(false)
		idle.lasts(t, "one that is watched", time.Minute+streamInterval, Unavailable)
		if busy.Stands() || busy.Ended() != Unavailable {
			t.Errorf("got %q an interval later, want %q", busy.Ended(), Unavailable)
		}
		l.live.Store(true)
		if idle.Stands() || busy.Stands() {
			t.Error("got a stream that stands again, want it to have ended")
		}
		openStream(t, a, &key).goesOn(t, "one that begins then")
	})
}

// TestStream_leaseBeforeLookup: a lease that comes back while the key is being looked up
// comes too late for a stream as well.
func TestStream_leaseBeforeLookup(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := new(source)
		key := liveKey(s)
		a := newAuthenticator(t, s, time.Now)
		l := newLease(false)
		a.Require(l)
		s.during = func(key *apikey.Key) (*apikey.Key, error) {
			l.live.Store(true)
			return key, nil
		}
		openStream(t, a, &key).lasts(t, "a stream without a lease", streamInterval, Unavailable)
	})
}
