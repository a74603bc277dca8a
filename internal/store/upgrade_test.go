package store

import (
	"os"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// A backup of every form that there was can be restored.
func TestRestore_form1(t *testing.T) {
	backup, err := os.ReadFile("testdata/backup1")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, time.March, 2, 15, 8, 0, 0, time.UTC)
	s := openNew(t)
	done := mustRestore(t, s, backup, now)
	equal(t, "keys", done.Keys, 11)
	equal(t, "suspended", done.Suspended, 1)
	equal(t, "active keys", total(census(t, s, now).Keys[apikey.Active]), 8)
	equal(t, "revoked keys", total(census(t, s, now).Keys[apikey.Revoked]), 3)
	equal(t, "findings", check(t, s, now), map[string]string{})
}
