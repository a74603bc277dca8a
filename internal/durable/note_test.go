package durable

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// notedOptions are those of a database whose every stop is noted.
func notedOptions(path string) Options {
	o := testOptions(path)
	o.NoteFrom = 1
	return o
}

// openNoted opens a database with notedOptions, without its upkeep. So nothing is examined
// unless it is read.
func openNoted(t *testing.T, path string) *DB {
	t.Helper()
	db, err := Open(notedOptions(path))
	if err != nil {
		t.Fatalf("Open: got error %v, want a database", err)
	}
	t.Cleanup(func() { closeDB(t, db) })
	return db
}

// layered is what makeLayered has made.
var layered struct {
	sync.Once
	files        image
	acknowledged string
}

// makeLayered returns a database with several tables in two levels, as a clean stop has
// left it.
func makeLayered(t *testing.T) (path, acknowledged string) {
	t.Helper()
	layered.Do(func() {
		path := filepath.Join(t.TempDir(), "keys")
		for range newTables + 2 { // enough for a compaction
			layered.acknowledged = addLayer(t, path)
		}
		layered.files = imageOf(t, path)
	})
	path = layered.files.write(t)
	leaveAsIs(t, path)
	return path, layered.acknowledged
}

// addLayer opens a database, makes records of which it revokes some, and closes it.
func addLayer(t *testing.T, path string) (acknowledged string) {
	t.Helper()
	db := openNoted(t, path)
	db.examineAll(t.Context())
	ids := make([]string, 30)
	mustChange(t, db, func(txn *Txn) (err error) {
		for i := range ids {
			ids[i] = newID()
			err = errors.Join(err, longRecord(ids[i], active, 30_000)(txn))
		}
		return err
	})
	for _, id := range ids[:5] {
		mustRevoke(t, db, id)
	}
	acknowledged = sumOf(t, db)
	closeDB(t, db)
	if _, err := os.Stat(db.inJournal(stoppedFile)); err != nil {
		t.Fatalf("a stop was not noted: %v", err)
	}
	return acknowledged
}

// unread returns how many tables have not been examined, and their number.
func (u *unexamined) unread() (unread, all int) {
	for _, level := range u.levels {
		for _, t := range level {
			if all++; !t.examined.Load() {
				unread++
			}
		}
	}
	return unread, all
}

// A start after a clean stop reads few of the tables, and the others before anything is
// answered from them, or afterwards.
func TestOpen_asLeft(t *testing.T) {
	path, acknowledged := makeLayered(t)
	db := openNoted(t, path)
	u := db.unexamined.Load()
	if u == nil {
		t.Fatal("all tables were read")
	}
	unread, all := u.unread()
	t.Logf("%d of %d tables in %d levels were left unread", unread, all, len(u.levels))
	if unread < 2 {
		t.Errorf("%d of %d tables were left unread, want more", unread, all)
	}
	equal(t, "contents", sumOf(t, db), acknowledged)
	if unread, _ := u.unread(); unread > 0 {
		t.Errorf("%d tables were not examined, though everything was read", unread)
	}
	db.examineAll(t.Context())
	equal(t, "tables to examine", db.unexamined.Load(), (*unexamined)(nil))
	equal(t, "repairs", repairsOf(db), "")
	equal(t, "findings", check(t, db), map[string]string{})
}

