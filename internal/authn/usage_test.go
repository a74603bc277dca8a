package authn

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// counted are the counts that were flushed.
type counted map[apikey.KeyDay]apikey.Usage

func (c counted) write(more map[apikey.KeyDay]apikey.Usage) error {
	for one, usage := range more {
		c[one] = c[one].Plus(usage)
	}
	return nil
}

func (c counted) flush(t *testing.T, a *Authenticator) {
	t.Helper()
	if err := a.FlushUsage(c.write); err != nil {
		t.Fatalf("FlushUsage: got error %v, want none", err)
	}
}

func (c counted) are(t *testing.T, what string, want counted) {
	t.Helper()
	if !maps.Equal(c, want) {
		t.Errorf("%s: got %v, want %v", what, c, want)
	}
}

// What each request counts as. One whose key is not known counts for none, and neither
// does one that was refused before its key was asked for.
func TestUsage_whatCounts(t *testing.T) {
	limited := &Policy{ReadMethods: policy.ReadMethods, ReadLimit: limitOf(1, time.Hour)}
	full := func(s *source, _ *Authenticator, key apikey.Key) {
		key.Preset = apikey.FullAccess
		s.put(key)
	}
	for _, test := range []struct {
		title  string
		change func(*source, *Authenticator, apikey.Key)
		facts  func(*Facts)
		policy *Policy
		result Result
		want   apikey.Usage
	}{
		{title: "a read", result: Allowed, want: apikey.Usage{Reads: 1}},
		{title: "a write", change: full, facts: func(f *Facts) { f.Method = http.MethodPost }, result: Allowed, want: apikey.Usage{Writes: 1}},
		{title: "a write by a read-only key", facts: func(f *Facts) { f.Method = http.MethodPost }, result: ReadOnly, want: apikey.Usage{Refused: 1}},
		{title: "a browser", facts: func(f *Facts) { f.Browser = true }, result: Browser, want: apikey.Usage{Refused: 1}},
		{title: "over the limit", policy: limited, result: RateLimited, want: apikey.Usage{Reads: 1, RateLimited: 1}},
		{title: "revoked", change: revoke, result: Revoked, want: apikey.Usage{Refused: 1}},
		{title: "expired", change: func(s *source, _ *Authenticator, key apikey.Key) {
			key.ExpiresAt = epoch
			s.put(key)
		}, result: Expired, want: apikey.Usage{Refused: 1}},
		{title: "suspended", change: func(_ *source, a *Authenticator, key apikey.Key) {
			a.Changed(apikey.Outcome{Workspace: apikey.Workspace{ID: key.WorkspaceID, SuspendedAt: epoch}})
		}, result: Suspended, want: apikey.Usage{Refused: 1}},
		{title: "a preflight", facts: func(f *Facts) { f.Preflight = true }, result: Preflight},
		{title: "another method", facts: func(f *Facts) { f.Method = http.MethodTrace }, result: MethodNotAllowed},
		{title: "early data", facts: func(f *Facts) { f.EarlyData, f.Method = true, http.MethodPost }, result: EarlyData},
		{title: "malformed", facts: func(f *Facts) { f.Authorization[0] += "x" }, result: Malformed},
		{title: "unavailable", change: func(_ *source, a *Authenticator, _ apikey.Key) { a.Close() }, result: Unavailable},
	} {
		t.Run(test.title, func(t *testing.T) {
			s, got := new(source), counted{}
			token, key := s.add()
			key.Preset = apikey.ReadOnly
			s.put(key)
			a, err := New(s, 1000, atEpoch, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			if test.change != nil {
				test.change(s, a, key)
			}
			facts := request(http.MethodGet, token)
			if test.facts != nil {
				test.facts(facts)
			}
			rules := policy
			if test.policy != nil {
				rules = test.policy
				a.Check(context.Background(), rules, facts)
			}
			checkResult(t, "check", a.Check(context.Background(), rules, facts), test.result)
			got.flush(t, a)
			want := counted{}
			if test.want != (apikey.Usage{}) {
				want[apikey.KeyDay{KeyID: key.ID, Day: apikey.DayOf(epoch)}] = test.want
			}
			got.are(t, "counts", want)
			got.flush(t, a)
			got.are(t, "once more", want)
		})
	}
}

// A request that passes two blocks counts once; if the second refuses it, that counts too.
func TestUsage_twoBlocks(t *testing.T) {
	s, got := new(source), counted{}
	token, key := s.add()
	a := newAuthenticator(t, s, atEpoch)
	first := get(a, token)
	checkResult(t, "the first block", first, Allowed)
	again := &Facts{Method: http.MethodGet, Before: &Pass{Key: first.Key, Action: first.Action}}
	checkResult(t, "the second", a.Check(context.Background(), policy, again), Allowed)
	again.Browser = true
	checkResult(t, "a stricter one", a.Check(context.Background(), policy, again), Browser)
	got.flush(t, a)
	got.are(t, "counts", counted{{KeyID: key.ID, Day: apikey.DayOf(epoch)}: {Reads: 1, Refused: 1}})
}

// Requests count for the day on which they were judged, even if that comes back because a
// clock was corrected.
func TestUsage_days(t *testing.T) {
	s, got := new(source), counted{}
	now := epoch
	token, key := s.add()
	key.ExpiresAt = epoch.Add(100 * 24 * time.Hour)
	s.put(key)
	a := newAuthenticator(t, s, func() time.Time { return now })
	today, want := apikey.DayOf(epoch), counted{}
	for i, day := range []apikey.Day{0, 0, 1, 1, 3, 1, 0, 2, 4} {
		now = epoch.Add(time.Duration(day) * 24 * time.Hour)
		checkResult(t, fmt.Sprint("day ", day), get(a, token), Allowed)
		one := apikey.KeyDay{KeyID: key.ID, Day: today + day}
		want[one] = want[one].Plus(apikey.Usage{Reads: 1})
		if i%4 == 3 {
			got.flush(t, a)
		}
	}
	midnight := time.Date(2026, 5, 10, 0, 0, 0, 0, time.UTC)
	for at, day := range map[time.Time]apikey.Day{midnight.Add(-1): apikey.DayOf(epoch) + 8, midnight: apikey.DayOf(epoch) + 9} {
		now = at.In(time.FixedZone("elsewhere", -7*3600))
		checkResult(t, at.String(), get(a, token), Allowed)
		want[apikey.KeyDay{KeyID: key.ID, Day: day}] = apikey.Usage{Reads: 1}
	}
	got.flush(t, a)
	got.are(t, "counts", want)
}

// Every request counts once, whatever happens to its key, to the cache, to the clock and
// to the writes meanwhile.
func TestUsage_atOnce(t *testing.T) {
	s, got := new(source), counted{}
	var day atomic.Int64
	a := newAuthenticator(t, s, func() time.Time { return epoch.Add(time.Duration(day.Load()) * 24 * time.Hour) })
	tokens, keys := make([]apikey.Token, 8), make([]apikey.Key, 8)
	for i := range keys {
		tokens[i], keys[i] = s.add()
		keys[i].ExpiresAt = epoch.Add(1000 * 24 * time.Hour)
		s.put(keys[i])
	}
	const workers, requests = 4, 10_000
	done := make(chan struct{})
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			for i := range requests {
				n := (worker + i) % len(keys)
				if d := get(a, tokens[n]); d.Result != Allowed {
					t.Errorf("got %q, want %q", d.Result, Allowed)
					return
				}
				switch {
				case i%101 == 0:
					a.Changed(apikey.Outcome{Stale: []apikey.Digest{keys[n].Digest}})
				case i%997 == 0:
					day.Add(1 - 2*int64(i%2))
				}
			}
		})
	}
	go func() { wg.Wait(); close(done) }()
	for i, going := 0, true; going; i++ {
		select {
		case <-done:
			going = false
		default:
		}
		if err := a.FlushUsage(func(more map[apikey.KeyDay]apikey.Usage) error {
			if i%3 == 0 {
				return errNoPaper
			}
			return got.write(more)
		}); err != nil && err != errNoPaper {
			t.Error(err)
		}
	}
	got.flush(t, a)
	total := map[string]apikey.Usage{}
	for one, usage := range got {
		total[one.KeyID] = total[one.KeyID].Plus(usage)
	}
	for _, key := range keys {
		if want := (apikey.Usage{Reads: workers * requests / uint64(len(keys))}); total[key.ID] != want {
			t.Errorf("got %+v, want %+v", total[key.ID], want)
		}
	}
}

