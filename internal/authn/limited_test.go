package authn

import (
	"context"
	"net/http"
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
	limited := &Policy{ReadMethods: policy.ReadMethods, ReadLimit: limitOf(1, time.Second)}
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

// limitOf returns a limit that each gateway has for itself.
func limitOf(n int, window time.Duration) Limit {
	return Limit{Limit: ratelimit.Limit{N: n, Window: window}}
}

// TestShare: the gateways of a fleet divide a limit that is for all of them.
func TestShare(t *testing.T) {
	for _, tt := range []struct {
		limit, gateways int
		perFleet        bool
		want            int
	}{
		{60, 1, true, 60}, {60, 3, true, 20}, {10, 3, true, 3}, {2, 3, true, 1},
		{60, 3, false, 60},
	} {
		s := new(source)
		token, _ := s.add()
		a := newAuthenticator(t, s, atEpoch)
		a.Share(tt.gateways)
		limit := limitOf(tt.limit, time.Hour)
		limit.PerFleet = tt.perFleet
		limited := &Policy{ReadMethods: policy.ReadMethods, ReadLimit: limit}
		got := 0
		var d Decision
		for range tt.limit + 1 {
			if d = a.Check(context.Background(), limited, request(http.MethodGet, token)); d.Allowed() {
				got++
			}
		}
		if got != tt.want || d.KeyQuota.Limit.N != tt.want {
			t.Errorf("%+v: %d requests passed, and clients were told %d; want %d", tt, got, d.KeyQuota.Limit.N, tt.want)
		}
	}
}
