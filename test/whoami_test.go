package test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// TestWhoami verifies what a key is told of itself, and that the upstream has no part in
// it.
func TestWhoami(t *testing.T) {
	t.Parallel()
	s := start(t, withOptions("whoami /public/v1/me", "rate_limit read 4 10m"))
	for _, c := range s.Clients(t) {
		for _, preset := range []string{"full_access", "read_only"} {
			t.Run(c.Name+"/"+preset, func(t *testing.T) {
				key, token := s.Create("acme", strings.Map(dashed, preset+" over "+c.Name), preset)
				got := c.Send(t, "GET", "/public/v1/me?verbose=1", nil, bearer(token)...)
				if got.Status != 200 || got.Header.Get("Content-Type") != "application/json" || got.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("got %d %v, want 200, JSON, not stored", got.Status, got.Header)
				}
				wantWhoami(t, got.Body, key)
				head := c.Send(t, "HEAD", "/public/v1/me", nil, bearer(token)...)
				if head.Status != 200 || head.Body != "" || head.Header.Get("Content-Type") != "application/json" {
					t.Errorf("got %d %q for HEAD, want 200 without a body", head.Status, head.Body)
				}
				s.wantNothing(t)

				for _, path := range []string{"/public/v1/me/", "/public/v1/ME"} {
					s.wantPassed(t, c.Send(t, "GET", path, nil, bearer(token)...))
				}
				if got := c.Send(t, "GET", "/public/v1/me", nil, bearer(token)...); got.Status != 429 {
					t.Errorf("got status %d, want 429: it counts as a read", got.Status)
				}
				got = c.Send(t, "POST", "/public/v1/me", nil, bearer(token)...)
				if preset == "read_only" {
					s.wantRefused(t, got, 403, forbidden, needsWrite)
				} else {
					s.wantPassed(t, got)
				}
			})
		}
		t.Run(c.Name+"/refused", func(t *testing.T) {
			key, revoked := s.Create("acme", "Revoked over "+strings.Map(dashed, c.Name), "full_access")
			s.Revoke(key)
			s.wantRefused(t, c.Send(t, "GET", "/public/v1/me", nil), 401, unauthorized, challenge)
			s.wantRefused(t, c.Send(t, "GET", "/public/v1/me", nil, bearer(gatewaytest.OtherToken(revoked))...), 401, unauthorized, invalidToken)
			s.wantRefused(t, c.Send(t, "GET", "/public/v1/me", nil, bearer(revoked)...), 401, unauthorized,
				invalidToken+`, error_description="The token was revoked."`)
		})
	}
}

// dashed leaves what a name may always hold.
func dashed(r rune) rune {
	if r == '/' || r == '_' {
		return '-'
	}
	return r
}

// wantWhoami checks an answer to its last member.
func wantWhoami(t *testing.T, body string, key client.Key) {
	t.Helper()
	var got map[string]map[string]any
	must(t, json.Unmarshal([]byte(body), &got))
	for member, want := range map[string][]string{
		"workspace": {"id"},
		"key":       {"abilities", "created_at", "expires_at", "id", "name", "preset"},
	} {
		if names := slices.Sorted(maps.Keys(got[member])); !slices.Equal(names, want) {
			t.Errorf("got %s with %q, want %q", member, names, want)
		}
	}
	abilities := []any{"read", "write"}
	if key.Preset == "read_only" {
		abilities = abilities[:1]
	}
	if got, ok := got["key"]["abilities"].([]any); !ok || !slices.Equal(got, abilities) {
		t.Errorf("got the abilities %v, want %v", got, abilities)
	}
	for _, want := range []struct{ member, name, value string }{
		{"workspace", "id", key.WorkspaceID}, {"key", "id", key.ID}, {"key", "name", key.Name}, {"key", "preset", key.Preset},
		{"key", "created_at", key.CreatedAt.Format(time.RFC3339Nano)}, {"key", "expires_at", key.ExpiresAt.Format(time.RFC3339Nano)},
	} {
		if got := got[want.member][want.name]; got != want.value {
			t.Errorf("got %s.%s %q, want %q", want.member, want.name, got, want.value)
		}
	}
	if len(got) != 2 {
		t.Errorf("got %s, want two members", body)
	}
}

// TestExpiryNotice verifies that a client hears of the end of its key for the last 14 days,
// and not before.
func TestExpiryNotice(t *testing.T) {
	t.Parallel()
	s := start(t, withOptions("whoami /public/v1/me"))
	for _, c := range s.Clients(t) {
		for life, noticed := range map[string]bool{"1h": true, "13d": true, "335h59m": true, "336h1m": false, "15d": false, "90d": false} {
			t.Run(c.Name+"/"+life, func(t *testing.T) {
				made, err := s.Keys().CreateKey(t.Context(), "acme", client.CreateRequest{
					Name: strings.Map(dashed, "Lives "+life+" over "+c.Name), Preset: "read_only", ExpiresIn: &life,
				})
				must(t, err)
				want := ""
				if noticed {
					want = made.Key.ExpiresAt.Format(time.RFC3339)
				}
				got := c.Send(t, "GET", contacts, nil, bearer(made.Token)...)
				s.wantPassed(t, got)
				if got := got.Header.Get("X-API-Key-Expires"); got != want {
					t.Errorf("got X-API-Key-Expires %q, want %q", got, want)
				}
				for _, other := range []gatewaytest.Answer{
					c.Send(t, "POST", contacts, nil, bearer(made.Token)...),
					c.Send(t, "GET", "/public/v1/me", nil, bearer(made.Token)...),
				} {
					if got := other.Header.Get("X-API-Key-Expires"); got != "" {
						t.Errorf("got X-API-Key-Expires %q on a %d of the gateway, want none", got, other.Status)
					}
				}
			})
		}
	}
}
