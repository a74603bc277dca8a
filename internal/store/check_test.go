package store

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

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// told returns what is not fine among findings, by what was checked.
func told(findings []apikey.Finding) map[string]string {
	wrong := make(map[string]string)
	for _, f := range findings {
		if f.Severity != apikey.Fine {
			wrong[f.Check] += string(f.Severity) + ": " + f.Message
		}
	}
	return wrong
}

func check(t *testing.T, s *Store, now time.Time) map[string]string {
	t.Helper()
	findings, err := s.Check(t.Context(), now)
	if err != nil {
		t.Fatalf("Check: got error %v, want findings", err)
	}
	return told(findings)
}

// livedStore is a store in which everything has happened that leaves a record.
func livedStore(t *testing.T) *Store {
	t.Helper()
	s := openNew(t)
	key, other := mustCreate(t, s, "acme", "Zapier", start), mustCreate(t, s, "acme", "Billing", start)
	do := rotation(key, start)
	do.RevokeOldAt = start.Add(day)
	mustApply(t, s, start, do)
	mustRevoke(t, s, other, start)
	mustCreate(t, s, "globex", "Warehouse", start)
	mustApply(t, s, start, apikey.Suspend{WorkspaceID: "globex", Reason: "unpaid"})
	mustApply(t, s, start, apikey.OpenFeed{WorkspaceID: "acme", Digest: apikey.NewFeedToken().Digest()})
	mustApply(t, s, start, apikey.Lookup{Digest: key.Digest})
	mustApply(t, s, start, apikey.Backup{})
	mustNote(t, s, map[string]time.Time{key.ID: start})
	return s
}

func TestCheck(t *testing.T) {
	s := livedStore(t)
	equal(t, "findings", check(t, s, start), map[string]string{})
	if _, err := s.ForgetEvents(t.Context(), start.Add(time.Hour), start.Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s)
	equal(t, "findings after a restart", check(t, s, start), map[string]string{})
	closeStore(t, s)
	if _, err := s.Check(t.Context(), start); !errors.Is(err, apikey.ErrStoreUnavailable) {
		t.Errorf("a closed store: got error %v, want ErrStoreUnavailable", err)
	}
}

// What is missing on the disk, a process that has it open does not miss.
func TestCheck_filesGone(t *testing.T) {
	for _, test := range []struct{ name, extension, want string }{
		{"the manifest", "", "the manifest is not there"},
		{"a table", ".sst", "no such file"},
		{"the log", ".mem", "its log is not there"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := reopen(t, livedStore(t))
			gone := []string{filepath.Join(s.Path(), "MANIFEST")}
			if test.extension != "" {
				var err error
				if gone, err = filesWith(s.Path(), test.extension); err != nil || len(gone) == 0 {
					t.Fatalf("got files %q and error %v, want some", gone, err)
				}
			}
			if err := os.Remove(gone[0]); err != nil {
				t.Fatal(err)
			}
			if got := told(mustCheck(t, s))["tables"]; !strings.HasPrefix(got, "error: The next start will not find the files as they were") || !strings.Contains(got, test.want) {
				t.Errorf("got the finding %q, want that it is missing: %s", got, test.want)
			}
		})
	}
}

