package durable

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// What cannot be written is refused before Badger is touched, and can be done once there is
// room again.
func TestChange_noRoom(t *testing.T) {
	creatable := func(err error) Faults { return Faults{Creatable: func() error { return err }} }
	inodes := func(n uint64) Faults { return Faults{Inodes: func() uint64 { return n }} }
	for _, test := range []struct {
		name                       string
		faults                     Faults
		want, wantUrgent           error
		wantImmutable, noteRefused bool
	}{
		{"no inodes", inodes(0), ErrNoInodes, ErrNoInodes, false, true},
		{"too few inodes", inodes(minInodes - 1), ErrNoInodes, ErrNoInodes, false, true},
		{"inodes for urgent changes", inodes(minInodes + reservedInodes - 1), ErrNoInodes, nil, false, false},
		{"just enough inodes", inodes(minInodes + reservedInodes), nil, nil, false, false},
		{"no open files", creatable(syscall.EMFILE), syscall.EMFILE, syscall.EMFILE, false, true},
		{"no permission", creatable(syscall.EACCES), syscall.EACCES, syscall.EACCES, true, true},
		{"a disk that is mounted read-only", creatable(syscall.EROFS), syscall.EROFS, syscall.EROFS, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			db := openNew(t)
			id := mustCreate(t, db)
			db.Inject(test.faults)
			end := db.journal.End()
			update := func(turn *Turn) error { return turn.Update(record(id, revoked)) }
			refused := func(what string, err, want error) {
				t.Helper()
				if !errors.Is(err, want) || (err == nil) != (want == nil) {
					t.Errorf("%s: got %v, want %v", what, err, want)
				}
				if _, immutable := errors.AsType[*ImmutableError](err); immutable != (test.wantImmutable && want != nil) {
					t.Errorf("%s: got %v, an *ImmutableError: %t", what, err, immutable)
				}
			}
			refused("a change", db.Change(t.Context(), "", false, update), test.want)
			refused("notes", db.NoteAll(func(set func(key, value []byte) error) error { return set([]byte(notePrefix), nil) }), test.want)
			want := test.wantUrgent
			refused("a note", db.Note(func(txn *Txn) error { return txn.Set([]byte(notePrefix), nil) }), want)
			if want != nil {
				equal(t, "the journal's end", db.journal.End(), end)
				equal(t, "status", statuses(t, db)[id], active)
				refused("why nothing can be changed", db.Blocked(), want)
			}
			refused("an urgent change", db.Change(t.Context(), "", true, update), want)
			db.Inject(Faults{})
			mustRevoke(t, db, id)
			db = reopen(t, db)
			equal(t, "status after a restart", statuses(t, db), map[string]string{id: revoked})
		})
	}
}

// blockMemtables makes Badger fail to create its next memtables.
func blockMemtables(t *testing.T, db *DB) (undo func()) {
	t.Helper()
	logs, err := filesWith(db.Path(), ".mem")
	if err != nil || len(logs) != 1 {
		t.Fatalf("logs: got %q and error %v, want one", logs, err)
	}
	var n int
	if _, err := fmt.Sscanf(filepath.Base(logs[0]), "%05d.mem", &n); err != nil {
		t.Fatal(err)
	}
	blocked := filepath.Join(db.Path(), fmt.Sprintf("%05d.mem", n+1))
	if err := os.Mkdir(blocked, 0o700); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(blocked); err != nil {
			t.Error(err)
		}
	}
}

// uses are all that can be done with a database.
var uses = map[string]func(*DB) error{
	"change": func(db *DB) error { return change(db, start, record("1", active)) },
	"a change together with others": func(db *DB) error {
		return db.ChangeTogether(context.Background(), "", true, 1, func(turn *Turn, _ []any) error { return turn.Update(record("1", active)) })
	},
	"note": func(db *DB) error {
		return db.Note(func(txn *Txn) error { return txn.Set([]byte(notePrefix), nil) })
	},
	"notes": func(db *DB) error {
		return db.NoteAll(func(set func(key, value []byte) error) error { return set([]byte(notePrefix), nil) })
	},
	"view": func(db *DB) error {
		return db.View(func(txn *Txn) error {
			for range txn.Below(nil) {
			}
			_, err := txn.Get(schemaKey)
			return err
		})
	},
	"look": func(db *DB) error { return db.Look(schemaKey, func([]byte) error { return nil }) },
	"plan": func(db *DB) error {
		return db.Plan(func(txn *Txn) error { return record("2", active)(txn) })
	},
	"snapshot": func(db *DB) error { return ignore(errFlushing, db.Snapshot(context.Background())) },
	"journal":  func(db *DB) error { _, err := db.CheckJournal(context.Background()); return err },
	"tables":   func(db *DB) error { _, err := db.CheckTables(context.Background()); return err },
	"health":   func(db *DB) error { return db.Blocked() },
}

