package durable

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// builtAnew returns a store after its files were damaged, and built again.
func builtAnew(t *testing.T, db *DB) *DB {
	t.Helper()
	closeDB(t, db)
	if err := os.Remove(filepath.Join(db.Path(), "MANIFEST")); err != nil {
		t.Fatal(err)
	}
	return open(t, db.Path())
}

// The same names begin again when the files are built anew.
func TestOpen_tableOfBeforeARebuild(t *testing.T) {
	db := openNew(t)
	id := mustCreate(t, db)
	db = reopen(t, db)
	closeDB(t, db)
	putBack := keepFiles(t, db, "000001.sst")
	db = open(t, db.Path())
	mustRevoke(t, db, id)
	snapshot(t, db)
	db = builtAnew(t, db)
	closeDB(t, db)
	putBack(db.Path())
	mustStayRevoked(t, db.Path(), id)
}

// Of two versions of a record Badger believes the higher one, and files that are
// built anew must not begin with low ones.
func TestOpen_logOfBeforeARebuild(t *testing.T) {
	db := openNew(t)
	for range 30 {
		mustCreate(t, db)
	}
	id := mustCreate(t, db)
	putBack := keepFiles(t, db, ".mem")
	mustRevoke(t, db, id)
	db = builtAnew(t, db)
	snapshot(t, db)
	for range 60 { // so that what Badger has of the journal is newer than the log
		mustCreate(t, db)
	}
	closeDB(t, db)
	putBack(db.Path())
	mustStayRevoked(t, db.Path(), id)
}

// A table that a compaction has made since the last snapshot, and one of its name
// from before the files were built anew.
func TestOpen_compactedTableOfBeforeARebuild(t *testing.T) {
	db := openNew(t)
	id := mustCreate(t, db)
	for range 5 { // as many tables as are compacted into one
		mustCreate(t, db)
		db = reopen(t, db)
	}
	awaitCompaction(t, db)
	closeDB(t, db)
	old := copyOf(t, db.Path())
	db = open(t, db.Path())
	mustRevoke(t, db, id)
	snapshot(t, db)
	db = builtAnew(t, db)
	tables := func() []string {
		found, err := filesWith(db.Path(), ".sst")
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	for len(tables()) < 5 {
		mustCreate(t, db)
		db = reopen(t, db)
	}
	snapshot(t, db)
	awaitCompaction(t, db)
	killed, exchanged := copyOf(t, db.Path()), 0
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
	mustStayRevoked(t, killed, id)
}

// A disk that has no room for both keeps the damaged files, and is not filled.
func TestRebuild_withoutRoom(t *testing.T) {
	db := openNew(t)
	mustCreate(t, db)
	closeDB(t, db)
	full, err := newDB(testOptions(db.Path()))
	if err != nil {
		t.Fatal(err)
	}
	leave(full, 0)
	if err := full.roomToRebuild(); err == nil || !strings.Contains(err.Error(), "needs 64 MiB of free disk space, but only 0 MiB are free") {
		t.Errorf("got error %v, want how much must be free", err)
	}

	// Files that were being built are what fills it.
	if err := os.WriteFile(db.rebuildMark(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := full.makeSpace(); err == nil {
		t.Error("makeSpace: got no error, want that the disk is full")
	}
	equal(t, "Badger's files", badgerIn(db.Path()), false)
	db = open(t, db.Path())
	equal(t, "records", len(statuses(t, db)), 1)
}
