package durable

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/doctor"
)

// A process that has a file open does not notice that it was removed, but a check
// does.
func TestCheck_filesGone(t *testing.T) {
	for _, test := range []struct{ name, extension, want string }{
		{"the manifest", "", "the manifest is missing"},
		{"a table", ".sst", "no such file"},
		{"the log", ".mem", "its write-ahead log is missing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			db := reopen(t, populatedDB(t))
			gone := []string{filepath.Join(db.Path(), "MANIFEST")}
			if test.extension != "" {
				var err error
				if gone, err = filesWith(db.Path(), test.extension); err != nil || len(gone) == 0 {
					t.Fatalf("got files %q and error %v, want some", gone, err)
				}
			}
			if err := os.Remove(gone[0]); err != nil {
				t.Fatal(err)
			}
			if got := check(t, db)["tables"]; !strings.HasPrefix(got, "error: Files have changed or disappeared since the server opened them") || !strings.Contains(got, test.want) {
				t.Errorf("got the finding %q, want one saying that files are gone, and %q", got, test.want)
			}
		})
	}
}

// Closing a database while it is being checked waits for the check.
func TestCheck_whileClosing(t *testing.T) {
	db := populatedDB(t)
	err := db.use(func() error { // as a check does
		closed := make(chan error, 1)
		go func() { closed <- db.Close() }()
		t.Cleanup(func() {
			if err := <-closed; err != nil {
				t.Errorf("Close: got error %v, want none", err)
			}
		})
		awaitClosing(t, db)
		checked := make(chan error, 1)
		go func() {
			found, err := db.checkJournal(t.Context())
			if err == nil && found.Severity != doctor.Fine {
				err = errors.New(found.Message)
			}
			checked <- err
		}()
		select {
		case err := <-checked:
			return err
		case <-time.After(time.Minute):
			return errors.New("the check waits for Close, which waits for the check")
		}
	})
	if err != nil {
		t.Errorf("the check: got error %v, want none", err)
	}
	// A later check does not wait either.
	if _, err := db.CheckJournal(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("a check afterwards: got error %v, want ErrClosed", err)
	}
}

// awaitClosing waits until Close waits for what is in progress: then nothing else
// is let in.
func awaitClosing(t *testing.T, db *DB) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); db.gate.TryRLock(); runtime.Gosched() {
		db.gate.RUnlock()
		if time.Now().After(deadline) {
			t.Fatal("Close does not wait for what is in progress")
		}
	}
}

func TestCheck_surroundings(t *testing.T) {
	db := openNew(t)
	for _, test := range []struct {
		name, check, want string
		do                func() (undo func() error, err error)
	}{
		{"a full disk", "space", "error: The disk has ", func() (func() error, error) {
			db.Inject(Faults{Free: func() uint64 { return 0 }})
			return func() error { db.Inject(Faults{}); return nil }, nil
		}},
		{"accessible to other users", "permissions", "warning: Users other than its owner can access the store's directory: its mode is 0755.", func() (func() error, error) {
			return func() error { return os.Chmod(db.Path(), 0o700) }, os.Chmod(db.Path(), 0o755)
		}},
		{"a change in doubt", "changes", "error: No changes are made: the last one could not be written to disk.", func() (func() error, error) {
			db.doubt = ErrInDoubt
			return func() error { db.doubt = nil; return nil }, nil
		}},
		{"a truncated journal", "journal", "error: the journal's file ", func() (func() error, error) {
			path := filepath.Join(db.journalPath(), fmt.Sprintf("%020d.journal", 1))
			content, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			return func() error { return os.WriteFile(path, content, 0o600) }, os.WriteFile(path, content[:len(content)-1], 0o600)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			mustCreate(t, db)
			undo, err := test.do()
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := undo(); err != nil {
					t.Fatal(err)
				}
			}()
			if got := check(t, db); len(got) != 1 || !strings.HasPrefix(got[test.check], test.want) {
				t.Errorf("got %q, want %s with %q", got, test.check, test.want)
			}
		})
	}
}

