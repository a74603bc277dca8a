package authn

import (
	"context"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/ratelimit"
)

// TestRateLimited: a key counts once, however often it is refused, until five
// minutes after its last refusal.
func TestRateLimited(t *testing.T) {
	s, now := new(source), epoch
	busy, _ := s.add()
	late, _ := s.add()
	calm, _ := s.add()
	a := newAuthenticator(t, s, func() time.Time { return now })
	limited := &Policy{ReadMethods: policy.ReadMethods, ReadLimit: ratelimit.Limit{N: 1, Window: time.Second}}
	read := func(token apikey.Token, want Result) {
		t.Helper()
		checkResult(t, "a read", a.Check(context.Background(), limited, request("GET", token)), want)
	}
	wantKeys := func(when string, want int) {
		t.Helper()
		if got := a.RateLimited(); got != want {
			t.Errorf("%s: got %d keys, want %d", when, got, want)
		}
	}

	read(busy, Allowed)
	read(calm, Allowed)
	wantKeys("before any is refused", 0)
	for range 100 {
		read(busy, RateLimited)
	}
	wantKeys("once one is refused, often", 1)

	now = now.Add(time.Minute)
	read(late, Allowed)
	read(late, RateLimited)
	wantKeys("once another is refused", 2)
	now = epoch.Add(limitedFor - 1)
	wantKeys("just before the first has been calm for five minutes", 2)
	now = epoch.Add(limitedFor)
	wantKeys("when it has", 1)

	now = now.Add(time.Hour)
	a.Sweep()
	for id := range a.limited.keys.Range {
		t.Errorf("got %v remembered after an hour without a refusal, want nothing", id)
	}
}
