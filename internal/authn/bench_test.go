package authn

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// uuid is a foreign token.
const uuid = "0190f1c2-8a4e-7c30-b0f5-0e6a3f1d2c4b"

func BenchmarkCheck(b *testing.B) {
	s := new(source)
	token, key := s.add()
	key.ExpiresAt = time.Now().Add(time.Hour)
	s.put(key)
	a := newAuthenticator(b, s, time.Now)
	facts := request(http.MethodGet, token)
	ctx := context.Background()
	check := func(b *testing.B, facts *Facts, want Result) {
		if d := a.Check(ctx, policy, facts); d.Result != want {
			b.Fatalf("got %q, want %q", d.Result, want)
		}
	}

	b.Run("cached", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			check(b, facts, Allowed)
		}
	})
	b.Run("cached, parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if d := a.Check(ctx, policy, facts); !d.Allowed() {
					b.Errorf("got %q, want %q", d.Result, Allowed)
					return
				}
			}
		})
	})
	b.Run("cold", func(b *testing.B) {
		b.ReportAllocs()
		stale := apikey.Outcome{Stale: []apikey.Digest{key.Digest}}
		for b.Loop() {
			a.Changed(stale)
			check(b, facts, Allowed)
		}
	})
	b.Run("unknown", func(b *testing.B) {
		b.ReportAllocs()
		token, _ := fullKey()
		facts := request(http.MethodGet, token)
		for b.Loop() {
			check(b, facts, Unknown)
		}
	})
	b.Run("unknown to the filter", func(b *testing.B) {
		s.sure = true
		defer func() { s.sure = false }()
		b.ReportAllocs()
		token, _ := fullKey()
		facts := request(http.MethodGet, token)
		for b.Loop() {
			check(b, facts, Unknown)
		}
	})
	b.Run("malformed", func(b *testing.B) {
		b.ReportAllocs()
		facts := &Facts{Method: http.MethodGet, Authorization: []string{"Bearer " + token.Reveal()[:52]}}
		for b.Loop() {
			check(b, facts, Malformed)
		}
	})
	accepting := *policy
	accepting.ForeignTokens, accepting.TokenPrefix = true, apikey.DefaultPrefix
	checkForeign := func(b *testing.B, facts *Facts, want Result) {
		if d := a.Check(ctx, &accepting, facts); d.Result != want {
			b.Fatalf("got %q, want %q", d.Result, want)
		}
	}
	imported := s.addForeign(uuid)
	imported.ExpiresAt = key.ExpiresAt
	s.put(imported)
	b.Run("foreign tokens, ours cached", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			checkForeign(b, facts, Allowed)
		}
	})
	b.Run("foreign tokens, cached", func(b *testing.B) {
		b.ReportAllocs()
		facts := &Facts{Method: http.MethodGet, Authorization: []string{"Bearer " + uuid}}
		for b.Loop() {
			checkForeign(b, facts, Allowed)
		}
	})
	b.Run("foreign tokens, unknown to the filter", func(b *testing.B) {
		s.sure = true
		defer func() { s.sure = false }()
		b.ReportAllocs()
		facts := &Facts{Method: http.MethodGet, Authorization: []string{"Bearer " + uuid + "x"}}
		for b.Loop() {
			checkForeign(b, facts, Unknown)
		}
	})
}

// A check of a cached key allocates nothing, with or without a lease.
func TestCheck_allocatesNothing(t *testing.T) {
	for name, lease := range map[string]Lease{"no lease": nil, "a lease": newLease(true)} {
		s := new(source)
		token, _ := s.add()
		s.addForeign(uuid)
		a := newAuthenticator(t, s, atEpoch)
		a.Require(lease)
		for _, facts := range []*Facts{request(http.MethodGet, token), {Method: http.MethodGet, Authorization: []string{"Bearer " + uuid}}} {
			checkResult(t, "cold", a.Check(context.Background(), foreign, facts), Allowed)
			if got := testing.AllocsPerRun(100, func() { a.Check(context.Background(), foreign, facts) }); got != 0 {
				t.Errorf("%s: got %v allocations, want 0", name, got)
			}
		}
	}
}

// What it adds to a check to count the request.
func BenchmarkUsage(b *testing.B) {
	a := newAuthenticator(b, new(source), time.Now)
	var key entry
	now := time.Now()
	for b.Loop() {
		a.usages.count(&key, asRead, now)
	}
}
