package store

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
)

// builtAnew returns a store after its files were damaged, and built again.
func builtAnew(t *testing.T, s *Store) *Store {
	t.Helper()
	closeStore(t, s)
	if err := os.Remove(filepath.Join(s.Path(), "MANIFEST")); err != nil {
		t.Fatal(err)
	}
	return open(t, s.Path(), nil)
}

// The same names begin again when the files are built anew.
func TestOpen_tableOfBeforeARebuild(t *testing.T) {
	s := openNew(t)
	key := mustCreate(t, s, "acme", "Zapier", start)
	s = reopen(t, s)
	closeStore(t, s)
	putBack := keepFiles(t, s, "000001.sst")
	s = open(t, s.Path(), nil)
	mustRevoke(t, s, key, start)
	renew(t, s)
	s = builtAnew(t, s)
	closeStore(t, s)
	putBack(s.Path())
	revokedStays(t, s.Path(), key)
}

// Of two versions of a record Badger believes the higher one, and files that are
// built anew must not begin with low ones.
func TestOpen_logOfBeforeARebuild(t *testing.T) {
	s := openNew(t)
	for i := range 30 {
		mustCreate(t, s, "acme", fmt.Sprint("Before ", i), start)
	}
	key := mustCreate(t, s, "acme", "Zapier", start)
	putBack := keepFiles(t, s, ".mem")
	mustRevoke(t, s, key, start)
	s = builtAnew(t, s)
	renew(t, s)
	for i := range 60 { // so that what Badger has of the journal is newer than the log
		mustCreate(t, s, "acme", fmt.Sprint("After ", i), start)
	}
	closeStore(t, s)
	putBack(s.Path())
	revokedStays(t, s.Path(), key)
}

// A table that a compaction has made since the last snapshot, and one of its name
// from before the files were built anew.
func TestOpen_compactedTableOfBeforeARebuild(t *testing.T) {
	s := openNew(t)
	key := mustCreate(t, s, "acme", "Zapier", start)
	for range 5 { // as many tables as are compacted into one
		mustCreate(t, s, "acme", "Key "+rand.Text(), start)
		s = reopen(t, s)
	}
	awaitCompaction(t, s)
	closeStore(t, s)
	old := copyOf(t, s.Path())
	s = open(t, s.Path(), nil)
	mustRevoke(t, s, key, start)
	renew(t, s)
	s = builtAnew(t, s)
	tables := func() []string {
		found, err := filesWith(s.Path(), ".sst")
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	for len(tables()) < 5 {
		mustCreate(t, s, "acme", "Key "+rand.Text(), start)
		s = reopen(t, s)
	}
	renew(t, s)
	awaitCompaction(t, s)
	killed, exchanged := copyOf(t, s.Path()), 0
	for _, name := range tables() {
		content, err := os.ReadFile(filepath.Join(old, filepath.Base(name)))
		if err == nil {
			exchanged++
			err = os.WriteFile(filepath.Join(killed, filepath.Base(name)), content, 0o600)
		}
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	if exchanged == 0 {
		t.Fatal("no table has a name of before")
	}
	revokedStays(t, killed, key)
}

// A disk that has no room for both keeps the damaged files, and is not filled.
func TestRebuild_withoutRoom(t *testing.T) {
	s := openNew(t)
	mustCreate(t, s, "acme", "Zapier", start)
	closeStore(t, s)
	full := &Store{path: s.Path(), log: zap.NewNop(), minFree: 1 << 60}
	if err := full.roomToRebuild(); err == nil || !strings.Contains(err.Error(), "must be free on the disk") {
		t.Errorf("got error %v, want how much must be free", err)
	}

	// Files that were being built are what fills it.
	if err := os.WriteFile(s.rebuildMark(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := full.makeSpace(); err == nil {
		t.Error("makeSpace: got no error, want that the disk is full")
	}
	equal(t, "Badger's files", badgerIn(s.Path()), false)
	s = open(t, s.Path(), nil)
	equal(t, "keys", len(keysByID(t, s)), 1)
}
