package durable

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// cutManifest truncates the manifest by its last entry.
func cutManifest(t *testing.T, path string) {
	t.Helper()
	name := filepath.Join(path, "MANIFEST")
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	boundaries := boundariesIn("MANIFEST", content)
	if err := os.Truncate(name, int64(boundaries[len(boundaries)-2])); err != nil {
		t.Fatal(err)
	}
}

// Only a table that a truncated manifest no longer names has a revocation. The
// store is refused for it, however often it is opened.
func TestStrays_refusedAgain(t *testing.T) {
	for _, test := range []struct {
		name   string
		damage func(path string) error
		open   func(path string) error
	}{
		{"with a torn journal", func(path string) error {
			segments, err := filepath.Glob(filepath.Join(path, journalDirectory, "*.journal"))
			if err != nil {
				return err
			}
			info, err := os.Stat(segments[0])
			if err != nil {
				return err
			}
			return os.Truncate(segments[0], info.Size()-5)
		}, tryOpen},
		{"without a journal", withoutJournal, tryOpen},
		{"for a new journal", withoutJournal, func(path string) error { _, err := NewJournal(testOptions(path), start); return err }},
	} {
		t.Run(test.name, func(t *testing.T) {
			db := openNew(t)
			id := mustCreate(t, db)
			db = reopen(t, db)
			mustRevoke(t, db, id)
			closeDB(t, db)
			cutManifest(t, db.Path())
			if err := test.damage(db.Path()); err != nil {
				t.Fatal(err)
			}
			for try := range 3 {
				if err := test.open(db.Path()); err == nil {
					t.Fatalf("try %d: got no error, want a refusal", try)
				}
			}
		})
	}
}

func tryOpen(path string) error { _, err := openAt(path); return err }

func withoutJournal(path string) error { return os.RemoveAll(filepath.Join(path, journalDirectory)) }

// awaitCompaction waits until a compaction has left a single table.
func awaitCompaction(t *testing.T, db *DB) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) { // Badger does not notify
		_, manifest, err := readManifest(db.Path())
		tables, errTables := filesWith(db.Path(), ".sst")
		if err == nil && errTables == nil && len(manifest.Tables) == 1 && len(tables) == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("got the manifest %+v, tables %q and errors %v and %v, want one table", manifest, tables, err, errTables)
		}
	}
}

// restoreTables copies those tables that to lacks, and returns their number.
func restoreTables(t *testing.T, from, to string) (restored int) {
	t.Helper()
	tables, err := filesWith(from, ".sst")
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		err := copyFile(filepath.Join(to, filepath.Base(table)), table)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		restored++
	}
	return restored
}

// Tables that a compaction has replaced stay on disk while they are being read, and
// for good if the process is killed then. Badger has their contents, except for
// deletions, which it drops.
func TestStrays_compacted(t *testing.T) {
	db := openNew(t)
	var before []string   // copies from before the compaction
	for range newTables { // enough for a compaction
		for range 20 {
			id := mustCreate(t, db)
			mustRevoke(t, db, id)
		}
		closeDB(t, db)
		before = append(before, copyOf(t, db.Path()))
		db = open(t, db.Path())
	}
	awaitCompaction(t, db)
	closeDB(t, db)
	killed := copyOf(t, db.Path())
	restored := 0
	for _, copied := range before {
		restored += restoreTables(t, copied, killed)
	}
	if restored < 2 {
		t.Fatalf("got %d replaced tables, want at least 2", restored)
	}

	again, repairs := openLogged(t, testOptions(killed))
	equal(t, "records", revokedAmong(statuses(t, again)), 20*newTables)
	equal(t, "repairs", repairs, "")
}

// Partially rebuilt files lack what the old journal has.
func TestNewJournal_interruptedRebuild(t *testing.T) {
	db := openNew(t)
	id := mustCreate(t, db)
	snapshot(t, db)
	mustRevoke(t, db, id)
	closeDB(t, db)
	if err := os.WriteFile(db.rebuildMark(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewJournal(testOptions(db.Path()), start); err == nil || !strings.Contains(err.Error(), "was interrupted: start the server") {
		t.Errorf("got error %v, want one saying that the server must finish the rebuild", err)
	}
	db = open(t, db.Path())
	equal(t, "status", statuses(t, db)[id], revoked)
}
