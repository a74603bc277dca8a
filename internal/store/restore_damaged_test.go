package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// TestRestore_largeRecords: what fits into the store fits into it again.
func TestRestore_largeRecords(t *testing.T) {
	s := openNew(t)
	now := start.Add(time.Hour)
	ids := make([]string, maxRevoked)
	for i := range ids {
		ids[i] = apikey.NewKeyID(start)
	}
	details := map[string]any{"reason": strings.Repeat("\U0001F511", 500), "revoked": float64(len(ids)), "key_ids": ids}
	for i := range restoredAtOnce {
		err := behind(s, func(txn *transaction) error {
			return putEvent(txn, toEventRecord(apikey.Event{
				ID: apikey.NewEventID(start.Add(time.Duration(i) * time.Second)), At: start, Actor: "tester", Operation: apikey.OpRevokeAll, WorkspaceID: "acme", Details: details,
			}))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	other := openNew(t)
	done := mustRestore(t, other, mustBackup(t, s, now), now)
	equal(t, "events", done.Events, restoredAtOnce)
	equal(t, "the trail", allEvents(t, other, "acme"), allEvents(t, s, "acme"))
}

// TestRestore_damaged: a backup is whole, or changes nothing.
func TestRestore_damaged(t *testing.T) {
	lost := openNew(t)
	history(t, lost)
	now := start.Add(24 * time.Hour)
	backup := mustBackup(t, lost, now)
	whole := openNew(t)
	mustRestore(t, whole, backup, now)

	damaged := map[string][]byte{
		"nothing": nil, "something else": []byte("PK\x03\x04 of another kind"), "more": append(slices.Clone(backup), "more"...),
		"twice": append(slices.Clone(backup), backup...), "a swap": swapped(backup),
	}
	for i := 0; i < len(backup); i += 11 {
		flipped := slices.Clone(backup)
		flipped[i] ^= 1 << (i % 8)
		damaged[fmt.Sprintf("a bit of byte %d", i)] = flipped
	}
	for i := 1; i < len(backup); i += 37 {
		damaged[fmt.Sprintf("only %d bytes", i)] = backup[:i]
	}
	refusals := 0
	s := openNew(t)
	empty := contents(t, s)
	for name, content := range damaged {
		_, err := restoreAt(t, s, content, now, apikey.Restore{})
		if err == nil { // a bit that means nothing, such as one of the header's
			equal(t, name, records(t, s), records(t, whole))
			s = openNew(t)
			continue
		}
		if !errors.Is(err, apikey.ErrInvalidBackup) {
			t.Errorf("%s: got error %v, want %v", name, err, apikey.ErrInvalidBackup)
		}
		equal(t, name, contents(t, s), empty)
		refusals++
	}
	if refusals < len(damaged)*9/10 {
		t.Errorf("got %d of %d refused, want nearly all", refusals, len(damaged))
	}
	wantNoSpool(t, s)
}

// swapped returns a backup whose halves have changed places.
func swapped(backup []byte) []byte {
	half := len(backup) / 2
	return slices.Concat(backup[half:], backup[:half])
}

func zstdOf(t testing.TB, content []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(content, nil)
}

// A record that is damaged is in no backup: it would be found when that is restored.
func TestBackup_damagedRecord(t *testing.T) {
	s := openNew(t)
	mustCreate(t, s, "acme", "Zapier", start)
	if err := behind(s, func(txn *transaction) error { return txn.Set(recordKey("key_z"), []byte(`{"id":`)) }); err != nil {
		t.Fatal(err)
	}
	if file, err := s.Backup(t.Context(), start); err == nil {
		file.Close()
		t.Error("got a backup, want an error")
	}
}

// Records that together are too many for one transaction are restored in several.
func TestRestore_longTexts(t *testing.T) {
	long := strings.Repeat("\uFDFA", apikey.MaxName) // a ligature that is folded to eighteen characters
	var lines []backupLine
	for n := range 2 * restoredAtOnce / 5 { // enough for them not to fit
		lines = append(lines, craftedKey(n+1, func(r *keyRecord) {
			r.Name, r.Owner = string([]rune(long)[:70])+fmt.Sprintf("%010d", n), long
			r.WorkspaceID = strings.Repeat("w", 54) + fmt.Sprintf("%010d", n)
		}))
	}
	few, most := restoredIn(t, lines[:1]), restoredIn(t, lines)
	if few == 0 || most <= few {
		t.Errorf("got %d transactions for one key and %d for %d, want more for so many", few, most, len(lines))
	}
}

// restoredIn restores keys, and returns in how many transactions.
func restoredIn(t *testing.T, lines []backupLine) uint64 {
	t.Helper()
	s := openNew(t)
	revision := func() (n uint64) {
		if err := s.db.Change(t.Context(), "", false, func(turn *durable.Turn) error { n = turn.Revision(); return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := revision()
	equal(t, "keys", mustRestore(t, s, crafted(t, apikey.BackupKey{}, lines...), start).Keys, len(lines))
	equal(t, "findings", check(t, s, start), map[string]string{})
	return revision() - before
}
