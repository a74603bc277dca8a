package store

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// testdata/schema2 is a store of schema 2, as its version left it, and
// testdata/backup1 the backup of form 1 that was taken from it then. What is in
// them is what is in testdata/schema1.
func TestOpen_schema2(t *testing.T) {
	s := open(t, copyOf(t, "testdata/schema2"), nil)
	now := time.Date(2026, time.March, 2, 15, 8, 0, 0, time.UTC)
	equal(t, "active keys", total(census(t, s, now).Keys[apikey.Active]), 8)
	equal(t, "revoked keys", total(census(t, s, now).Keys[apikey.Revoked]), 3)
	equal(t, "schema", contents(t, s)["m/schema"], fmt.Sprint(schemaVersion))
	equal(t, "findings", check(t, s, now), map[string]string{})
	before, err := acknowledgedIn(s)
	if err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)

	// From now on its journal is enough to build it from.
	if err := eachBadgerFile(s.Path(), os.Remove); err != nil {
		t.Fatal(err)
	}
	s = open(t, s.Path(), nil)
	after, err := acknowledgedIn(s)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "what it is built anew from", after, before)
}

// Wherever its journal is interrupted as it is begun, it is begun again.
func TestOpen_schema2Interrupted(t *testing.T) {
	want, err := acknowledgedIn(open(t, copyOf(t, "testdata/schema2"), nil))
	if err != nil {
		t.Fatal(err)
	}
	finished := open(t, copyOf(t, "testdata/schema2"), nil)
	closeStore(t, finished)
	for _, test := range []struct {
		name string
		left func(path string) error // what is there of the journal
	}{
		{"nothing", func(path string) error { return nil }},
		{"an unfinished one", func(path string) error {
			return os.CopyFS(filepath.Join(path, journalDirectory+unfinished), os.DirFS(finished.journalPath()))
		}},
		{"a finished one, of which the store does not know", func(path string) error {
			return os.CopyFS(filepath.Join(path, journalDirectory), os.DirFS(finished.journalPath()))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := copyOf(t, "testdata/schema2")
			if err := test.left(path); err != nil {
				t.Fatal(err)
			}
			s := open(t, path, nil)
			got, err := acknowledgedIn(s)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "what is in it", got, want)
			equal(t, "findings", check(t, reopen(t, s), start), map[string]string{"clock": "error: The clock says 2026-03-01T12:00:00Z, and the store has seen 2026-03-02T15:08:00Z."})
		})
	}
}

// A store without a journal has nothing to be built from: one that is damaged is
// not opened.
func TestOpen_schema2Damaged(t *testing.T) {
	path := copyOf(t, "testdata/schema2")
	table := filepath.Join(path, "000001.sst")
	content, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/3] ^= 1
	if err := os.WriteFile(table, content, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := openFails(t, path); !bytes.HasPrefix([]byte(got), []byte(`its files are damaged, and it has no journal to build them from: the table "000001.sst" is damaged`)) {
			t.Errorf("got %q, want that it is damaged", got)
		}
	}
	if after, err := os.ReadFile(table); err != nil || !bytes.Equal(after, content) {
		t.Errorf("the damaged table was touched: %v", err)
	}
}

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
	equal(t, "records", records(t, s), records(t, open(t, copyOf(t, "testdata/schema2"), nil)))
}
