package test

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// TestRotate verifies what the holder of a key can tell of its rotation: answers to the old
// key say that there is another one, and when it will end; it then ends by itself.
func TestRotate(t *testing.T) {
	t.Parallel()
	s := start(t, gatewayConfig)
	for _, c := range s.Clients(t) {
		t.Run(c.Name, func(t *testing.T) {
			get := func(token string) gatewaytest.Answer {
				t.Helper()
				return c.Send(t, "GET", "/public/v1/contacts", nil, "Authorization", "Bearer "+token)
			}
			rotate := func(id string, revokeOldIn *string) client.Rotation {
				t.Helper()
				rotated, err := s.Keys().RotateKey(t.Context(), "acme", id, client.RotateRequest{RevokeOldIn: revokeOldIn})
				must(t, err)
				return rotated
			}
			key, first := s.Create("acme", "Key over "+c.Name, "full_access")
			wantHeaders(t, get(first), 200, "", "")

			// Without an end of its own, the old key stays active.
			before := time.Now()
			rotated := rotate(key.ID, nil)
			got := get(first)
			at := deprecation(t, got)
			if at.Before(before.Truncate(time.Second)) || at.After(time.Now()) {
				t.Errorf("got Deprecation %v, want the time of the rotation", at)
			}
			wantHeaders(t, got, 200, got.Header.Get("Deprecation"), "")
			wantHeaders(t, get(rotated.Token), 200, "", "")

			// With one, answers say when that is, and then it is over. The key's own
			// cached copy ends as well: it is asked until then.
			wait := "3s"
			again := rotate(rotated.Key.ID, &wait)
			ends := again.Replaced.RevokesAt
			if ends == nil {
				t.Fatal("got no revokes_at for the old key")
			}
			got = get(rotated.Token)
			wantHeaders(t, got, 200, got.Header.Get("Deprecation"), ends.UTC().Format(http.TimeFormat))
			deprecation(t, got)
			wantHeaders(t, get(again.Token), 200, "", "")
			for time.Now().Before(ends.Add(-100 * time.Millisecond)) {
				if got := get(rotated.Token); got.Status != 200 && time.Now().Before(*ends) {
					t.Fatalf("got status %d at %v, before it ends at %v", got.Status, time.Now(), ends)
				}
				time.Sleep(100 * time.Millisecond)
			}
			time.Sleep(time.Until(ends.Add(5 * time.Millisecond)))
			got = get(rotated.Token)
			if want := `Bearer realm="api", error="invalid_token", error_description="The token was revoked."`; got.Status != 401 || got.Header.Get("WWW-Authenticate") != want {
				t.Errorf("got %d with %q after revokes_at, want 401 with %q", got.Status, got.Header.Get("WWW-Authenticate"), want)
			}
			shown, err := s.Keys().ShowKey(t.Context(), "acme", rotated.Key.ID)
			must(t, err)
			if shown.Status != "revoked" || shown.RevokedAt == nil || !shown.RevokedAt.Equal(*ends) {
				t.Errorf("got %+v, want a key revoked at %v", shown, ends)
			}
			wantHeaders(t, get(again.Token), 200, "", "")
		})
	}
}

func wantHeaders(t *testing.T, got gatewaytest.Answer, status int, deprecation, sunset string) {
	t.Helper()
	if got.Status != status || got.Header.Get("Deprecation") != deprecation || got.Header.Get("Sunset") != sunset {
		t.Errorf("got %d, Deprecation %q, Sunset %q; want %d, %q, %q",
			got.Status, got.Header.Get("Deprecation"), got.Header.Get("Sunset"), status, deprecation, sunset)
	}
}

// deprecation returns the date that an answer's Deprecation states (RFC 9745).
func deprecation(t *testing.T, got gatewaytest.Answer) time.Time {
	t.Helper()
	value := got.Header.Get("Deprecation")
	if len(value) < 2 || value[0] != '@' {
		t.Fatalf("got Deprecation %q, want @ and seconds since 1970", value)
	}
	seconds, err := strconv.ParseInt(value[1:], 10, 64)
	must(t, err)
	return time.Unix(seconds, 0)
}
