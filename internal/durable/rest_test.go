package durable

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/doctor"
)

func TestTables_toMerge(t *testing.T) {
	const mib = 1 << 20
	for name, tt := range map[string]struct {
		tables tables
		want   uint64
	}{
		"none":                               {tables{}, 0},
		"fresh ones only":                    {tables{5 * mib, 5 * mib}, 5 * mib},
		"few":                                {tables{100 * mib, 60 * mib}, 100 * mib},
		"many":                               {tables{4096 * mib, 60 * mib}, 188 * mib},
		"as many fresh ones as there may be": {tables{4096 * mib, 192 * mib}, 320 * mib},
	} {
		if got := tt.tables.toMerge(); got != tt.want {
			t.Errorf("%s: got %d MiB, want %d", name, got/mib, tt.want/mib)
		}
	}
}

// Whatever is not urgent leaves room for merges.
func TestChange_leavesRoomForMerges(t *testing.T) {
	path, _ := makeLayered(t)
	db := open(t, path)
	merges := tablesIn(path).toMerge()
	equal(t, "the tables, measured in the directory", tablesIn(path), db.openTables())
	if merges == 0 {
		t.Fatal("there is nothing to merge")
	}
	try := func(urgent bool) error {
		return db.Change(t.Context(), "", urgent, func(*Turn) error { return nil })
	}
	note := func() error {
		return db.NoteAll(func(set func(key, value []byte) error) error { return set([]byte(notePrefix+"a"), nil) })
	}
	leave(db, minFree+reserve+merges)
	if err := errors.Join(try(false), try(true), note(), db.Blocked()); err != nil {
		t.Errorf("with just enough space: got error %v, want none", err)
	}
	equal(t, "CheckSpace with just enough space", db.CheckSpace().Severity, doctor.Warning)

	leave(db, minFree+reserve+merges-1)
	if err := try(false); !errors.Is(err, ErrNoSpace) {
		t.Errorf("a change: got error %v, want %v", err, ErrNoSpace)
	}
	if err := note(); !errors.Is(err, ErrNoSpace) {
		t.Errorf("a note: got error %v, want %v", err, ErrNoSpace)
	}
	if _, err := db.WhileSpace(nil).Write([]byte("a backup")); !errors.Is(err, ErrNoSpace) {
		t.Errorf("a backup: got error %v, want %v", err, ErrNoSpace)
	}
	if err := try(true); err != nil {
		t.Errorf("an urgent change: got error %v, want none", err)
	}
	if err := db.Blocked(); !errors.Is(err, ErrOnlyUrgent) {
		t.Errorf("Blocked: got %v, want %v", err, ErrOnlyUrgent)
	}
	equal(t, "CheckSpace", db.CheckSpace().Severity, doctor.Fault)
}

// openLow opens a database on a disk that has that little space.
func openLow(t *testing.T, path string, bytes uint64) *DB {
	t.Helper()
	db, err := newDB(testOptions(path))
	if err != nil {
		t.Fatal(err)
	}
	leave(db, bytes)
	if err := db.open(); err != nil {
		t.Fatalf("open: got error %v, want a database", err)
	}
	t.Cleanup(func() { closeDB(t, db) })
	return db
}

// A database without room for merges opens, merges nothing, and takes urgent changes. Once
// there is room, it merges, and takes all.
func TestOpen_rests(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	want := make(map[string]string)
	for range newTables + 2 { // each with a table more
		db := openLow(t, path, minFree)
		id := newID()
		if err := db.Change(t.Context(), "", true, func(turn *Turn) error { return turn.Update(record(id, active)) }); err != nil {
			t.Fatalf("an urgent change: got error %v, want none", err)
		}
		want[id] = active
		closeDB(t, db)
	}
	db := openLow(t, path, minFree)
	fresh := func() int {
		defer db.gate.RUnlock()
		db.gate.RLock()
		return db.badger.Levels()[0].NumTables
	}
	for begun := time.Now(); time.Since(begun) < 2*time.Second; time.Sleep(50 * time.Millisecond) { // Badger begins to merge within one
		if got := fresh(); got != newTables+2 {
			t.Fatalf("got %d fresh tables, want %d that are not merged", got, newTables+2)
		}
	}
	equal(t, "contents", statuses(t, db), want)
	if err := change(db, start, record(newID(), active)); !errors.Is(err, ErrNoSpace) {
		t.Errorf("a change: got error %v, want %v", err, ErrNoSpace)
	}

	leave(db, math.MaxInt64)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for fresh() >= newTables {
		select {
		case <-ctx.Done():
			t.Fatalf("got %d fresh tables, want them merged", fresh())
		case <-time.After(50 * time.Millisecond):
		}
	}
	id := mustCreate(t, db)
	want[id] = active
	equal(t, "contents afterwards", statuses(t, db), want)
	db = reopen(t, db)
	equal(t, "contents after a restart", statuses(t, db), want)
}