// After anything but a clean stop, and if any file is not as that has left it, a start
// reads all tables.
func TestOpen_notAsLeft(t *testing.T) {
	whole, acknowledged := makeLayered(t)
	tables := func(path string) []string {
		found, err := filesWith(path, ".sst")
		if err != nil || len(found) < 3 {
			t.Fatalf("got tables %q and error %v, want some", found, err)
		}
		return found
	}
	inPlace := func(name string) error { // rewrites a file with the same content
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		return errors.Join(os.WriteFile(name, content, 0o600), os.Chtimes(name, info.ModTime(), info.ModTime()))
	}
	for _, test := range []struct {
		name string
		do   func(path string) error
	}{
		{"a table is missing", func(path string) error { return os.Remove(tables(path)[1]) }},
		{"two tables are exchanged", func(path string) error {
			a, b := tables(path)[0], tables(path)[1]
			return errors.Join(os.Rename(a, a+".x"), os.Rename(b, a), os.Rename(a+".x", b))
		}},
		{"a table is cut off", func(path string) error { return os.Truncate(tables(path)[0], 5000) }},
		{"a table is written in place", func(path string) error { return inPlace(tables(path)[0]) }},
		{"a table is put back", func(path string) error {
			name := tables(path)[0]
			return errors.Join(copyFile(name+".x", name), os.Rename(name+".x", name))
		}},
		{"the manifest is written in place", func(path string) error { return inPlace(filepath.Join(path, "MANIFEST")) }},
		{"the journal is written in place", func(path string) error {
			segments, err := filepath.Glob(filepath.Join(path, journalDirectory, "*.journal"))
			return errors.Join(err, inPlace(segments[0]))
		}},
		{"there is another file", func(path string) error { return os.WriteFile(filepath.Join(path, "notes.txt"), nil, 0o600) }},
		{"there is a log", func(path string) error { return os.WriteFile(filepath.Join(path, "000099.vlog"), nil, 0o600) }},
		{"there is no note", func(path string) error { return os.Remove(filepath.Join(path, journalDirectory, stoppedFile)) }},
		{"the note is damaged", func(path string) error {
			return os.Truncate(filepath.Join(path, journalDirectory, stoppedFile), 100)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := copyAsLeft(t, whole)
			if err := test.do(path); err != nil {
				t.Fatal(err)
			}
			db := openNoted(t, path)
			equal(t, "tables left unread", db.unexamined.Load(), (*unexamined)(nil))
			equal(t, "contents", sumOf(t, db), acknowledged)
		})
	}
	t.Run("it was copied", func(t *testing.T) {
		db := openNoted(t, copyOf(t, whole))
		equal(t, "tables left unread", db.unexamined.Load(), (*unexamined)(nil))
		equal(t, "contents", sumOf(t, db), acknowledged)
	})
	t.Run("it was killed", func(t *testing.T) {
		db := openNoted(t, copyAsLeft(t, whole))
		killed := copyAsLeft(t, db.Path())
		db = openNoted(t, killed)
		equal(t, "tables left unread", db.unexamined.Load(), (*unexamined)(nil))
		equal(t, "contents", sumOf(t, db), acknowledged)
	})
	t.Run("the note was put back", func(t *testing.T) {
		path := copyAsLeft(t, whole)
		note, err := os.ReadFile(filepath.Join(path, journalDirectory, stoppedFile))
		if err != nil {
			t.Fatal(err)
		}
		db := openNoted(t, path)
		id := mustCreate(t, db)
		mustRevoke(t, db, id)
		closeDB(t, db)
		if err := os.WriteFile(db.inJournal(stoppedFile), note, 0o600); err != nil {
			t.Fatal(err)
		}
		db = openNoted(t, path)
		equal(t, "tables left unread", db.unexamined.Load(), (*unexamined)(nil))
		equal(t, "status", statuses(t, db)[id], revoked)
	})
}

// copyAsLeft copies a store, and notes that its files are as they were left: so they are
// like a disk's blocks that have changed without any program.
func copyAsLeft(t *testing.T, whole string) (path string) {
	t.Helper()
	path = copyOf(t, whole)
	leaveAsIs(t, path)
	return path
}

