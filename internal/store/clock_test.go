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
