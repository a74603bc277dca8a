package test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// TestClock_notedAtAnEnd verifies that a key that was refused because it has ended stays
// so, whatever happens next: the store knows within seconds that the clock has come so far.
func TestClock_notedAtAnEnd(t *testing.T) {
	t.Parallel()
	s := start(t, gatewayConfig)
	life := "1s"
	answer, err := s.Keys().CreateKey(t.Context(), "acme", client.CreateRequest{Name: "Short lived job", Preset: "full_access", ExpiresIn: &life})
	must(t, err)
	s.Await("the key to be refused", func() bool {
		return s.Clients(t)[0].Send(t, "GET", "/public/v1/me", nil, "Authorization", "Bearer "+answer.Token).Status == 401
	})
	s.Await("the time to be noted", func() bool {
		left := filepath.Join(t.TempDir(), "keys") // as a kill would leave it
		if os.CopyFS(left, os.DirFS(s.Store)) != nil {
			return false // a file was removed meanwhile
		}
		keys, err := store.Open(left, zap.NewNop(), nil)
		must(t, err)
		note, err := keys.ClockNote()
		must(t, errors.Join(err, keys.Close()))
		return !note.Confirmed.Before(answer.Key.ExpiresAt)
	})
}

// TestClock_setBackWhileStopped verifies that an expired key stays expired when the
// machine's clock is set back. The store remembers how late it has been: seen from there, a
// mark in the future and a clock in the past are the same.
func TestClock_setBackWhileStopped(t *testing.T) {
	t.Parallel()
	s := start(t, gatewayConfig)
	hour := "1h"
	answer, err := s.Keys().CreateKey(t.Context(), "acme", client.CreateRequest{Name: "Nightly export", Preset: "read_only", ExpiresIn: &hour})
	must(t, err)
	bearer := []string{"Authorization", "Bearer " + answer.Token}
	if got := s.Clients(t)[0].Send(t, "GET", "/public/v1/me", nil, bearer...); got.Status != 200 {
		t.Fatalf("got status %d before, want 200", got.Status)
	}
	s.Stop()

	keys, err := store.Open(s.Store, zap.NewNop(), nil)
	must(t, err)
	must(t, keys.NoteClock(func() apikey.ClockNote { return apikey.ClockNote{Confirmed: time.Now().Add(2 * time.Hour)} }))
	must(t, keys.Close())

	s.Exited = make(chan struct{})
	s.Run(gatewayConfig)
	s.AwaitReady()
	got := s.Clients(t)[0].Send(t, "GET", "/public/v1/me", nil, bearer...)
	if want := `error_description="The token expired."`; got.Status != 401 || !strings.Contains(got.Header.Get("WWW-Authenticate"), want) {
		t.Errorf("got %d %s, want 401 with %s", got.Status, got.Header.Get("WWW-Authenticate"), want)
	}
	if !strings.Contains(s.Log.String(), "this machine's clock is behind the latest time recorded in the key store") {
		t.Error("the log does not say that the clock is behind")
	}
}

// aKey is a key as an earlier version of the world has made it.
func aKey(name string, created time.Time, life time.Duration) (apikey.Token, apikey.Key) {
	created = created.UTC().Truncate(time.Millisecond)
	token := apikey.NewToken(apikey.DefaultPrefix)
	return token, apikey.Key{
		ID: apikey.NewKeyID(created), WorkspaceID: "acme", Name: name, Preset: apikey.FullAccess,
		Digest: token.Digest(), TokenHint: token.Hint(), CreatedAt: created, ExpiresAt: created.Add(life),
	}
}

// while has the store to itself, between two runs of the server.
func (s *server) while(t *testing.T, do func(*store.Store)) {
	t.Helper()
	keys, err := store.Open(s.Store, zap.NewNop(), nil)
	must(t, err)
	do(keys)
	must(t, keys.Close())
}

func (s *server) startAgain() {
	s.Exited = make(chan struct{})
	s.Run(gatewayConfig)
	s.AwaitReady()
}

func (s *server) answersTo(t *testing.T, token apikey.Token) int {
	t.Helper()
	return s.Clients(t)[0].Send(t, "GET", "/public/v1/me", nil, "Authorization", "Bearer "+token.Reveal()).Status
}

