package durable

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// keepFiles copies the files of a store whose names end in one of endings, and
// returns a function that puts them back.
func keepFiles(t *testing.T, db *DB, endings ...string) (putBack func(path string)) {
	t.Helper()
	from := copyOf(t, db.Path())
	return func(path string) {
		t.Helper()
		matching := func(dir string, do func(name string) error) {
			t.Helper()
			entries, err := os.ReadDir(dir)
			for _, entry := range entries {
				for _, ending := range endings {
					if strings.HasSuffix(entry.Name(), ending) {
						err = errors.Join(err, do(entry.Name()))
					}
				}
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		matching(path, func(name string) error { return os.Remove(filepath.Join(path, name)) })
		matching(from, func(name string) error {
			content, err := os.ReadFile(filepath.Join(from, name))
			return errors.Join(err, os.WriteFile(filepath.Join(path, name), content, 0o600))
		})
	}
}

// mustStayRevoked checks that a database with older files opens, and still has the
// revocation.
func mustStayRevoked(t *testing.T, path, id string) {
	t.Helper()
	db, err := openAt(path)
	if err != nil {
		t.Fatalf("got error %v, want the files rebuilt from the journal", err)
	}
	defer closeDB(t, db)
	equal(t, "the revoked record", statuses(t, db)[id], revoked)
	equal(t, "findings", check(t, db), map[string]string{})
}

// Older tables lack changes, and a newer log of Badger's does not show it.
func TestOpen_olderTables(t *testing.T) {
	for _, test := range []struct {
		name    string
		endings []string
	}{
		{"tables and manifest", []string{".sst", "MANIFEST"}},
		{"the manifest", []string{"MANIFEST"}},
		{"all of Badger's files", []string{".sst", "MANIFEST", ".mem", ".vlog"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			db := openNew(t)
			id := mustCreate(t, db)
			db = reopen(t, db)
			snapshot(t, db)
			putBack := keepFiles(t, db, test.endings...)
			mustRevoke(t, db, id)
			db = reopen(t, db) // closing writes a table
			snapshot(t, db)
			mustCreate(t, db)
			killed := copyOf(t, db.Path())
			closeDB(t, db)
			putBack(killed)
			mustStayRevoked(t, killed, id)
		})
	}
}

// The remains of a store are not taken for an empty directory.
func TestOpen_remnants(t *testing.T) {
	db := openNew(t)
	mustCreate(t, db)
	closeDB(t, db)
	for _, entry := range mustReadDir(t, db.Path()) {
		if filepath.Ext(entry.Name()) != ".vlog" && entry.Name() != "KEYREGISTRY" {
			if err := os.RemoveAll(filepath.Join(db.Path(), entry.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := openAt(db.Path()); err == nil || !strings.Contains(err.Error(), "there is no journal to rebuild them from") {
		t.Errorf("got error %v, want one saying that there is no journal to rebuild from", err)
	}
}

// A kill during a flush, a compaction or a snapshot never makes a file look as if
// it had been replaced.
func TestOpen_killedAtSnapshots(t *testing.T) {
	kills := 4
	if testing.Short() {
		kills = 3
	}
	path := filepath.Join(t.TempDir(), "keys")
	for kill := range kills {
		p := testenv.StartChild(t, roleSnapshot, path)
		time.Sleep(time.Duration(rand.IntN(700)) * time.Millisecond) // a kill can come at any time
		p.End()
		db, err := openAt(path)
		if err != nil {
			t.Fatalf("after kill %d: %v", kill, err)
		}
		if kill == kills-1 {
			equal(t, "findings", check(t, db), map[string]string{})
		}
		if kill%2 == 0 {
			snapshot(t, db)
		}
		closeDB(t, db)
		for _, repair := range db.Repairs() {
			if repair.Kind == Rebuilding {
				t.Errorf("after kill %d: got %+v, want no rebuild", kill, repair)
			}
		}
	}
	tables, err := filesWith(path, ".sst")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d tables, the last of them %s", len(tables), filepath.Base(tables[len(tables)-1]))
}

// A file that this process may not open is not damaged, so nothing is rebuilt.
func TestOpen_foreignFile(t *testing.T) {
	db := openNew(t)
	mustCreate(t, db)
	closeDB(t, db)
	table := filepath.Join(db.Path(), "000001.sst")
	if err := os.Chmod(table, 0); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 { // make all other files somebody else's
		all := append(imageOf(t, db.Path()).names(), ".", "LOCK", journalDirectory, filepath.Join(journalDirectory, "lock"))
		for _, name := range all {
			if path := filepath.Join(db.Path(), name); path != table {
				if err := os.Chown(path, 65534, -1); err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
			}
		}
		for dir := filepath.Dir(db.Path()); dir != os.TempDir(); dir = filepath.Dir(dir) {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	notRoot(t)
	_, err := openAt(db.Path())
	if err == nil || !strings.Contains(err.Error(), `its file "000001.sst": permission denied`) {
		t.Errorf("got error %v, want permission denied", err)
	}
	if damaged, _ := filepath.Glob(filepath.Join(db.Path(), damagedDirectory+"*")); len(damaged) > 0 {
		t.Errorf("got the directory %s, want none", damaged)
	}
}

// Glob patterns in a path have no special meaning.
func TestOpen_pathWithBrackets(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "keys[1]*"))
	mustCreate(t, db)
	db = reopen(t, db)
	snapshot(t, db)
	db = reopen(t, db)
	equal(t, "findings", check(t, db), map[string]string{})
	for _, entry := range mustReadDir(t, db.Path()) {
		if strings.HasPrefix(entry.Name(), damagedDirectory) {
			t.Errorf("got %s, want no rebuild", entry.Name())
		}
	}
}

func mustReadDir(t *testing.T, path string) []os.DirEntry {
	t.Helper()
	entries, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// A check reports a missing journal; changes are refused until it is back.
func TestCheck_withoutJournal(t *testing.T) {
	db := openNew(t)
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Rename(db.journalPath(), elsewhere); err != nil {
		t.Fatal(err)
	}
	if got := check(t, db)["changes"]; !strings.Contains(got, "a file of the journal was removed or replaced") {
		t.Errorf("got %q, want one saying that a file is gone", got)
	}
	if err := os.Rename(elsewhere, db.journalPath()); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, db)
	equal(t, "findings once it is back", check(t, db), map[string]string{})
}

// No new journal is created from files that have visibly lost something.
func TestNewJournal_olderTables(t *testing.T) {
	db := openNew(t)
	id := mustCreate(t, db)
	db = reopen(t, db)
	snapshot(t, db)
	putBack := keepFiles(t, db, "MANIFEST", ".sst")
	mustRevoke(t, db, id)
	db = reopen(t, db)
	snapshot(t, db)
	killed := copyOf(t, db.Path())
	closeDB(t, db)
	putBack(killed)
	if _, err := NewJournal(testOptions(killed), start); err == nil || !strings.Contains(err.Error(), "the journal cannot be rebuilt") {
		t.Errorf("got error %v, want one saying that the journal cannot be rebuilt", err)
	}
}

// A new journal does not lose what the old one has and Badger's files, which are
// older, lack.
func TestNewJournal_salvages(t *testing.T) {
	older := func(t *testing.T) (path, id string) {
		t.Helper()
		db := openNew(t)
		id = mustCreate(t, db)
		db = reopen(t, db)
		putBack := keepFiles(t, db, "MANIFEST", ".sst", ".mem", ".vlog")
		mustRevoke(t, db, id)
		mustCreate(t, db)
		closeDB(t, db)
		path = copyOf(t, db.Path())
		putBack(path)
		return path, id
	}
	t.Run("an intact journal", func(t *testing.T) {
		path, id := older(t)
		if _, err := NewJournal(testOptions(path), start); err == nil || !strings.Contains(err.Error(), "the journal is intact") {
			t.Errorf("got error %v, want one saying that the journal is intact", err)
		}
		found, err := Examine(t.Context(), testOptions(path), checkContents)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "findings", wrong(found)["opening"], "warning: The store could not be opened without a repair: the key store's files had lost changes, which were restored from its journal.")
		mustStayRevoked(t, path, id)
	})
	t.Run("a journal damaged after the revocation", func(t *testing.T) {
		path, id := older(t)
		segments, err := filepath.Glob(filepath.Join(path, journalDirectory, "*.journal"))
		if err != nil || len(segments) != 1 {
			t.Fatalf("got segments %q and error %v, want one", segments, err)
		}
		content, err := os.ReadFile(segments[0])
		if err != nil {
			t.Fatal(err)
		}
		content = append(content, content[len(content)-1000:]...) // not an entry, nor a torn one
		if err := os.WriteFile(segments[0], content, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := openFails(t, path); !strings.Contains(got, "--new-journal") {
			t.Errorf("opening it: got %q, want advice", got)
		}
		if _, err := NewJournal(testOptions(path), start); err != nil {
			t.Fatalf("NewJournal: got error %v, want none", err)
		}
		mustStayRevoked(t, path, id)
		db := open(t, path)
		equal(t, "records", len(statuses(t, db)), 2)
	})
}

// No change is acknowledged if it would not be in the journal.
func TestChange_journalGone(t *testing.T) {
	db := openNew(t)
	mustCreate(t, db)
	segments, err := filepath.Glob(filepath.Join(db.journalPath(), "*.journal"))
	if err != nil || len(segments) != 1 {
		t.Fatalf("got segments %q and error %v, want one", segments, err)
	}
	moved := segments[0] + ".moved"
	if err := os.Rename(segments[0], moved); err != nil {
		t.Fatal(err)
	}
	refusedAsMoved(t, db)
	equal(t, "finding", check(t, db)["changes"], "error: No changes are made: a file of the journal was removed or replaced.")
	if err := os.Rename(moved, segments[0]); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, db)
	snapshot(t, db)
	snapshots, err := filepath.Glob(filepath.Join(db.journalPath(), "*.snapshot"))
	if err != nil || len(snapshots) != 1 {
		t.Fatalf("got snapshots %q and error %v, want one", snapshots, err)
	}
	if err := os.Remove(snapshots[0]); err != nil {
		t.Fatal(err)
	}
	refusedAsMoved(t, db)
}

func refusedAsMoved(t *testing.T, db *DB) {
	t.Helper()
	before := statuses(t, db)
	err := change(db, start, record(newID(), active))
	if _, immutable := errors.AsType[*ImmutableError](err); !immutable || !errors.Is(err, ErrJournalMoved) {
		t.Errorf("got error %v, want ErrJournalMoved", err)
	}
	equal(t, "records after a refused change", statuses(t, db), before)
}
