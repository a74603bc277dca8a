package store

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"pgregory.net/rapid"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

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
