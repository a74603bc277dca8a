package durable

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// openLogged opens a database and returns its repairs. It checks that the log has
// the same.
func openLogged(t *testing.T, o Options) (*DB, string) {
	t.Helper()
	core, logs := observer.New(zapcore.WarnLevel)
	o.Log = zap.New(core)
	db, err := openWith(o)
	if err != nil {
		t.Fatalf("Open: got error %v, want a database", err)
	}
	t.Cleanup(func() { closeDB(t, db) })
	var logged []string
	for _, entry := range logs.All() {
		logged = append(logged, entry.Message)
	}
	equal(t, "log", strings.Join(logged, "\n"), repairsOf(db))
	return db, repairsOf(db)
}

func sumOf(t *testing.T, db *DB) string {
	t.Helper()
	sum, err := acknowledgedIn(db)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// Changes that the journal has and Badger lacks are replayed once; the next start
// finds nothing to do.
func TestOpen_replays(t *testing.T) {
	db := openNew(t)
	id := mustCreate(t, db)
	older := copyOf(t, db.Path())
	mustRevoke(t, db, id)
	want := sumOf(t, db)
	// The newer journal with the older files of Badger's.
	if err := errors.Join(os.RemoveAll(filepath.Join(older, journalDirectory)),
		os.CopyFS(filepath.Join(older, journalDirectory), os.DirFS(db.journalPath()))); err != nil {
		t.Fatal(err)
	}
	replayed, repairs := openLogged(t, testOptions(older))
	equal(t, "repairs", repairs, string(Replayed))
	equal(t, "records replayed", replayed.Repairs()[0].Records, 2)
	equal(t, "the record", statuses(t, replayed)[id], revoked)
	equal(t, "contents", sumOf(t, replayed), want)
	closeDB(t, replayed)
	_, repairs = openLogged(t, testOptions(older))
	equal(t, "repairs at the next start", repairs, "")
}

// A rebuild restores everything but notes, and new changes can be made. An
// interrupted rebuild is done again.
func TestOpen_rebuilds(t *testing.T) {
	db := populatedDB(t)
	snapshot(t, db)
	later := start.Add(time.Hour)
	id := newID()
	if err := change(db, later, record(id, active)); err != nil {
		t.Fatal(err)
	}
	want := sumOf(t, db)
	closeDB(t, db)
	tables, err := filepath.Glob(filepath.Join(db.Path(), "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("got tables %q, %v, want some", tables, err)
	}
	if err := os.Truncate(tables[0], 100); err != nil {
		t.Fatal(err)
	}
	interrupted := copyOf(t, db.Path())
	o := testOptions(db.Path())
	var from RebuiltFrom
	o.AfterRebuild = func(_ *Txn, f RebuiltFrom) error { from = f; return nil }
	rebuilt, repairs := openLogged(t, o)
	equal(t, "repairs", repairs, strings.Join([]string{string(Rebuilding), string(KeptDamaged), string(Rebuilt)}, "\n"))
	equal(t, "contents", sumOf(t, rebuilt), want)
	equal(t, "findings", check(t, rebuilt), map[string]string{})
	equal(t, "time of the last change", from.LastChange, later)
	equal(t, "whether the record has changed", from.Changed([]byte("k/"+id)), true)
	equal(t, "whether another record has changed", from.Changed([]byte("k/other")), false)
	kept, err := filepath.Glob(filepath.Join(db.Path(), damagedDirectory+"*", "*.sst"))
	if err != nil || len(kept) != len(tables) {
		t.Errorf("quarantined: got %q, %v, want %d tables", kept, err, len(tables))
	}
	equal(t, "quarantine", rebuilt.Repairs()[1].Directory, filepath.Dir(kept[0]))
	mustRevoke(t, rebuilt, id)
	want = sumOf(t, rebuilt)
	equal(t, "after a restart", sumOf(t, reopen(t, rebuilt)), want)

	// Any files left by an interrupted rebuild are discarded.
	half := openNew(t)
	mustCreate(t, half)
	closeDB(t, half)
	if err := eachBadgerFile(interrupted, os.Remove); err != nil {
		t.Fatal(err)
	}
	if err := eachBadgerFile(half.Path(), func(path string) error { return os.Rename(path, filepath.Join(interrupted, filepath.Base(path))) }); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(interrupted, journalDirectory, rebuildMark), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	again, _ := openLogged(t, testOptions(interrupted))
	equal(t, "findings", check(t, again), map[string]string{})
	if again.rebuilding() {
		t.Error("the mark of the rebuild is still there")
	}
}

// A database that has lost its schema version is not taken for another program's if
// it has a journal.
func TestOpen_schemaLost(t *testing.T) {
	db := populatedDB(t)
	want := statuses(t, db)
	if err := db.Note(func(txn *Txn) error { return txn.Delete(schemaKey) }); err != nil {
		t.Fatal(err)
	}
	closeDB(t, db)
	again, repairs := openLogged(t, testOptions(db.Path()))
	equal(t, "repairs", repairs, strings.Join([]string{string(Rebuilding), string(KeptDamaged), string(Rebuilt)}, "\n"))
	equal(t, "records", statuses(t, again), want)
	equal(t, "findings", check(t, again), map[string]string{})
}

// The journal of another store is refused.
func TestOpen_foreignJournal(t *testing.T) {
	db, other := openNew(t), openNew(t)
	for range 3 {
		mustCreate(t, db)
		mustCreate(t, other)
	}
	closeDB(t, db)
	closeDB(t, other)
	if err := errors.Join(os.RemoveAll(db.journalPath()), os.Rename(other.journalPath(), db.journalPath())); err != nil {
		t.Fatal(err)
	}
	equal(t, "error", openFails(t, db.Path()), "its journal belongs to another store: put the right journal back, or restore a backup into an empty directory")
}

// A damaged snapshot is replaced before it is needed.
func TestOpen_damagedSnapshot(t *testing.T) {
	db := populatedDB(t)
	snapshot(t, db)
	closeDB(t, db)
	snapshots, err := filepath.Glob(filepath.Join(db.journalPath(), "*.snapshot"))
	if err != nil || len(snapshots) != 1 {
		t.Fatalf("got snapshots %q, %v, want one", snapshots, err)
	}
	whole, err := os.ReadFile(snapshots[0])
	if err != nil {
		t.Fatal(err)
	}
	whole[len(whole)-1] ^= 1
	if err := os.WriteFile(snapshots[0], whole, 0o600); err != nil {
		t.Fatal(err)
	}
	db = open(t, db.Path())
	for deadline := time.Now().Add(time.Minute); db.readSnapshot(t.Context()) != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the damaged snapshot was not replaced")
		}
	}
}