// A store that is closed while it is checked is closed when that is done.
func TestCheck_whileClosing(t *testing.T) {
	s := livedStore(t)
	s.gate.RLock() // as a check does
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	for deadline := time.Now().Add(10 * time.Second); s.gate.TryRLock(); runtime.Gosched() {
		s.gate.RUnlock()
		if time.Now().After(deadline) {
			t.Fatal("Close does not wait for the check under way")
		}
	}
	checked := make(chan error, 1)
	go func() {
		_, err := s.checkJournal(t.Context())
		changes, _ := s.checkChanges()
		checked <- errors.Join(err, notFine(s.checkClock(start)), notFine(changes))
	}()
	select {
	case err := <-checked:
		if err != nil {
			t.Errorf("the check: got error %v, want none", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the check waits for Close, which waits for the check")
	}
	s.gate.RUnlock()
	if err := <-closed; err != nil {
		t.Errorf("Close: got error %v, want none", err)
	}
}

// notFine is an error where a finding is not fine.
func notFine(f apikey.Finding) error {
	if f.Severity == apikey.Fine {
		return nil
	}
	return errors.New(f.Message)
}

// What a record says and an index does not, or the other way round, is found.
func TestCheck_records(t *testing.T) {
	for _, test := range []struct {
		name   string
		damage func(*transaction, apikey.Key) error
		want   string
	}{
		{"no digest", func(txn *transaction, k apikey.Key) error { return txn.Delete(digestKey(k.Digest)) }, "the index has no"},
		{"another's digest", func(txn *transaction, k apikey.Key) error { return txn.Set(digestKey(k.Digest), []byte("key_x")) }, `the index has "key_x"`},
		{"not in its workspace", func(txn *transaction, k apikey.Key) error { return txn.Delete(workspaceKey("acme", k.ID)) }, "the index has no"},
		{"in another workspace", func(txn *transaction, k apikey.Key) error { return txn.Set(workspaceKey("globex", k.ID), nil) }, "the index w/ has 2 entries, and should have 1"},
		{"the value of another", func(txn *transaction, k apikey.Key) error { return txn.Set(digestKey(k.Digest), []byte("key_x")) }, `the index has "key_x" for`},
		{"no end", func(txn *transaction, k apikey.Key) error { return txn.Delete(endKey(endingOf(&k), k.ID)) }, "the index has no"},
		{"a damaged record", func(txn *transaction, k apikey.Key) error { return txn.Set(recordKey(k.ID), []byte("{}")) }, "is of another key"},
		{"a count too many", func(txn *transaction, k apikey.Key) error {
			return addTo(txn, timeKey(days.prefix, days.begin(toMillis(k.ExpiresAt))), 0, 1)
		}, "keys are counted to end from"},
		{"a name of nobody", func(txn *transaction, k apikey.Key) error {
			return save(txn, nameKey("acme", "x"), []member{{ID: "key_x"}})
		}, "has key_x, which does not belong in it"},
		{"a name of another", func(txn *transaction, k apikey.Key) error {
			return save(txn, nameKey("acme", "x"), []member{memberOf(&k)})
		}, "which does not belong in it"},
		{"no name", func(txn *transaction, k apikey.Key) error { return txn.Delete(nameOf(&k)) }, "is not in the list"},
		{"no slot", func(txn *transaction, k apikey.Key) error { return txn.Delete(slotKey(k.ID)) }, "the index has no"},
		{"another's slot", func(txn *transaction, k apikey.Key) error { return save(txn, placeKey("acme", 0), member{ID: "key_x"}) }, "is not "},
		{"a roster of more", func(txn *transaction, k apikey.Key) error { return save(txn, rosterKey("acme"), roster{Current: 2}) }, "is said to have the keys"},
		{"an ended key of nobody", func(txn *transaction, k apikey.Key) error {
			return txn.Set(endedKey("acme", apikey.Expired, "key_x"), nil)
		}, "the index d/ has 1 entries, and should have 0"},
		{"an event of no workspace", func(txn *transaction, _ apikey.Key) error { return txn.Set(eventIndexKey("acme", "evt_x"), nil) }, "the index b/ has 2 entries, and should have 1"},
		{"a damaged event", func(txn *transaction, _ apikey.Key) error { return txn.Set(eventKey("evt_x"), []byte("{}")) }, "the record of the event evt_x is of another one"},
		{"a feed of nobody", func(txn *transaction, _ apikey.Key) error { return txn.Set(feedKey(apikey.Digest{}), []byte("acme")) }, "the index f/ has 1 entries, and should have 0"},
		{"a damaged suspension", func(txn *transaction, _ apikey.Key) error { return txn.Set(suspensionKey("acme"), []byte("{}")) }, "acme"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := openNew(t)
			key := mustCreate(t, s, "acme", "Zapier", start)
			if err := behind(s, func(txn *transaction) error { return test.damage(txn, key) }); err != nil {
				t.Fatal(err)
			}
			if got := check(t, s, start); len(got) != 1 || !strings.Contains(got["records"], test.want) {
				t.Errorf("got %q, want records with %q", got, test.want)
			}
		})
	}
}

func TestCheck_surroundings(t *testing.T) {
	s := openNew(t)
	noteClock(t, s, apikey.ClockNote{Confirmed: start})
	for _, test := range []struct {
		name, check, want string
		do                func() (undo func() error, err error)
		now               time.Time
	}{
		{"the clock is behind", "clock", "error: The clock says 2026-03-01T11:00:00Z, and the store has seen 2026-03-01T12:00:00Z.", nil, start.Add(-time.Hour)},
		{"no room", "space", "error: The disk has ", func() (func() error, error) {
			s.minFree = 1 << 60
			return func() error { s.minFree = minFree; return nil }, nil
		}, start},
		{"open to others", "permissions", "warning: Others than its owner may look into the store's directory: its mode is 0755.", func() (func() error, error) {
			return func() error { return os.Chmod(s.Path(), 0o700) }, os.Chmod(s.Path(), 0o755)
		}, start},
		{"in doubt", "changes", "error: No change is made: the disk did not take the last one.", func() (func() error, error) {
			s.doubt = errDoubt
			return func() error { s.doubt = nil; return nil }, nil
		}, start},
		{"a cut journal", "journal", "error: the journal's file ", func() (func() error, error) {
			path := filepath.Join(s.journalPath(), fmt.Sprintf("%020d.journal", 1))
			content, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			return func() error { return os.WriteFile(path, content, 0o600) }, os.WriteFile(path, content[:len(content)-1], 0o600)
		}, start},
	} {
		t.Run(test.name, func(t *testing.T) {
			mustCreate(t, s, "acme", test.name+" key", start)
			if test.do != nil {
				undo, err := test.do()
				if err != nil {
					t.Fatal(err)
				}
				defer func() {
					if err := undo(); err != nil {
						t.Fatal(err)
					}
				}()
			}
			if got := check(t, s, test.now); len(got) != 1 || !strings.HasPrefix(got[test.check], test.want) {
				t.Errorf("got %q, want %s with %q", got, test.check, test.want)
			}
		})
	}
}

func TestExamine(t *testing.T) {
	examine := func(path string) map[string]string {
		t.Helper()
		before := listing(t, path)
		findings, err := Examine(t.Context(), path, start)
		if err != nil {
			t.Fatalf("Examine: got error %v, want findings", err)
		}
		equal(t, "the store's files afterwards", listing(t, path), before)
		return told(findings)
	}
	s := livedStore(t)
	if _, err := Examine(t.Context(), s.Path(), start); err == nil || !strings.Contains(err.Error(), "it is locked by") {
		t.Errorf("an open store: got error %v, want that it is locked", err)
	}
	killed := copyOf(t, s.Path())
	if err := os.WriteFile(filepath.Join(killed, journalDirectory, "00000000000000000009.snapshot.tmp"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	equal(t, "findings of a killed one", examine(killed), map[string]string{})
	closeStore(t, s)
	equal(t, "findings", examine(s.Path()), map[string]string{})
	if _, err := Examine(t.Context(), t.TempDir(), start); err == nil || !strings.Contains(err.Error(), "there is no key store in") {
		t.Errorf("an empty directory: got error %v, want that there is no store", err)
	}

	if err := os.Chmod(s.Path(), 0o755); err != nil {
		t.Fatal(err)
	}
	equal(t, "findings of one that is open to others", examine(s.Path()), map[string]string{
		"permissions": "warning: Others than its owner may look into the store's directory: its mode is 0755.",
	})

	path := copyOf(t, s.Path())
	tables, err := filepath.Glob(filepath.Join(path, "*.sst"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(tables[0]); err != nil {
		t.Fatal(err)
	}
	got := examine(path)
	equal(t, "findings without a table", got["files"], "error: Files of the store are damaged: the table "+fmt.Sprintf("%q", filepath.Base(tables[0]))+" is not there.")
	equal(t, "number of findings without a table", len(got), 1)
	equal(t, "the records of what it builds anew", told(mustCheck(t, open(t, path, nil)))["records"], "")

	if err := os.RemoveAll(filepath.Join(s.Path(), journalDirectory)); err != nil {
		t.Fatal(err)
	}
	if got := examine(s.Path()); !strings.HasPrefix(got["opening"], "error: It cannot be opened: the files of its journal, in the directory journal in it, are missing.") {
		t.Errorf("without a journal: got %q", got)
	}
}

// listing returns what can be seen of a directory and all files below it.
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

func mustCheck(t *testing.T, s *Store) []apikey.Finding {
	t.Helper()
	findings, err := s.Check(t.Context(), start)
	if err != nil {
		t.Fatal(err)
	}
	return findings
}

// A journal that proves nothing any more is put aside, and another one begun.
func TestNewJournal(t *testing.T) {
	s := livedStore(t)
	key := mustCreate(t, s, "acme", "Export", start)
	closeStore(t, s)
	before, err := acknowledgedIn(open(t, copyOf(t, s.Path()), nil))
	if err != nil {
		t.Fatal(err)
	}
	segments, err := filepath.Glob(filepath.Join(s.journalPath(), "*.journal"))
	if err != nil || len(segments) != 1 {
		t.Fatalf("got segments %q, %v, want 1", segments, err)
	}
	if err := os.Truncate(segments[0], 300); err != nil {
		t.Fatal(err)
	}
	if got := openFails(t, s.Path()); !strings.Contains(got, "--new-journal") {
		t.Errorf("opening it: got %q, want what to do", got)
	}
	kept, err := NewJournal(s.Path(), start)
	if err != nil {
		t.Fatalf("NewJournal: got error %v, want none", err)
	}
	if _, err := os.Stat(filepath.Join(kept, journalDirectory, filepath.Base(segments[0]))); err != nil {
		t.Errorf("the old journal: %v", err)
	}
	s = open(t, s.Path(), nil)
	after, err := acknowledgedIn(s)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "what is in the store", after, before)
	mustRevoke(t, s, key, start)
	s = reopen(t, s)
	equal(t, "findings", check(t, s, start), map[string]string{})

	tables, err := filepath.Glob(filepath.Join(s.Path(), "*.sst"))
	if err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	if err := os.Remove(tables[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := NewJournal(s.Path(), start); err == nil || !strings.Contains(err.Error(), "damaged too") {
		t.Errorf("with damaged files: got error %v, want a refusal", err)
	}
}