func leaveAsIs(t *testing.T, path string) {
	t.Helper()
	name := filepath.Join(path, journalDirectory, stoppedFile)
	content, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	var note stopNote
	if err == nil {
		err = json.Unmarshal(content, &note)
	}
	if err == nil {
		note.Files, _, err = stampsIn(path)
	}
	if err == nil {
		content, err = json.Marshal(note)
	}
	if err := errors.Join(err, os.WriteFile(name, content, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// A table that was damaged while the store was stopped, without a trace: nothing is ever
// read from it, and the files are rebuilt.
func TestOpen_damagedAsLeft(t *testing.T) {
	whole, acknowledged := makeLayered(t)
	db := openNoted(t, copyAsLeft(t, whole))
	want := statuses(t, db)
	closeDB(t, db)
	files := imageOf(t, whole)
	tables := slices.DeleteFunc(files.names(), func(name string) bool { return filepath.Ext(name) != ".sst" })
	leftUnread := 0
	for _, name := range []string{tables[0], tables[len(tables)/2], tables[len(tables)-1]} {
		for i, mishap := range mishaps[:2] {
			for _, n := range [][]int{{0, 1, 2}, {2}}[i] { // at the start, the end and in the middle
				damaged := maps.Clone(files)
				if !mishap.do(damaged, []string{name}, n) {
					continue
				}
				t.Run(fmt.Sprintf("%s in %s (%d)", mishap.name, name, n), func(t *testing.T) {
					path := damaged.write(t)
					defer os.RemoveAll(path)
					leaveAsIs(t, path)
					db := openNoted(t, path)
					if db.unexamined.Load() != nil {
						leftUnread++
					}
					readAll(t, db, want)
					db.examineAll(t.Context())
					equal(t, "contents in the end", sumOf(t, db), acknowledged)
					if got := repairsOf(db); !strings.Contains(got, string(Rebuilt)) {
						t.Errorf("got the repairs %q, want a rebuild", got)
					}
					closeDB(t, db)
				})
			}
		}
	}
	if leftUnread == 0 {
		t.Error("all damage was found before anything was read, want some that was not")
	}
}

// A table whose contents are those of another, without a trace, is found at the start.
func TestOpen_exchangedAsLeft(t *testing.T) {
	whole, acknowledged := makeLayered(t)
	path := copyOf(t, whole)
	tables, err := filesWith(path, ".sst")
	if err != nil || len(tables) < 2 {
		t.Fatalf("got tables %q and error %v, want some", tables, err)
	}
	if err := errors.Join(os.Remove(tables[0]), copyFile(tables[0], tables[1])); err != nil {
		t.Fatal(err)
	}
	leaveAsIs(t, path)
	db := openNoted(t, path)
	equal(t, "tables left unread", db.unexamined.Load(), (*unexamined)(nil))
	equal(t, "contents", sumOf(t, db), acknowledged)
}

// readAll reads each record in each way, and checks that it is right or refused.
func readAll(t *testing.T, db *DB, want map[string]string) {
	t.Helper()
	seen := func(how, id string, value []byte) {
		if got := strings.TrimSpace(string(value)); got != want[id] {
			t.Errorf("%s: got %q of record %s, want %q", how, got, id, want[id])
		}
	}
	read := func(how string, do func(*Txn) error) {
		if err := db.View(do); err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: got error %v, want none, or that the files are damaged", how, err)
		}
	}
	prefix := []byte("k/")
	read("backwards", func(txn *Txn) error {
		for key, value := range txn.Backwards(prefix, nil) {
			seen("backwards", string(key[2:]), value)
		}
		return nil
	})
	read("forwards", func(txn *Txn) error {
		n := 0
		for key, value := range txn.Below(prefix) {
			seen("forwards", string(key[2:]), value)
			n++
		}
		if txn.err == nil {
			equal(t, "records", n, len(want))
		}
		return nil
	})
	for id := range want {
		key := []byte("k/" + id)
		read("one", func(txn *Txn) error {
			value, err := txn.Get(key)
			if err == nil {
				seen("one", id, value)
			}
			return err
		})
		read("a look", func(txn *Txn) error {
			return db.Look(key, func(value []byte) error { seen("a look", id, value); return nil })
		})
		read("with a cursor", func(txn *Txn) error {
			cursor := txn.Cursor(prefix)
			defer cursor.Close()
			if value, found := cursor.At(key); found || txn.err == nil {
				seen("with a cursor", id, value)
			}
			return nil
		})
	}
}

// A table that was merged before it had been examined takes a rebuild, even after a kill.
func TestOpen_unexaminedGone(t *testing.T) {
	whole, acknowledged := makeLayered(t)
	db := openNoted(t, copyAsLeft(t, whole))
	killed := copyOf(t, db.Path())
	name := filepath.Join(killed, journalDirectory, unexaminedFile)
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, bytes.Replace(content, []byte(`"Tables":{`), []byte(`"Tables":{"99":1,`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	again := openNoted(t, killed)
	equal(t, "contents", sumOf(t, again), acknowledged)
	if got := again.Repairs(); len(got) == 0 || !strings.Contains(got[0].Reason.Error(), `"000099.sst" is gone`) {
		t.Errorf("got the repairs %v, want a rebuild for a table that is gone", got)
	}
	if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v of the note, want it to be gone", err)
	}
}

// Until all tables have been examined, changes wait once Badger might soon merge tables,
// except for urgent ones.
func TestChange_roomToMerge(t *testing.T) {
	path, _ := makeLayered(t)
	db := openNoted(t, path)
	db.unexamined.Load().room = 1
	mustCreate(t, db)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	try := func(urgent bool) error {
		return db.Change(ctx, "", urgent, func(*Turn) error { return nil })
	}
	if err := try(false); !errors.Is(err, context.Canceled) {
		t.Errorf("a change: got error %v, want it to have waited", err)
	}
	done := make(chan error, 1)
	go func() { done <- change(db, start, record(newID(), active)) }()
	if err := db.Change(t.Context(), "", true, func(*Turn) error { return nil }); err != nil {
		t.Errorf("an urgent change: got error %v, want none", err)
	}
	db.examineAll(t.Context())
	if err := <-done; err != nil {
		t.Errorf("a change that waited: got error %v, want none", err)
	}
}

// What the owner keeps comes back after a clean stop, and only then.
func TestKept(t *testing.T) {
	path, _ := makeLayered(t)
	open := func() (db *DB, kept string, err error) {
		o := notedOptions(path)
		o.Keep = func(to io.Writer) error {
			if to == nil {
				return nil
			}
			_, err := to.Write([]byte("what is kept"))
			return err
		}
		if db, err = Open(o); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closeDB(t, db) })
		err = db.Kept(func(from io.Reader) error {
			content, err := io.ReadAll(from)
			kept = string(content)
			return err
		})
		return db, kept, err
	}
	var db *DB
	for _, test := range []struct {
		name, want string
		fails      bool
		before     func() error
	}{
		{"at first", "", false, nil},
		{"after a stop", "what is kept", false, nil},
		{"damaged", "", true, func() error {
			defer leaveAsIs(t, path)
			return os.WriteFile(db.inJournal(keptFile), []byte("what is Kept"), 0o600)
		}},
		{"after a change of the files", "", false, func() error { return os.Chmod(filepath.Join(path, "MANIFEST"), 0o640) }},
	} {
		if test.before != nil {
			if err := test.before(); err != nil {
				t.Fatal(err)
			}
		}
		var kept string
		var err error
		db, kept, err = open()
		equal(t, test.name, kept, test.want)
		if (err != nil) != test.fails {
			t.Errorf("%s: got error %v", test.name, err)
		}
		closeDB(t, db)
	}
}