// A snapshot is made once the journal is old, and then deleted data is gone from
// it.
func TestLimitJournalAge(t *testing.T) {
	db := openNew(t)
	id := mustCreate(t, db)
	if !inJournal(t, db, "a/"+id) {
		t.Fatal("the journal lacks what was just written")
	}
	mustChange(t, db, func(txn *Txn) error {
		return errors.Join(txn.Delete([]byte("k/"+id)), txn.Delete([]byte("a/"+id+active)))
	})
	limit := func(now time.Time) {
		t.Helper()
		if err := db.Change(t.Context(), "", false, func(turn *Turn) error {
			turn.LimitJournalAge(now, time.Hour)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	limit(start.Add(time.Hour - time.Minute))
	equal(t, "snapshots due before that age", len(db.upkeep.snapshot), 0)
	limit(start.Add(time.Hour))
	for deadline := time.Now().Add(time.Minute); inJournal(t, db, "a/"+id); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the journal still has the deleted data")
		}
	}
	equal(t, "findings", check(t, db), map[string]string{})
}

// Bulk changes end with a snapshot, which the next start makes if the process ended
// before.
func TestSetBulk(t *testing.T) {
	db := openNew(t)
	db.StopUpkeep()
	db.SetBulk(true)
	for db.journal.Size() < minJournal {
		mustChange(t, db, func(txn *Txn) error { return txn.Set([]byte("k/large"), make([]byte, 900<<10)) })
	}
	equal(t, "snapshots due meanwhile", len(db.upkeep.snapshot), 0)
	db.SetBulk(false)
	equal(t, "snapshots due at the end", len(db.upkeep.snapshot), 1)
	db = reopen(t, db)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		var size int64
		db.BetweenChanges(func() { size = db.journal.Size() })
		if size < minJournal {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the journal still has %d bytes of changes", size)
		}
	}
}

// inJournal reports whether the journal contains a key with the given text.
func inJournal(t *testing.T, db *DB, text string) (found bool) {
	t.Helper()
	db.changes.Lock()
	defer db.changes.Unlock()
	snapshot, err := db.journal.OpenSnapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	if err := snapshot.Read(func(key, _ []byte) error {
		found = found || strings.Contains(string(key), text)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	segments, err := filepath.Glob(filepath.Join(db.journalPath(), "*.journal"))
	if err != nil {
		t.Fatal(err)
	}
	for _, segment := range segments {
		content, err := os.ReadFile(segment)
		if err != nil {
			t.Fatal(err)
		}
		found = found || strings.Contains(string(content), text)
	}
	return found
}
