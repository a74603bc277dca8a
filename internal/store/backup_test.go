package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// mustBackup returns a backup.
func mustBackup(t testing.TB, s *Store, at time.Time) []byte {
	t.Helper()
	file, err := s.Backup(t.Context(), at)
	if err != nil {
		t.Fatalf("Backup: got error %v, want none", err)
	}
	defer file.Close()
	content, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func restoreAt(t testing.TB, s *Store, backup []byte, at time.Time, do apikey.Restore) (apikey.Restored, error) {
	t.Helper()
	change := changeAt(at, nil)
	return s.Restore(t.Context(), bytes.NewReader(backup), change, do, io.Discard)
}

func mustRestore(t testing.TB, s *Store, backup []byte, at time.Time) apikey.Restored {
	t.Helper()
	done, err := restoreAt(t, s, backup, at, apikey.Restore{})
	if err != nil {
		t.Fatalf("Restore: got error %v, want none", err)
	}
	return done
}

// records returns what is in a store, without what is its own, and without what is
// in the order in which the keys have come and gone.
func records(t testing.TB, s *Store) map[string]string {
	t.Helper()
	found := contents(t, s)
	maps.DeleteFunc(found, func(key, _ string) bool { return strings.Contains("m/ n/ x/ y/", key[:2]) })
	return found
}

// history fills a store with all that can be in one, and returns its keys.
func history(t testing.TB, s *Store) map[string]apikey.Key {
	t.Helper()
	at := func(hours int) time.Time { return start.Add(time.Duration(hours) * time.Hour) }
	keys := map[string]apikey.Key{
		"active":  mustCreate(t, s, "acme", "Zapier production", at(0)),
		"revoked": mustCreate(t, s, "acme", "Warehouse sync", at(1)),
		"rotated": mustCreate(t, s, "acme", "Finance export", at(2)),
		"exposed": mustCreate(t, s, "other", "Shop", at(3)),
		"unpaid":  mustCreate(t, s, "unpaid", "Till", at(4)),
	}
	mustRevoke(t, s, keys["revoked"], at(5))
	rotate := rotation(keys["rotated"], at(6))
	rotate.RevokeOldAt = at(30)
	keys["replacement"] = mustApply(t, s, at(6), rotate).Key
	mustApply(t, s, at(7), apikey.Expose{WorkspaceID: "other", KeyID: keys["exposed"].ID})
	mustApply(t, s, at(7), apikey.Leak{WorkspaceID: "other", KeyID: keys["exposed"].ID, Source: "github", URL: "https://example.com/code"})
	mustApply(t, s, at(8), apikey.Suspend{WorkspaceID: "unpaid", Reason: "invoice 4711"})
	mustApply(t, s, at(9), apikey.OpenFeed{WorkspaceID: "acme", Digest: digestOf("an ended feed")})
	mustApply(t, s, at(9), apikey.OpenFeed{WorkspaceID: "acme", Digest: digestOf("feed")})
	mustNote(t, s, map[string]time.Time{keys["active"].ID: at(10), keys["rotated"].ID: at(11)})
	return keys
}

func TestBackup_comesBack(t *testing.T) {
	s := openNew(t)
	keys := history(t, s)
	now := start.Add(24 * time.Hour)
	backup := mustBackup(t, s, now)

	other := openNew(t)
	done := mustRestore(t, other, backup, now.Add(time.Hour))
	equal(t, "restored", done, apikey.Restored{MadeAt: now, WasEmpty: true, Keys: len(keys), Suspended: 1, Events: len(allEvents(t, s, ""))})
	equal(t, "the restored store", records(t, other), records(t, s))
	equal(t, "counts", census(t, other, now), census(t, s, now))
	events := allEvents(t, other, "")
	equal(t, "operation", events[0].Operation, apikey.OpRestore)
	equal(t, "the events before", events[1:], allEvents(t, s, ""))
	refused(t, other, now, apikey.Create{Key: newKey("acme", "zapier PRODUCTION", now)}, apikey.ErrNameTaken)
	wantNoSpool(t, other)

	again := mustRestore(t, other, backup, now.Add(2*time.Hour))
	equal(t, "restored again", again, apikey.Restored{MadeAt: now, Known: len(keys)})
	equal(t, "the store, restored twice", records(t, other), records(t, s))
}

// endsAfter is a context that ends once it was asked so often whether it has.
type endsAfter struct {
	context.Context
	asked int
}

func (c *endsAfter) Err() error {
	if c.asked--; c.asked < 0 {
		return context.Canceled
	}
	return nil
}

// TestRestore_interrupted: the rest of a restore into an empty store is one into
// an empty store too, until it has come to its end.
func TestRestore_interrupted(t *testing.T) {
	s := openNew(t)
	const keys = restoredAtOnce + 50
	for i := range keys {
		mustCreate(t, s, "acme", fmt.Sprint("Key ", i), start)
	}
	now := start.Add(time.Hour)
	backup := mustBackup(t, s, now)

	other := openNew(t)
	const lines = 1 + 2*keys + 1 // each key has its event
	ends := &endsAfter{t.Context(), lines + keys + 20}
	_, err := other.Restore(ends, bytes.NewReader(backup), changeAt(now, nil), apikey.Restore{}, io.Discard)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("Restore: got error %v, want one saying that it was cancelled", err)
	}
	equal(t, "keys after the first batch", len(keysByID(t, other)), restoredAtOnce)

	other = reopen(t, other)
	equal(t, "finding", told(mustCheck(t, other))["restore"], "error: A restore of the backup of 2026-03-01T13:00:00Z was started but did not finish: keys are missing.")
	done := mustRestore(t, other, backup, now)
	equal(t, "findings afterwards", told(mustCheck(t, other)), map[string]string{})
	equal(t, "restored", done, apikey.Restored{MadeAt: now, WasEmpty: true, Keys: keys - restoredAtOnce, Known: restoredAtOnce, Events: keys})
	done = mustRestore(t, other, backup, now)
	equal(t, "restored again", done, apikey.Restored{MadeAt: now, Known: keys})
}

