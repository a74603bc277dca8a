package test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/admin"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// TestClock_notedAtAnEnd holds that a key that was refused because it has ended
// stays so, whatever happens next: the store knows within seconds that the clock
// has come so far.
func TestClock_notedAtAnEnd(t *testing.T) {
	s := start(t, gatewayConfig)
	life := "1s"
	answer, err := s.keys().CreateKey(t.Context(), "acme", admin.CreateRequest{Name: "Short lived job", Preset: "full_access", ExpiresIn: &life})
	must(t, err)
	s.await("the key to be refused", func() bool {
		return clients(t, s)[0].send(t, "GET", "/public/v1/me", nil, "Authorization", "Bearer "+answer.Token).status == 401
	})
	s.await("the time to be noted", func() bool {
		left := filepath.Join(t.TempDir(), "keys") // as a kill would leave it
		if os.CopyFS(left, os.DirFS(s.Store)) != nil {
			return false // a file was removed meanwhile
		}
		keys, err := store.Open(left, zap.NewNop(), nil)
		must(t, err)
		mark, err := keys.ClockMark()
		must(t, errors.Join(err, keys.Close()))
		return !mark.Before(answer.Key.ExpiresAt)
	})
}

// TestClock_setBackWhileStopped holds that an expired key stays expired when the
// machine's clock is set back. The store remembers how late it has been: seen
// from there, a mark in the future and a clock in the past are the same.
func TestClock_setBackWhileStopped(t *testing.T) {
	s := start(t, gatewayConfig)
	hour := "1h"
	answer, err := s.keys().CreateKey(t.Context(), "acme", admin.CreateRequest{Name: "Nightly export", Preset: "read_only", ExpiresIn: &hour})
	must(t, err)
	bearer := []string{"Authorization", "Bearer " + answer.Token}
	if got := clients(t, s)[0].send(t, "GET", "/public/v1/me", nil, bearer...); got.status != 200 {
		t.Fatalf("got status %d before, want 200", got.status)
	}
	s.stop()

	keys, err := store.Open(s.Store, zap.NewNop(), nil)
	must(t, err)
	must(t, keys.SetClockMark(time.Now().Add(2*time.Hour)))
	must(t, keys.Close())

	s.exited = make(chan struct{})
	s.run(gatewayConfig)
	s.awaitReady()
	got := clients(t, s)[0].send(t, "GET", "/public/v1/me", nil, bearer...)
	if want := `error_description="The token expired."`; got.status != 401 || !strings.Contains(got.header.Get("WWW-Authenticate"), want) {
		t.Errorf("got %d %s, want 401 with %s", got.status, got.header.Get("WWW-Authenticate"), want)
	}
	if !strings.Contains(s.log.String(), "the clock of this machine is behind the time that the key store has seen") {
		t.Error("the log does not say that the clock is behind")
	}
}
