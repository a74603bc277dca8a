package durable

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// rebuilt damages a database's files, and returns it after a rebuild.
func rebuilt(t *testing.T, db *DB) *DB {
	t.Helper()
	closeDB(t, db)
	if err := os.Remove(filepath.Join(db.Path(), "MANIFEST")); err != nil {
		t.Fatal(err)
	}
	return open(t, db.Path())
}

// A rebuild starts over with the same file names.
func TestOpen_tableFromBeforeRebuild(t *testing.T) {
	db := openNew(t)
	id := mustCreate(t, db)
	db = reopen(t, db)
	closeDB(t, db)
	putBack := keepFiles(t, db, "000001.sst")
	db = open(t, db.Path())
	mustRevoke(t, db, id)
	snapshot(t, db)
	db = rebuilt(t, db)
	closeDB(t, db)
	putBack(db.Path())
	mustStayRevoked(t, db.Path(), id)
}

// Of two versions of a record Badger takes the higher, so rebuilt files must not
// start with low ones.
func TestOpen_logFromBeforeRebuild(t *testing.T) {
	db := openNew(t)
	for range 30 {
		mustCreate(t, db)
	}
	id := mustCreate(t, db)
	putBack := keepFiles(t, db, ".mem")
	mustRevoke(t, db, id)
	db = rebuilt(t, db)
	snapshot(t, db)
	for range 60 { // so that the recorded position in the journal is newer than the log
		mustCreate(t, db)
	}
	closeDB(t, db)
	putBack(db.Path())
	mustStayRevoked(t, db.Path(), id)
}

// A table that a compaction made since the last snapshot, replaced by one of the
// same name from before a rebuild.
func TestOpen_compactedTableFromBeforeRebuild(t *testing.T) {
	db := openNew(t)
	id := mustCreate(t, db)
	for range newTables { // enough for a compaction
		mustCreate(t, db)
		db = reopen(t, db)
	}
	awaitCompaction(t, db)
	closeDB(t, db)
	old := copyOf(t, db.Path())
	db = open(t, db.Path())
	mustRevoke(t, db, id)
	snapshot(t, db)
	db = rebuilt(t, db)
	tables := func() []string {
		found, err := filesWith(db.Path(), ".sst")
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	for len(tables()) < newTables {
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
		t.Fatal("no table has the name of an older one")
	}
	mustStayRevoked(t, killed, id)
}

// A rebuild that would fill the disk is refused, and the damaged files stay.
func TestRebuild_noSpace(t *testing.T) {
	db := openNew(t)
	mustCreate(t, db)
	closeDB(t, db)
	full, err := newDB(testOptions(db.Path()))
	if err != nil {
		t.Fatal(err)
	}
	leave(full, 0)
	if err := full.roomToRebuild(errors.New("a test")); err == nil || !strings.Contains(err.Error(), "needs 64 MiB of free disk space, but only 0 MiB are free") {
		t.Errorf("got error %v, want how much space is needed", err)
	}
	for n := range enoughDamaged { // then no more are kept
		if _, err := full.newQuarantine(start.Add(time.Duration(n) * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	leave(full, minFree)
	if err := full.roomToRebuild(errMergeLost); err != nil {
		t.Errorf("files that are not kept: got error %v, want that there is room", err)
	}
	if err := full.roomToRebuild(errors.New("a test")); err == nil {
		t.Error("files that are kept: got no error, want one saying how much space is needed")
	}
	leave(full, 0)

	// An interrupted rebuild may be what fills the disk.
	if err := os.WriteFile(db.rebuildMark(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := full.makeSpace(); err == nil {
		t.Error("makeSpace: got no error, want one: the disk is full")
	}
	equal(t, "Badger's files", hasBadgerFiles(db.Path()), false)
	db = open(t, db.Path())
	equal(t, "records", len(statuses(t, db)), 1)
}