// TestBackup_elsewhere: what can be read can be saved, even where the disk of the
// store is full, or its directory is gone.
func TestBackup_elsewhere(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(s *Store) error
	}{
		{"full", func(s *Store) error { leave(s, 0); return nil }},
		{"moved", func(s *Store) error { return os.Rename(s.Path(), s.Path()+".moved") }},
		{"unreadable", func(s *Store) error { return os.Chmod(s.Path(), 0) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := openNew(t)
			keys := history(t, s)
			want := records(t, s)
			if err := test.spoil(s); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.Chmod(s.Path(), 0o700) })
			backup := mustBackup(t, s, start.Add(24*time.Hour))
			other := openNew(t)
			equal(t, "keys", mustRestore(t, other, backup, start.Add(24*time.Hour)).Keys, len(keys))
			equal(t, "records", records(t, other), want)
			if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "*.spool")); len(left) > 0 {
				t.Errorf("got %q left behind, want nothing", left)
			}
		})
	}
}

func wantNoSpool(t *testing.T, s *Store) {
	t.Helper()
	if left, _ := filepath.Glob(filepath.Join(s.Path(), "*.spool")); len(left) > 0 {
		t.Errorf("got %q left behind, want nothing", left)
	}
}

func TestBackup_newerForm(t *testing.T) {
	var out bytes.Buffer
	s := openNew(t)
	w := newLineWriter(durable.Unpaced(t.Context()), apikey.BackupKey{}, &out)
	if err := errors.Join(w.write(backupLine{Begin: &backupBegin{Version: backupVersion + 1, MadeAt: 1}}), w.end()); err != nil {
		t.Fatal(err)
	}
	_, err := restoreAt(t, s, zstdOf(t, out.Bytes()), start, apikey.Restore{})
	if !errors.Is(err, apikey.ErrInvalidBackup) || !strings.Contains(err.Error(), "format 2") {
		t.Errorf("got error %v, want one that names the form", err)
	}
}

// A crash in the middle of a backup leaves nothing that keeps the store shut.
func TestOpen_removesWhatWasSpooled(t *testing.T) {
	s := openNew(t)
	closeStore(t, s)
	if err := os.WriteFile(filepath.Join(s.Path(), "123.spool"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantNoSpool(t, reopen(t, s))
}

// Work that leaves room for requests ends as soon as nobody waits for it.
func TestPacer_cancelled(t *testing.T) {
	const recordsAtOnce = 16 // more of them than a pacer lets pass at once
	s := openNew(t)
	for range 3 * recordsAtOnce {
		mustCreate(t, s, "acme", apikey.NewKeyID(start), start)
	}
	ends := &endsAfter{t.Context(), 2 * recordsAtOnce}
	if _, err := s.Backup(ends, start); !errors.Is(err, context.Canceled) {
		t.Errorf("Backup: got error %v, want %v", err, context.Canceled)
	}
	ends = &endsAfter{t.Context(), 2 * recordsAtOnce}
	if _, err := s.Check(ends, start); !errors.Is(err, context.Canceled) {
		t.Errorf("Check: got error %v, want %v", err, context.Canceled)
	}
}
