package store

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// copyOf copies the directory of a store. Where the store is open, the copy is
// what a killed process would have left.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	err := filepath.WalkDir(dir, func(from string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, from)
		if err != nil {
			return err
		}
		to := filepath.Join(path, name)
		if entry.IsDir() {
			return os.Mkdir(to, 0o700)
		}
		content, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		// What ends in megabytes of zeros takes no room for them.
		if err := os.WriteFile(to, withoutZeros(content), 0o600); err != nil {
			return err
		}
		return os.Truncate(to, int64(len(content)))
	})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// withoutZeros returns a file's content without the zeros that it ends in: first
// whole pages of them, of which the race detector takes one look.
func withoutZeros(content []byte) []byte {
	var page [4096]byte
	for bytes.HasSuffix(content, page[:]) {
		content = content[:len(content)-len(page)]
	}
	return bytes.TrimRight(content, "\x00")
}

// keysOf returns a model of all keys in a store.
func keysOf(t *testing.T, s *Store) *model {
	t.Helper()
	m := &model{workspaces: map[string]apikey.Workspace{}}
	err := s.db.View(func(txn *badger.Txn) error {
		return each(txn, recordKey(""), func(item *badger.Item) error {
			key, err := decodeKey(item)
			if err != nil {
				return err
			}
			m.keys = append(m.keys, *key)
			return addUse(txn, &m.keys[len(m.keys)-1])
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	ids, err := s.SuspendedWorkspaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		m.workspaces[id] = apikey.Workspace{ID: id}
	}
	return m
}

// countsRight holds the census of a store against a plain count, at each of the
// given instants.
func countsRight(t *testing.T, s *Store, instants []time.Time) {
	t.Helper()
	m := keysOf(t, s)
	for _, now := range instants {
		equal(t, "census at "+now.String(), census(t, s, now), m.census(now))
	}
}

// testdata/schema1 is a store of schema 1, as its version left it: eleven keys,
// among them what has expired, was revoked or rotated, is to be revoked, and was
// used, and a suspended workspace.
func TestOpen_schema1(t *testing.T) {
	s := open(t, copyOf(t, "testdata/schema1"), nil)
	now := time.Date(2026, time.March, 2, 15, 8, 0, 0, time.UTC)
	equal(t, "census", census(t, s, now), tallied{inUse: map[time.Duration]int{day: 0, 7 * day: 1}, Census: Census{
		Keys: map[apikey.Status]map[apikey.Preset]int{
			apikey.Active:  {apikey.FullAccess: 4, apikey.ReadOnly: 4},
			apikey.Expired: {apikey.FullAccess: 0, apikey.ReadOnly: 0},
			apikey.Revoked: {apikey.FullAccess: 2, apikey.ReadOnly: 1},
		},
		Expiring:            map[time.Duration]int{day: 1, 7 * day: 3, 14 * day: 4, 30 * day: 4},
		SuspendedWorkspaces: 1,
	}})
	countsRight(t, s, keysOf(t, s).interesting())

	// Changes go on from there.
	for _, key := range keysOf(t, s).keys[:3] {
		mustRevoke(t, s, key, now)
	}
	mustCreate(t, s, "acme", "Billing", now)
	s = reopen(t, s)
	countsRight(t, s, keysOf(t, s).interesting())
	equal(t, "schema", contents(t, s)["m/schema"], fmt.Sprint(schemaVersion))
}

// openSchema1 opens a store of so many keys as schema 1 has it, and does not
// migrate it.
func openSchema1(t *testing.T, n int) *Store {
	t.Helper()
	s := openNew(t)
	keys := make([]apikey.Key, n)
	for i := range keys {
		keys[i] = newKey("acme", fmt.Sprint("Key ", i), start.Add(time.Duration(i)*time.Minute))
	}
	putKeys(t, s, keys)
	if err := s.db.DropPrefix([]byte("e/"), []byte("c/")); err != nil {
		t.Fatal(err)
	}
	makeSchema1(t, s)
	return s
}

// makeSchema1 makes an open store one of schema 1, which had no journal.
func makeSchema1(t *testing.T, s *Store) {
	t.Helper()
	put(t, s, schemaKey, []byte("1"))
	if err := os.RemoveAll(s.journalPath()); err != nil {
		t.Fatal(err)
	}
}

// Wherever the migration is interrupted, it goes on from there: no key is left
// out, and none counts twice.
func TestOpen_schema1Interrupted(t *testing.T) {
	s := openSchema1(t, 2*migratedAtOnce+100)
	instants := []time.Time{start, start.Add(life), start.Add(life + day), start.Add(2 * life)}
	left := []string{copyOf(t, s.Path())}
	if err := s.unjournaled(beginMigration); err != nil {
		t.Fatal(err)
	}
	for done := false; !done; {
		left = append(left, copyOf(t, s.Path()))
		var err error
		if _, done, err = s.migrateSome(); err != nil {
			t.Fatalf("migrateSome: got error %v, want none", err)
		}
	}
	left = append(left, copyOf(t, s.Path()))
	want := contents(t, s)
	want[string(schemaKey)] = fmt.Sprint(schemaVersion)
	equal(t, "stores left", len(left), 5)
	for _, path := range left {
		s := open(t, path, nil)
		equal(t, "the store", contents(t, s), want)
		countsRight(t, s, instants)
	}
}

// The index that a migration makes is the one that changes have kept.
func TestOpen_schema1SameIndex(t *testing.T) {
	s := openNew(t)
	key, other := mustCreate(t, s, "acme", "Zapier", start), mustCreate(t, s, "acme", "Billing", start)
	do := rotation(key, start)
	do.RevokeOldAt = start.Add(day)
	mustApply(t, s, start, do)
	mustRevoke(t, s, other, start.Add(time.Hour))
	want := contents(t, s)
	if err := s.db.DropPrefix([]byte("e/"), []byte("c/")); err != nil {
		t.Fatal(err)
	}
	makeSchema1(t, s)
	equal(t, "the store", contents(t, reopen(t, s)), want)
}

// A damaged record keeps no store from opening: it is said, and counts as no key.
func TestOpen_schema1Damaged(t *testing.T) {
	s := openSchema1(t, 3)
	damaged := keysOf(t, s).keys[1]
	put(t, s, recordKey(damaged.ID), []byte("{}"))
	closeStore(t, s)

	core, logs := observer.New(zapcore.InfoLevel)
	s, err := Open(s.Path(), zap.New(core), nil)
	if err != nil {
		t.Fatalf("Open: got error %v, want a store", err)
	}
	defer closeStore(t, s)
	equal(t, "keys", total(census(t, s, start).Keys[apikey.Active]), 2)
	var got []string
	for _, entry := range logs.All() {
		got = append(got, fmt.Sprint(entry.Message, " ", entry.ContextMap()["keys"]))
	}
	want := []string{"a damaged record of a key stays out of the new schema <nil>", "bringing the key store to a new schema 3"}
	equal(t, "log", strings.Join(got, "\n"), strings.Join(want, "\n"))
}
