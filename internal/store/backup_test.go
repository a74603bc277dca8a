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
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"go.uber.org/zap"
	"pgregory.net/rapid"

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

// TestRestore_storeKnowsBetter: what was done after the backup stays done.
func TestRestore_storeKnowsBetter(t *testing.T) {
	s := openNew(t)
	keys := history(t, s)
	now := start.Add(24 * time.Hour)
	backup := mustBackup(t, s, now)

	mustRevoke(t, s, keys["active"], now.Add(time.Minute))
	mustCreate(t, s, "acme", "Made later", now.Add(2*time.Minute))
	mustApply(t, s, now.Add(3*time.Minute), renaming(keys["exposed"], "Shop in Bern"))
	mustApply(t, s, now.Add(4*time.Minute), apikey.Resume{WorkspaceID: "unpaid"})
	mustApply(t, s, now.Add(5*time.Minute), apikey.CloseFeed{WorkspaceID: "acme"})
	want := records(t, s)
	done := mustRestore(t, s, backup, now.Add(time.Hour))
	equal(t, "restored", done, apikey.Restored{MadeAt: now, Known: len(keys)})
	equal(t, "the store", records(t, s), want)
}

// TestRestore_backupKnowsBetter: a store that was itself brought back to before the backup
// hears of what had ended, and so does anything that remembers a key.
func TestRestore_backupKnowsBetter(t *testing.T) {
	s := openNew(t)
	key := mustCreate(t, s, "acme", "Zapier production", start)
	old := mustBackup(t, s, start.Add(time.Hour))
	mustRevoke(t, s, key, start.Add(2*time.Hour))
	newer := mustBackup(t, s, start.Add(3*time.Hour))

	var told []apikey.Outcome
	back := open(t, filepath.Join(t.TempDir(), "keys"), func(o apikey.Outcome) { told = append(told, o) })
	now := start.Add(4 * time.Hour)
	mustRestore(t, back, old, now)
	equal(t, "status", statusOf(t, back, key, now), apikey.Active)
	told = nil
	done := mustRestore(t, back, newer, now)
	equal(t, "revoked", done.Revoked, 1)
	equal(t, "status", statusOf(t, back, key, now), apikey.Revoked)
	if len(told) == 0 || !slices.Contains(told[0].Ended, key.Digest) {
		t.Errorf("got told %v, want to be told that the key has ended", told)
	}
	equal(t, "counts", census(t, back, now), census(t, s, now))
}

func statusOf(t testing.TB, s *Store, key apikey.Key, now time.Time) apikey.Status {
	t.Helper()
	found := lookup(t, s, key.Digest)
	return found.Status(now)
}

func TestRestore_nameTakenMeanwhile(t *testing.T) {
	lost := openNew(t)
	key := mustCreate(t, lost, "acme", "Zapier production", start)
	backup := mustBackup(t, lost, start.Add(time.Hour))

	s := openNew(t)
	now := start.Add(24 * time.Hour)
	other := mustCreate(t, s, "acme", "zapier production", now)
	done := mustRestore(t, s, backup, now)
	equal(t, "renamed", done.Renamed, 1)
	equal(t, "name", lookup(t, s, key.Digest).Name, "Zapier production (restored 2026-03-02)")
	equal(t, "the other's name", lookup(t, s, other.Digest).Name, "zapier production")
	for _, name := range []string{"Zapier production", "zapier production (Restored 2026-03-02)"} {
		refused(t, s, now, apikey.Create{Key: newKey("acme", name, now)}, apikey.ErrNameTaken)
	}
}

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

func TestRenamed(t *testing.T) {
	long := strings.Repeat("ü", apikey.MaxName)
	for _, which := range []string{"1", "9", apikey.NewKeyID(start)} {
		got := renamed(long, start, which)
		if name, err := apikey.ParseName(got); err != nil || name != got {
			t.Errorf("renamed(%s): got %q, which is no name: %v", which, got, err)
		}
	}
}

func TestRestore_quarantine(t *testing.T) {
	lost := openNew(t)
	keys := history(t, lost)
	backup := mustBackup(t, lost, start.Add(24*time.Hour))

	now := start.Add(48 * time.Hour)
	active := make(map[apikey.Digest]bool)
	var s *Store
	s = open(t, filepath.Join(t.TempDir(), "keys"), func(apikey.Outcome) {
		for _, key := range keys {
			if found, err := s.Lookup(key.Digest); err == nil && found.Status(now) == apikey.Active {
				ws, err := s.Workspace(t.Context(), key.WorkspaceID)
				active[key.Digest] = err == nil && !ws.Suspended()
			}
		}
	})
	done, err := restoreAt(t, s, backup, now, apikey.Restore{Quarantine: true})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "quarantined", done.Quarantined, 3)
	for _, ws := range []string{"acme", "other", "unpaid"} {
		equal(t, ws+" suspended", suspended(t, s, ws), true)
	}
	if len(active) == 0 {
		t.Error("no active key was seen during the restore")
	}
	for digest, usable := range active {
		if usable {
			t.Errorf("the key of %x could be used while it was restored", digest)
		}
	}
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