func ignore(ignored, err error) error {
	if errors.Is(err, ignored) {
		return nil
	}
	return err
}

// longNotes writes 16 MB of notes.
func longNotes(db *DB) error {
	return db.NoteAll(func(set func(key, value []byte) error) error {
		for i := range 1600 {
			if err := set(fmt.Appendf(nil, "%s%d", notePrefix, i), []byte(strings.Repeat("x", 10_000))); err != nil {
				return err
			}
		}
		return nil
	})
}

// If Badger cannot create the file of a memtable, nothing more is read or written, and the
// process lives. After a restart, everything acknowledged is there.
func TestFailed_noMemtable(t *testing.T) {
	for _, test := range []struct {
		name      string
		fill      func(*DB) error // fails
		want      error
		meanwhile []string
	}{
		{"by a change", func(db *DB) error {
			for {
				if err := change(db, start, longRecord(newID(), active, 100_000)); err != nil {
					return err
				}
			}
		}, ErrInDoubt, []string{"view", "look", "plan", "health"}},
		{"by notes", longNotes, ErrFailed, []string{"change", "a change together with others", "note", "notes", "view", "look"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			db := openNew(t)
			id := mustCreate(t, db)
			mustRevoke(t, db, id)
			undo := blockMemtables(t, db)
			var done atomic.Int64
			var others sync.WaitGroup
			for _, name := range test.meanwhile {
				others.Go(func() {
					for ; ; time.Sleep(time.Millisecond) {
						switch err := uses[name](db); {
						case err == nil || errors.Is(err, ErrHangs):
							done.Add(1)
						case !errors.Is(err, ErrFailed):
							t.Errorf("%s meanwhile: got %v, want %v", name, err, ErrFailed)
							return
						default:
							return
						}
					}
				})
			}
			if err := test.fill(db); !errors.Is(err, ErrFailed) || !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			others.Wait()
			if done.Load() == 0 {
				t.Error("nothing was done before")
			}
			for name, use := range uses {
				if err := use(db); !errors.Is(err, ErrFailed) {
					t.Errorf("%s afterwards: got %v, want %v", name, err, ErrFailed)
				}
			}
			end := db.journal.End()
			undo()
			db = reopen(t, db)
			equal(t, "the journal's end after a restart", db.journal.End(), end)
			equal(t, "status after a restart", statuses(t, db)[id], revoked)
			equal(t, "findings after a restart", check(t, db), map[string]string{})
			mustCreate(t, db)
		})
	}
}

// After a write that has failed, what can still be read is read, and nothing is written.
// What that write has left is not trusted by the next start.
func TestFailed_readable(t *testing.T) {
	db := openNoted(t, filepath.Join(t.TempDir(), "keys"))
	id := mustCreate(t, db)
	db.Inject(Faults{Commit: func(func() error) error { return errors.New("input/output error") }})
	if err := change(db, start, record(id, revoked)); !errors.Is(err, ErrInDoubt) {
		t.Errorf("got %v, want %v", err, ErrInDoubt)
	}
	db.Inject(Faults{})
	equal(t, "status", statuses(t, db)[id], active)
	for _, name := range []string{"view", "look", "plan", "tables"} {
		if err := uses[name](db); err != nil {
			t.Errorf("%s: got %v, want none", name, err)
		}
	}
	for _, name := range []string{"change", "note", "notes", "snapshot", "health"} {
		if err := uses[name](db); !errors.Is(err, ErrFailed) {
			t.Errorf("%s: got %v, want %v", name, err, ErrFailed)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(db.inJournal(stoppedFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the note of the stop: got error %v, want none to be there", err)
	}
	db = open(t, db.Path())
	equal(t, "status after a restart", statuses(t, db)[id], revoked)
}

// A panic that is not Badger's stays one.
func TestView_panics(t *testing.T) {
	db := openNew(t)
	defer func() { equal(t, "panic", recover(), any("of the reader")) }()
	err := db.View(func(*Txn) error { panic("of the reader") })
	t.Errorf("got %v, want a panic", err)
}
