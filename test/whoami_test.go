package test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// TestWhoami holds what a key is told of itself, and that the upstream has no
// part in it.
func TestWhoami(t *testing.T) {
	t.Parallel()
	s := start(t, withOptions("whoami /public/v1/me", "rate_limit read 4 10m"))
	for _, c := range clients(t, s) {
		for _, preset := range []string{"full_access", "read_only"} {
			t.Run(c.name+"/"+preset, func(t *testing.T) {
				key, token := s.create("acme", strings.Map(dashed, preset+" over "+c.name), preset)
				got := c.send(t, "GET", "/public/v1/me?verbose=1", nil, bearer(token)...)
				if got.status != 200 || got.header.Get("Content-Type") != "application/json" || got.header.Get("Cache-Control") != "no-store" {
					t.Errorf("got %d %v, want 200, JSON, not stored", got.status, got.header)
				}
				wantWhoami(t, got.body, key)
				head := c.send(t, "HEAD", "/public/v1/me", nil, bearer(token)...)
				if head.status != 200 || head.body != "" || head.header.Get("Content-Type") != "application/json" {
					t.Errorf("got %d %q for HEAD, want 200 without a body", head.status, head.body)
				}
				s.wantNothing(t)

				for _, path := range []string{"/public/v1/me/", "/public/v1/ME"} {
					s.wantPassed(t, c.send(t, "GET", path, nil, bearer(token)...))
				}
				if got := c.send(t, "GET", "/public/v1/me", nil, bearer(token)...); got.status != 429 {
					t.Errorf("got status %d, want 429: it counts as a read", got.status)
				}
				got = c.send(t, "POST", "/public/v1/me", nil, bearer(token)...)
				if preset == "read_only" {
					s.wantRefused(t, got, 403, forbidden, needsWrite)
				} else {
					s.wantPassed(t, got)
				}
			})
		}
		t.Run(c.name+"/refused", func(t *testing.T) {
			key, revoked := s.create("acme", "Revoked over "+strings.Map(dashed, c.name), "full_access")
			s.revoke(key)
			s.wantRefused(t, c.send(t, "GET", "/public/v1/me", nil), 401, unauthorized, challenge)
			s.wantRefused(t, c.send(t, "GET", "/public/v1/me", nil, bearer(reChecksum(revoked))...), 401, unauthorized, invalidToken)
			s.wantRefused(t, c.send(t, "GET", "/public/v1/me", nil, bearer(revoked)...), 401, unauthorized,
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

// TestExpiryNotice holds that a client hears of the end of its key for the last
// 14 days, and not before.
func TestExpiryNotice(t *testing.T) {
	t.Parallel()
	s := start(t, withOptions("whoami /public/v1/me"))
	for _, c := range clients(t, s) {
		for life, noticed := range map[string]bool{"1h": true, "13d": true, "335h59m": true, "336h1m": false, "15d": false, "90d": false} {
			t.Run(c.name+"/"+life, func(t *testing.T) {
				made, err := s.keys().CreateKey(t.Context(), "acme", client.CreateRequest{
					Name: strings.Map(dashed, "Lives "+life+" over "+c.name), Preset: "read_only", ExpiresIn: &life,
				})
				must(t, err)
				want := ""
				if noticed {
					want = made.Key.ExpiresAt.Format(time.RFC3339)
				}
				got := c.send(t, "GET", contacts, nil, bearer(made.Token)...)
				s.wantPassed(t, got)
				if got := got.header.Get("X-API-Key-Expires"); got != want {
					t.Errorf("got X-API-Key-Expires %q, want %q", got, want)
				}
				for _, other := range []answer{
					c.send(t, "POST", contacts, nil, bearer(made.Token)...),
					c.send(t, "GET", "/public/v1/me", nil, bearer(made.Token)...),
				} {
					if got := other.header.Get("X-API-Key-Expires"); got != "" {
						t.Errorf("got X-API-Key-Expires %q on a %d of the gateway, want none", got, other.status)
					}
				}
			})
		}
	}
}