// TestRestore_revivesNothing restores backups of any age into stores of any age:
// a key that one of the two knows to be revoked is revoked, none is lost, and no
// two active keys have one name.
func TestRestore_revivesNothing(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		fresh := func() *Store {
			s, err := Open(filepath.Join(t.TempDir(), "keys"), zap.NewNop(), nil)
			if err != nil {
				r.Fatal(err)
			}
			return s
		}
		s, now := fresh(), start
		defer func() { closeStore(t, s) }() // one at a time: an open store takes memory
		var backups []snapshot
		var ids []string
		step := func() time.Time { now = now.Add(time.Minute); return now }
		anyKey := func(r *rapid.T) (key apikey.Key, ok bool) {
			if len(ids) == 0 {
				return key, false
			}
			found, err := s.Key(t.Context(), "acme", rapid.SampledFrom(ids).Draw(r, "key"))
			if err != nil {
				return key, false // made in a store that was lost
			}
			return *found, true
		}
		tryApply := func(do apikey.Action) apikey.Outcome {
			outcome, err := s.Apply(t.Context(), changeAt(step(), do))
			if _, refusal := errors.AsType[*apikey.Error](err); err != nil && !refusal {
				r.Fatalf("Apply(%T): %v", do, err)
			}
			return outcome
		}
		r.Repeat(map[string]func(*rapid.T){
			"create": func(r *rapid.T) {
				name := rapid.SampledFrom([]string{"Zapier", "Warehouse", "Finance"}).Draw(r, "name")
				if key := tryApply(apikey.Create{Key: newKey("acme", name, now)}).Key; key.ID != "" {
					ids = append(ids, key.ID)
				}
			},
			"revoke": func(r *rapid.T) {
				if key, ok := anyKey(r); ok {
					tryApply(apikey.Revoke{WorkspaceID: "acme", KeyID: key.ID})
				}
			},
			"rotate": func(r *rapid.T) {
				if key, ok := anyKey(r); ok {
					rotate := rotation(key, now)
					if rapid.Bool().Draw(r, "scheduled") {
						rotate.RevokeOldAt = now.Add(5 * time.Minute)
					}
					if made := tryApply(rotate).Key; made.ID != "" {
						ids = append(ids, made.ID)
					}
				}
			},
			"backup": func(*rapid.T) { backups = append(backups, snapshot{mustBackup(t, s, step()), keysByID(t, s)}) },
			"lose": func(r *rapid.T) {
				if rapid.IntRange(0, 4).Draw(r, "luck") > 0 {
					return // it takes long to make a store
				}
				closeStore(t, s)
				s = fresh()
			},
			"restore": func(r *rapid.T) {
				if len(backups) == 0 {
					return
				}
				backup := rapid.SampledFrom(backups).Draw(r, "backup")
				before := keysByID(t, s)
				mustRestore(t, s, backup.content, step())
				after := keysByID(t, s)
				for _, known := range []map[string]apikey.Key{before, backup.keys} {
					for id, key := range known {
						if _, there := after[id]; !there {
							r.Fatalf("%s is lost", id)
						}
						got := after[id]
						if key.Status(now) == apikey.Revoked && got.Status(now) != apikey.Revoked {
							r.Fatalf("%s is %s again", id, got.Status(now))
						}
					}
				}
				checkNames(r, after, now)
				if got, want := census(t, s, now), counted(after, now); got.Keys[apikey.Active][apikey.ReadOnly] != want {
					r.Fatalf("got %d active keys counted, want %d", got.Keys[apikey.Active][apikey.ReadOnly], want)
				}
			},
		})
	})
}

// snapshot is a backup, and the keys that there were.
type snapshot struct {
	content []byte
	keys    map[string]apikey.Key
}

func keysByID(t testing.TB, s *Store) map[string]apikey.Key {
	t.Helper()
	all, _, err := s.Keys(t.Context(), "acme", apikey.KeyFilter{}, apikey.Page{Limit: 1000}, start)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]apikey.Key)
	for _, key := range all {
		found[key.ID] = *key
	}
	return found
}

func counted(keys map[string]apikey.Key, now time.Time) (n int) {
	for _, key := range keys {
		if key.Status(now) == apikey.Active {
			n++
		}
	}
	return n
}

// checkNames fails if two active keys have one name of which neither replaces
// the other.
func checkNames(r *rapid.T, keys map[string]apikey.Key, now time.Time) {
	root := func(key apikey.Key) string {
		for keys[key.Replaces].ID != "" {
			key = keys[key.Replaces]
		}
		return key.ID
	}
	holders := make(map[string]string)
	for _, key := range keys {
		if key.Status(now) != apikey.Active {
			continue
		}
		name := apikey.FoldName(key.Name)
		if other, taken := holders[name]; taken && other != root(key) {
			r.Fatalf("two active keys are called %q", name)
		}
		holders[name] = root(key)
	}
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
	for n := range restoredAtOnce {
		lines = append(lines, craftedKey(n+1, func(r *keyRecord) {
			r.Name, r.Owner = string([]rune(long)[:70])+fmt.Sprintf("%010d", n), long
			r.WorkspaceID = strings.Repeat("w", 54) + fmt.Sprintf("%010d", n)
		}))
	}
	s := openNew(t)
	backup := crafted(t, apikey.BackupKey{}, lines...)
	equal(t, "keys", mustRestore(t, s, backup, start).Keys, len(lines))
	equal(t, "findings", check(t, s, start), map[string]string{})
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
