package store

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

func noteClock(t *testing.T, s *Store, note apikey.ClockNote) {
	t.Helper()
	if err := s.NoteClock(func() apikey.ClockNote { return note }); err != nil {
		t.Fatal(err)
	}
}

func TestClockNote(t *testing.T) {
	s := openNew(t)
	for _, note := range []apikey.ClockNote{
		{Confirmed: start},
		{Confirmed: start, Ahead: 91 * day, Stood: time.Hour},
		{Confirmed: start.Add(time.Minute)},
	} {
		noteClock(t, s, note)
		got, err := s.ClockNote()
		if err != nil || got != note {
			t.Errorf("got %v, %v, want %v", got, err, note)
		}
	}
}

// A store that is built from its journal does not take over the time of changes
// that were made while the clock was ahead.
func TestClock_rebuiltAfterAheadChanges(t *testing.T) {
	s := openNew(t)
	noteClock(t, s, apikey.ClockNote{Confirmed: start})
	mustApply(t, s, start.Add(time.Second), apikey.Create{Key: newKey("acme", "Zapier", start)})
	ahead := start.Add(91 * day)
	mustApply(t, s, ahead, apikey.Create{Key: newKey("acme", "Nightly export", ahead)})
	rebuilt := rebuildFrom(t, s)
	note, err := rebuilt.ClockNote()
	if err != nil || note.Confirmed.After(start.Add(time.Second)) {
		t.Errorf("got %v, %v, want the time of the change before the clock was ahead", note, err)
	}
}

// What a person revokes stays revoked, even where a clock that is ahead makes it
// look as if it had ended.
func TestClock_revokedWhileAhead(t *testing.T) {
	s := openNew(t)
	noteClock(t, s, apikey.ClockNote{Confirmed: start})
	expired := mustCreate(t, s, "acme", "Zapier", start)
	old := mustCreate(t, s, "acme", "Export", start)
	rotated := newKey("acme", "", start)
	mustApply(t, s, start, apikey.Rotate{WorkspaceID: "acme", KeyID: old.ID, Replacement: rotated, RevokeOldAt: start.Add(day)})
	ahead := start.Add(600 * day)
	mustApply(t, s, ahead, apikey.Revoke{WorkspaceID: "acme", KeyID: old.ID})
	revoked := lookup(t, s, old.Digest)
	equal(t, "when the old key was revoked", revoked.RevokedAt, start.Add(day)) // and not by its schedule alone
	mustApply(t, s, ahead, apikey.RevokeAll{WorkspaceID: "acme", Reason: "left"})
	for _, key := range []apikey.Key{expired, old, rotated} {
		if got := lookup(t, s, key.Digest); got.Status(start.Add(time.Hour)) != apikey.Revoked {
			t.Errorf("%s: got %s when the clock is right again, want revoked", got.Name, got.Status(start.Add(time.Hour)))
		}
	}
}

// What a clock that is a little ahead takes for ended may be active by the clocks of other
// gateways, or once it is corrected. A person who revokes that ends it for good.
func TestRevoke_endedByThisClock(t *testing.T) {
	each := func(revoke func(apikey.Key) apikey.Action) func(expired, rotated apikey.Key) []apikey.Action {
		return func(expired, rotated apikey.Key) []apikey.Action {
			return []apikey.Action{revoke(expired), revoke(rotated)}
		}
	}
	for name, revoke := range map[string]func(expired, rotated apikey.Key) []apikey.Action{
		"revoke": each(func(k apikey.Key) apikey.Action {
			return apikey.Revoke{WorkspaceID: k.WorkspaceID, KeyID: k.ID}
		}),
		"leak": each(func(k apikey.Key) apikey.Action {
			return apikey.Leak{WorkspaceID: k.WorkspaceID, KeyID: k.ID, URL: "https://example.com/", Revoke: true}
		}),
		"revoke all": func(_, _ apikey.Key) []apikey.Action {
			return []apikey.Action{apikey.RevokeAll{WorkspaceID: "acme", Reason: "left"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := openNew(t)
			expired := newKey("acme", "Zapier", start)
			expired.ExpiresAt = start.Add(time.Minute)
			mustApply(t, s, start, apikey.Create{Key: expired})
			rotated := mustCreate(t, s, "acme", "Export", start)
			mustApply(t, s, start, apikey.Rotate{WorkspaceID: "acme", KeyID: rotated.ID, Replacement: newKey("acme", "", start), RevokeOldAt: start.Add(time.Minute)})
			ahead := start.Add(2 * time.Minute)
			noteClock(t, s, apikey.ClockNote{Confirmed: ahead}) // as a gateway of a fleet has it, however wrong
			if err := s.SettleEnds(t.Context(), ahead); err != nil {
				t.Fatal(err)
			}
			actions := revoke(expired, rotated)
			for _, do := range actions {
				mustApply(t, s, ahead, do)
			}
			for _, key := range []apikey.Key{expired, rotated} {
				stored := lookup(t, s, key.Digest)
				if got := stored.Status(start); got != apikey.Revoked {
					t.Errorf("%s: got %s by the right clock, want it revoked", key.Name, got)
				}
			}
			equal(t, "when the rotated key was revoked", lookup(t, s, rotated.Digest).RevokedAt, start.Add(time.Minute))
			for _, do := range actions {
				if got := mustApply(t, s, ahead, do); !got.Unchanged {
					t.Errorf("%+v, again: got %+v, want nothing changed", do, got)
				}
			}
		})
	}
}

// doctor names the keys that a clock which was ahead has made, and no others.
func TestCheck_keysFromTheFuture(t *testing.T) {
	s := openNew(t)
	mustCreate(t, s, "acme", "Zapier", start)
	equal(t, "findings", check(t, s, start), map[string]string{})
	mustCreate(t, s, "acme", "Export", start.Add(91*day))
	mustCreate(t, s, "acme", "Import", start)
	want := "warning: A clock that was ahead made 1 of the keys, and the last of those ends at " + start.Add(181*day).Format(time.RFC3339) + "."
	equal(t, "findings", check(t, s, start), map[string]string{"clock": want})
	equal(t, "findings 91 days later", check(t, s, start.Add(91*day)), map[string]string{})
}

// doctor says when the machine's clock differs from what the store has seen.
func TestCheck_clock(t *testing.T) {
	s := openNew(t)
	noteClock(t, s, apikey.ClockNote{Confirmed: start})
	for off, want := range map[time.Duration]string{
		-600 * day:   "error: The clock says 2024-07-09T12:00:00Z, but the latest recorded time is 2026-03-01T12:00:00Z.",
		-time.Hour:   "error: The clock says 2026-03-01T11:00:00Z, but the latest recorded time is 2026-03-01T12:00:00Z.",
		-time.Second: "", time.Hour: "",
		91 * day: "warning: The clock says 2026-05-31T12:00:00Z, and the store is certain only of 2026-03-01T12:00:00Z.",
	} {
		equal(t, "finding", check(t, s, start.Add(off))["clock"], want)
	}
}

// rebuildFrom closes a store, damages Badger's files, and opens it.
func rebuildFrom(t *testing.T, s *Store) *Store {
	t.Helper()
	closeStore(t, s)
	tables, err := filepath.Glob(filepath.Join(s.Path(), "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("got tables %q, %v, want some", tables, err)
	}
	if err := os.Truncate(tables[0], 100); err != nil {
		t.Fatal(err)
	}
	return open(t, s.Path(), nil)
}
