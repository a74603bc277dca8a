package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

func TestUnchangeable(t *testing.T) {
	for _, test := range []struct {
		name, want string
		do         func(*Store) error
	}{
		{"as it should be", "", func(*Store) error { return nil }},
		{"a full disk", "the disk of the key store is full", func(s *Store) error { leave(s, 0); return nil }},
		{"a disk that is nearly full", "the disk of the key store is full: only revoking and suspending still work", func(s *Store) error { leave(s, 70<<20); return nil }},
		{"a directory that is gone", "the directory of the key store was removed, moved or replaced", func(s *Store) error { return os.RemoveAll(s.Path()) }},
		{"a journal that is gone", "a file of the key store's journal was removed or replaced", func(s *Store) error { return os.RemoveAll(journalOf(s)) }},
		{"a change in doubt", "the disk of the key store did not take a change: the server must be restarted", inDoubt},
		{"a closed store", "the key store is closed", (*Store).Close},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := openNew(t)
			if err := test.do(s); err != nil {
				t.Fatal(err)
			}
			equal(t, "why", s.Unchangeable(), test.want)
		})
	}
}

// Whatever has happened to a store, there is one advice on what to do with its
// server, and none that loses keys which the process still has.
func TestCheck_oneAdvice(t *testing.T) {
	remove := func(of func(*Store) string) func(*Store) error {
		return func(s *Store) error {
			found, err := filepath.Glob(of(s))
			if err == nil && len(found) == 0 {
				err = errors.New("there is no " + of(s))
			}
			for _, path := range found {
				err = errors.Join(err, os.RemoveAll(path))
			}
			return err
		}
	}
	both := func(a, b func(*Store) error) func(*Store) error {
		return func(s *Store) error { return errors.Join(a(s), b(s)) }
	}
	tables := remove(func(s *Store) string { return filepath.Join(s.Path(), "*.sst") })
	manifest := remove(func(s *Store) string { return filepath.Join(s.Path(), "MANIFEST") })
	journal := remove(func(s *Store) string { return journalOf(s) })
	cut := func(s *Store) error {
		segments, err := filepath.Glob(filepath.Join(journalOf(s), "*.journal"))
		return errors.Join(err, os.Truncate(segments[len(segments)-1], 150))
	}
	record := func(s *Store) error {
		return behind(s, func(txn *transaction) error { return txn.Set(nameKey("acme", "x"), []byte("key_x")) })
	}
	for _, test := range []struct {
		name     string
		do       func(*Store) error
		wontOpen bool // a start would not find, or not believe, what is left
	}{
		{"no directory", remove(func(s *Store) string { return s.Path() }), true},
		{"a directory that was moved", func(s *Store) error { return os.Rename(s.Path(), s.Path()+"-moved") }, true},
		{"no journal", journal, true},
		{"a cut journal", cut, true},
		{"no tables", tables, false},
		{"no manifest", manifest, false},
		{"neither journal nor tables", both(journal, tables), true},
		{"a cut journal and no tables", both(cut, tables), true},
		{"a cut journal and a record that is wrong", both(cut, record), true},
		{"no tables and a record that is wrong", both(tables, record), false},
		{"a record that is wrong", record, false},
		{"a change in doubt", inDoubt, false},
		{"a change in doubt and no tables", both(inDoubt, tables), false},
		{"a change in doubt and a cut journal", both(inDoubt, cut), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := reopen(t, livedStore(t))
			mustCreate(t, s, "acme", "The newest", start)
			if err := test.do(s); err != nil {
				t.Fatal(err)
			}
			var advices []string
			for _, f := range mustCheck(t, s) {
				if strings.Contains(f.Advice, "tart the server") || strings.Contains(f.Advice, "estore") || strings.Contains(f.Advice, "top ") {
					advices = append(advices, f.Check+": "+f.Advice)
				}
			}
			if len(advices) != 1 {
				t.Fatalf("got the advice %q, want one", advices)
			}
			_, advice, _ := strings.Cut(advices[0], ": ")
			if !strings.HasPrefix(advice, "Take a backup") || test.wontOpen && !strings.HasPrefix(advice, "Take a backup now") {
				t.Errorf("got %q, want it to begin with a backup", advice)
			}
			backup, err := s.Backup(t.Context(), start)
			if err != nil {
				t.Fatalf("the backup that is advised: %v", err)
			}
			defer backup.Close()
			contents, err := CheckBackup(t.Context(), apikey.BackupKey{}, backup, start)
			if err != nil || contents.Keys != 5 {
				t.Errorf("the backup that is advised: got %d keys (%v), want 5", contents.Keys, err)
			}
		})
	}
}

func journalOf(s *Store) string { return filepath.Join(s.Path(), "journal") }

// inDoubt has a change fail in the middle.
func inDoubt(s *Store) error {
	failCommits(s)
	defer restoreDisk(s)
	if err := behind(s, func(txn *transaction) error { return txn.Set([]byte("m/doubt"), nil) }); !errors.Is(err, apikey.ErrInDoubt) {
		return fmt.Errorf("got error %w, want a change in doubt", err)
	}
	return nil
}