// While nothing can be written, memory is bounded.
func TestUsage_bounded(t *testing.T) {
	a := newAuthenticator(t, new(source), atEpoch)
	fail := func(map[apikey.KeyDay]apikey.Usage) error { return errNoPaper }
	keys := make([]entry, 3)
	for i := range keys {
		keys[i].Grant = anyGrant()
	}
	a.usages.unwritten = map[apikey.KeyDay]apikey.Usage{}
	for i := range maxUses - 1 {
		a.usages.unwritten[apikey.KeyDay{KeyID: fmt.Sprint(i)}] = apikey.Usage{Reads: 1}
	}
	for i := range keys {
		a.usages.count(&keys[i], asRead, epoch)
		a.usages.count(&keys[0], asRead, epoch)
		if err := a.FlushUsage(fail); err != errNoPaper {
			t.Errorf("got error %v, want what write said", err)
		}
	}
	got := counted{}
	got.flush(t, a)
	if len(got) != maxUses {
		t.Errorf("got the counts of %d keys, want %d", len(got), maxUses)
	}
	of := func(i int) uint64 { return got[apikey.KeyDay{KeyID: keys[i].ID(), Day: apikey.DayOf(epoch)}].Reads }
	if of(0) != 4 || of(1) != 0 || of(2) != 0 {
		t.Errorf("got %d, %d and %d, want all of the first key, and none of the others", of(0), of(1), of(2))
	}
	a.usages.count(&keys[1], asRead, epoch)
	got.flush(t, a)
	if of(1) != 1 {
		t.Errorf("got %d once it works again, want 1", of(1))
	}
}

// However long nothing is flushed, no request is forgotten.
func TestUsage_unflushed(t *testing.T) {
	a := newAuthenticator(t, new(source), atEpoch)
	key := &entry{Grant: anyGrant()}
	for range 3 {
		a.usages.count(key, asRead, epoch)
		key.usage.counts[asRead].Add(putAsideAt - 2) // as if there had been as many
		a.usages.count(key, asRead, epoch)
	}
	got := counted{}
	got.flush(t, a)
	if got := got[apikey.KeyDay{KeyID: key.ID(), Day: apikey.DayOf(epoch)}].Reads; got != 3*putAsideAt {
		t.Errorf("got %d requests, want %d", got, uint64(3*putAsideAt))
	}
}