// TestClock_aheadAtAStart verifies that a clock which is ahead at a start, by days or
// years, deletes nothing and ends no key for good: seen from the store, a clock that is
// ahead and a confirmed time that is behind are the same.
func TestClock_aheadAtAStart(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for _, by := range []time.Duration{91 * day, 600 * day} {
		t.Run(by.String(), func(t *testing.T) {
			s := start(t, gatewayConfig)
			s.Stop()
			right := time.Now().Add(-by)
			token, key := aKey("Nightly export", right.Add(-time.Hour), 90*day)
			s.while(t, func(keys *store.Store) {
				must(t, keys.NoteClock(func() apikey.ClockNote { return apikey.ClockNote{Confirmed: right} }))
				_, err := keys.Apply(t.Context(), apikey.Change{EventID: apikey.NewEventID(right), At: key.CreatedAt, Actor: "kim", Do: apikey.Create{Key: key}})
				must(t, err)
				for i := range 20 {
					_, err := keys.Apply(t.Context(), apikey.Change{EventID: apikey.NewEventID(right), At: right, Actor: "kim", Do: apikey.Suspend{WorkspaceID: fmt.Sprint("gone-", i)}})
					must(t, err)
				}
			})
			s.startAgain()
			if got := s.answersTo(t, token); got != 401 {
				t.Errorf("ahead: got status %d, want 401: no key outlives its end", got)
			}
			if !strings.Contains(s.Log.String(), "this machine's clock has jumped implausibly far ahead") {
				t.Error("the log does not say that the clock is ahead")
			}
			s.Stop()

			s.while(t, func(keys *store.Store) {
				if events, _, err := keys.Events(t.Context(), "", apikey.Page{Limit: 50}); err != nil || len(events) < 21 {
					t.Errorf("got %d events, %v, want all 21", len(events), err)
				}
				note, err := keys.ClockNote()
				must(t, err)
				if note.Ahead < by-time.Minute || note.Confirmed.After(right.Add(time.Minute)) {
					t.Errorf("got the note %v, want one that is %v ahead", note, by)
				}
				// The clock is set right: all that was noted is as far from it as before.
				note.Confirmed = note.Confirmed.Add(by)
				must(t, keys.NoteClock(func() apikey.ClockNote { return note }))
			})
			live, key := aKey("Zapier production", time.Now(), 90*day)
			s.while(t, func(keys *store.Store) {
				_, err := keys.Apply(t.Context(), apikey.Change{EventID: apikey.NewEventID(key.CreatedAt), At: key.CreatedAt, Actor: "kim", Do: apikey.Create{Key: key}})
				must(t, err)
			})
			s.startAgain()
			if got := s.answersTo(t, live); got != 200 {
				t.Errorf("set right: got status %d, want 200", got)
			}
			if !strings.Contains(s.Log.String(), "this machine's clock was ahead and has been corrected") {
				t.Error("the log does not say that the clock was ahead")
			}
		})
	}
}

// TestClock_trust verifies that an operator can set back a confirmed time that is ahead, on
// the running server: live keys pass again, and no revoked key does.
func TestClock_trust(t *testing.T) {
	t.Parallel()
	s := start(t, gatewayConfig)
	now := time.Now()
	live, liveKey := aKey("Nightly export", now, 90*24*time.Hour)
	revoked, revokedKey := aKey("Zapier production", now, 90*24*time.Hour)
	rotated, rotatedKey := aKey("Warehouse sync", now, 90*24*time.Hour)
	_, replacement := aKey("Warehouse sync", now, 90*24*time.Hour)
	s.Stop()
	s.while(t, func(keys *store.Store) {
		for _, do := range []apikey.Action{
			apikey.Create{Key: liveKey}, apikey.Create{Key: revokedKey}, apikey.Create{Key: rotatedKey},
			apikey.Revoke{WorkspaceID: "acme", KeyID: revokedKey.ID},
			apikey.Rotate{WorkspaceID: "acme", KeyID: rotatedKey.ID, Replacement: replacement, RevokeOldAt: now.Add(time.Hour)},
		} {
			_, err := keys.Apply(t.Context(), apikey.Change{EventID: apikey.NewEventID(now), At: liveKey.CreatedAt, Actor: "kim", Do: do})
			must(t, err)
		}
		must(t, keys.NoteClock(func() apikey.ClockNote { return apikey.ClockNote{Confirmed: now.Add(91 * 24 * time.Hour)} }))
	})
	s.startAgain()
	for name, token := range map[string]apikey.Token{"live": live, "revoked": revoked, "rotated": rotated} {
		if got := s.answersTo(t, token); got != 401 {
			t.Errorf("behind: the %s key is answered %d, want 401", name, got)
		}
	}
	clock, err := s.Keys().Clock(t.Context())
	must(t, err)
	if clock.Status != client.ClockBehind {
		t.Errorf("got the clock %+v, want it behind", clock)
	}
	answer, err := s.Keys().TrustClock(t.Context(), "NTP has set it")
	must(t, err)
	if answer.Clock.Status != client.ClockAgrees || answer.Revoked != 1 {
		t.Errorf("got %+v, want a clock that agrees, and one key revoked", answer)
	}
	check := func(when string) {
		t.Helper()
		for token, want := range map[apikey.Token]int{live: 200, revoked: 401, rotated: 401} {
			if got := s.answersTo(t, token); got != want {
				t.Errorf("%s: got %d, want %d", when, got, want)
			}
		}
	}
	check("trusted")
	s.Stop()
	s.startAgain()
	check("after a restart")
}