func TestExamine(t *testing.T) {
	examine := func(path string) map[string]string {
		t.Helper()
		before := listing(t, path)
		found, err := Examine(t.Context(), testOptions(path), checkContents)
		if err != nil {
			t.Fatalf("Examine: got error %v, want findings", err)
		}
		equal(t, "files afterwards", listing(t, path), before)
		return wrong(found)
	}
	db := populatedDB(t)
	if _, err := Examine(t.Context(), testOptions(db.Path()), checkContents); err == nil || !strings.Contains(err.Error(), "it is locked by") {
		t.Errorf("an open database: got error %v, want one saying that it is locked", err)
	}
	killed := copyOf(t, db.Path())
	if err := os.WriteFile(filepath.Join(killed, journalDirectory, "00000000000000000009.snapshot.tmp"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	equal(t, "findings after a kill", examine(killed), map[string]string{})
	closeDB(t, db)
	equal(t, "findings", examine(db.Path()), map[string]string{})
	if _, err := Examine(t.Context(), testOptions(t.TempDir()), checkContents); err == nil || !strings.Contains(err.Error(), "there is no key store in") {
		t.Errorf("an empty directory: got error %v, want one saying that there is no store", err)
	}

	if err := os.Chmod(db.Path(), 0o755); err != nil {
		t.Fatal(err)
	}
	equal(t, "findings if other users have access", examine(db.Path()), map[string]string{
		"permissions": "warning: Users other than its owner can access the store's directory: its mode is 0755.",
	})

	path := copyOf(t, db.Path())
	tables, err := filepath.Glob(filepath.Join(path, "*.sst"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(tables[0]); err != nil {
		t.Fatal(err)
	}
	got := examine(path)
	equal(t, "findings without a table", got["files"], "error: The store's files are damaged: the table "+fmt.Sprintf("%q", filepath.Base(tables[0]))+" is missing.")
	equal(t, "number of findings without a table", len(got), 1)
	equal(t, "findings after a rebuild", check(t, open(t, path)), map[string]string{})

	if err := os.RemoveAll(filepath.Join(db.Path(), journalDirectory)); err != nil {
		t.Fatal(err)
	}
	if got := examine(db.Path()); !strings.HasPrefix(got["opening"], "error: The store cannot be opened: the journal's files are missing from the store's subdirectory journal.") {
		t.Errorf("without a journal: got %q", got)
	}
}

// listing describes a directory and everything in it, with checksums and times.
func listing(t *testing.T, path string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		line := fmt.Sprint(name, " ", info.Mode())
		if !entry.IsDir() {
			content, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			line = fmt.Sprintf("%s %s %d %x", line, info.ModTime(), len(content), sha256.Sum256(content))
		}
		files = append(files, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// A damaged journal is quarantined, and replaced with a new one.
func TestNewJournal(t *testing.T) {
	db := populatedDB(t)
	id := mustCreate(t, db)
	closeDB(t, db)
	before, err := acknowledgedIn(open(t, copyOf(t, db.Path())))
	if err != nil {
		t.Fatal(err)
	}
	segments, err := filepath.Glob(filepath.Join(db.journalPath(), "*.journal"))
	if err != nil || len(segments) != 1 {
		t.Fatalf("got segments %q, %v, want 1", segments, err)
	}
	if err := os.Truncate(segments[0], 300); err != nil {
		t.Fatal(err)
	}
	if got := openFails(t, db.Path()); !strings.Contains(got, "--new-journal") {
		t.Errorf("opening it: got %q, want advice", got)
	}
	kept, err := NewJournal(testOptions(db.Path()), start)
	if err != nil {
		t.Fatalf("NewJournal: got error %v, want none", err)
	}
	if _, err := os.Stat(filepath.Join(kept, journalDirectory, filepath.Base(segments[0]))); err != nil {
		t.Errorf("the old journal: %v", err)
	}
	db = open(t, db.Path())
	after, err := acknowledgedIn(db)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "contents", after, before)
	mustRevoke(t, db, id)
	db = reopen(t, db)
	equal(t, "findings", check(t, db), map[string]string{})

	tables, err := filepath.Glob(filepath.Join(db.Path(), "*.sst"))
	if err != nil {
		t.Fatal(err)
	}
	closeDB(t, db)
	if err := os.Remove(tables[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := NewJournal(testOptions(db.Path()), start); err == nil || !strings.Contains(err.Error(), "damaged too") {
		t.Errorf("with damaged files: got error %v, want a refusal", err)
	}
}

// A record that the journal does not have is found, wherever it is among the others: it may
// be back although it was deleted.
func TestCheck_recordIsBack(t *testing.T) {
	for _, key := range []string{"a", "k/00000000", "z"} {
		t.Run(key, func(t *testing.T) {
			db := openNew(t)
			mustCreate(t, db)
			snapshot(t, db)
			mustCreate(t, db)
			equal(t, "findings before", check(t, db), map[string]string{})
			if err := db.note(func(txn *Txn) error { return txn.Set([]byte(key), nil) }); err != nil {
				t.Fatal(err)
			}
			if got := check(t, db)["journal"]; !strings.Contains(got, "that was deleted") {
				t.Errorf("got the finding %q, want one of a record that is back", got)
			}
		})
	}
}
