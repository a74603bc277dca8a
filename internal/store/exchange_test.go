package store

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// keepFiles copies those files of a store that end so, to be put back later.
func keepFiles(t *testing.T, s *Store, endings ...string) (putBack func(path string)) {
	t.Helper()
	from := copyOf(t, s.Path())
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

// revokedStays holds that a store whose files were exchanged for older ones is not
// opened, or has what was acknowledged.
func revokedStays(t *testing.T, path string, key apikey.Key) {
	t.Helper()
	s, err := Open(path, zap.NewNop(), nil)
	if err != nil {
		t.Logf("refused: %v", err)
		return
	}
	defer closeStore(t, s)
	if lookup(t, s, key.Digest).RevokedAt.IsZero() {
		t.Error("the store was opened, and its revoked key is alive")
	}
	found := told(mustCheck(t, s))
	delete(found, "clock")
	equal(t, "findings", found, map[string]string{})
}

func renew(t *testing.T, s *Store) {
	t.Helper()
	if err := s.renewJournal(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Older tables under a newer log of Badger's hold less, and the log says nothing of
// it.
func TestOpen_olderTables(t *testing.T) {
	for _, test := range []struct {
		name    string
		endings []string
	}{
		{"tables and manifest", []string{".sst", "MANIFEST"}},
		{"the manifest", []string{"MANIFEST"}},
		{"all of Badger's", []string{".sst", "MANIFEST", ".mem", ".vlog"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := openNew(t)
			key := mustCreate(t, s, "acme", "Zapier", start)
			s = reopen(t, s)
			renew(t, s)
			putBack := keepFiles(t, s, test.endings...)
			mustRevoke(t, s, key, start)
			s = reopen(t, s) // which writes a table
			renew(t, s)
			mustCreate(t, s, "acme", "Another", start)
			killed := copyOf(t, s.Path())
			closeStore(t, s)
			putBack(killed)
			revokedStays(t, killed, key)
		})
	}
}

// What is left of a store is not taken for the place of a new one.
func TestOpen_remnants(t *testing.T) {
	s := openNew(t)
	mustCreate(t, s, "acme", "Zapier", start)
	closeStore(t, s)
	for _, entry := range mustReadDir(t, s.Path()) {
		if filepath.Ext(entry.Name()) != ".vlog" && entry.Name() != "KEYREGISTRY" {
			if err := os.RemoveAll(filepath.Join(s.Path(), entry.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := Open(s.Path(), zap.NewNop(), nil); err == nil || !strings.Contains(err.Error(), "it has no journal to build them from") {
		t.Errorf("got error %v, want that nothing is left to build the files from", err)
	}
}

// Whatever a killed process was at, with its tables, their compaction or a
// snapshot of the journal, no file of it is taken for one that was exchanged.
func TestOpen_killedAtSnapshots(t *testing.T) {
	kills := 8
	if testing.Short() {
		kills = 3
	}
	path := filepath.Join(t.TempDir(), "keys")
	for kill := range kills {
		p := startProcess(t, keeps, path)
		time.Sleep(time.Duration(rand.IntN(700)) * time.Millisecond) // a kill waits for nothing
		p.end()
		core, logs := observer.New(zapcore.WarnLevel)
		s, err := Open(path, zap.New(core), nil)
		if err != nil {
			t.Fatalf("after kill %d: %v", kill, err)
		}
		if kill == kills-1 {
			equal(t, "findings", told(mustCheck(t, s)), map[string]string{})
		}
		if kill%2 == 0 {
			renew(t, s)
		}
		closeStore(t, s)
		for _, entry := range logs.All() {
			if strings.Contains(entry.Message, "damaged") {
				t.Errorf("after kill %d: got %q with %v", kill, entry.Message, entry.ContextMap())
			}
		}
	}
	tables, err := filesWith(path, ".sst")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d tables, the last of them %s", len(tables), filepath.Base(tables[len(tables)-1]))
}

// A file that may not be opened is not damaged: nothing is built anew for it.
func TestOpen_foreignFile(t *testing.T) {
	s := openNew(t)
	mustCreate(t, s, "acme", "Zapier", start)
	closeStore(t, s)
	table := filepath.Join(s.Path(), "000001.sst")
	if err := os.Chmod(table, 0); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 { // it is root's, and all else is not
		all := append(filesIn(t, s.Path()), ".", "LOCK", journalDirectory, filepath.Join(journalDirectory, "lock"))
		for _, name := range all {
			if path := filepath.Join(s.Path(), name); path != table {
				if err := os.Chown(path, 65534, -1); err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
			}
		}
		for dir := filepath.Dir(s.Path()); dir != os.TempDir(); dir = filepath.Dir(dir) {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	notRoot(t)
	_, err := Open(s.Path(), zap.NewNop(), nil)
	if err == nil || !strings.Contains(err.Error(), `its file "000001.sst": permission denied`) {
		t.Errorf("got error %v, want permission denied", err)
	}
	if damaged, _ := filepath.Glob(filepath.Join(s.Path(), damagedDirectory+"*")); len(damaged) > 0 {
		t.Errorf("got the directory %s, want none", damaged)
	}
}

// In a path, what is a pattern elsewhere is a name.
func TestOpen_pathWithBrackets(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "keys[1]*"), nil)
	mustCreate(t, s, "acme", "Zapier", start)
	s = reopen(t, s)
	renew(t, s)
	s = reopen(t, s)
	equal(t, "findings", told(mustCheck(t, s)), map[string]string{})
	for _, entry := range mustReadDir(t, s.Path()) {
		if strings.HasPrefix(entry.Name(), damagedDirectory) {
			t.Errorf("got %s, want that nothing was built anew", entry.Name())
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

// A check finds that the journal is gone, and changes go on being refused or made.
func TestCheck_withoutJournal(t *testing.T) {
	s := openNew(t)
	aside := filepath.Join(t.TempDir(), "aside")
	if err := os.Rename(s.journalPath(), aside); err != nil {
		t.Fatal(err)
	}
	if got := told(mustCheck(t, s))["changes"]; !strings.Contains(got, "a file of the journal was removed or replaced") {
		t.Errorf("got %q, want that the journal is not there", got)
	}
	if err := os.Rename(aside, s.journalPath()); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, s, "acme", "Zapier", start)
	equal(t, "findings once it is back", told(mustCheck(t, s)), map[string]string{})
}

// Where it can be seen that Badger's files have lost something, no journal is
// begun from them.
func TestNewJournal_olderTables(t *testing.T) {
	s := openNew(t)
	key := mustCreate(t, s, "acme", "Zapier", start)
	s = reopen(t, s)
	renew(t, s)
	putBack := keepFiles(t, s, "MANIFEST", ".sst")
	mustRevoke(t, s, key, start)
	s = reopen(t, s)
	renew(t, s)
	killed := copyOf(t, s.Path())
	closeStore(t, s)
	putBack(killed)
	if _, err := NewJournal(killed, start); err == nil || !strings.Contains(err.Error(), "there is nothing to begin a journal from") {
		t.Errorf("got error %v, want that there is nothing to begin a journal from", err)
	}
}

// TestNewJournal_salvages: a new journal does not give up what the old one knows
// and Badger's files, which are older, do not.
func TestNewJournal_salvages(t *testing.T) {
	older := func(t *testing.T) (path string, key apikey.Key) {
		t.Helper()
		s := openNew(t)
		key = mustCreate(t, s, "acme", "Zapier", start)
		s = reopen(t, s)
		putBack := keepFiles(t, s, "MANIFEST", ".sst", ".mem", ".vlog")
		mustRevoke(t, s, key, start)
		mustCreate(t, s, "acme", "Made after that", start)
		closeStore(t, s)
		path = copyOf(t, s.Path())
		putBack(path)
		return path, key
	}
	t.Run("a journal that is whole", func(t *testing.T) {
		path, key := older(t)
		if _, err := NewJournal(path, start); err == nil || !strings.Contains(err.Error(), "its journal is whole") {
			t.Errorf("got error %v, want that the journal is whole", err)
		}
		findings, err := Examine(t.Context(), path, start)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "findings", told(findings)["opening"], "warning: To be opened, it had to be mended: the files of the key store had lost changes, which its journal has: they are made again.")
		revokedStays(t, path, key)
	})
	t.Run("a journal that is damaged after it", func(t *testing.T) {
		path, key := older(t)
		segments, err := filepath.Glob(filepath.Join(path, journalDirectory, "*.journal"))
		if err != nil || len(segments) != 1 {
			t.Fatalf("got segments %q and error %v, want one", segments, err)
		}
		content, err := os.ReadFile(segments[0])
		if err != nil {
			t.Fatal(err)
		}
		content = append(content, content[len(content)-1000:]...) // no entry, and no end of one
		if err := os.WriteFile(segments[0], content, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := openFails(t, path); !strings.Contains(got, "--new-journal") {
			t.Errorf("opening it: got %q, want what to do", got)
		}
		if _, err := NewJournal(path, start); err != nil {
			t.Fatalf("NewJournal: got error %v, want none", err)
		}
		revokedStays(t, path, key)
		s := open(t, path, nil)
		equal(t, "keys", len(keysByID(t, s)), 2)
	})
}

// TestApply_journalGone: nothing is acknowledged that would be in no journal.
func TestApply_journalGone(t *testing.T) {
	s := openNew(t)
	mustCreate(t, s, "acme", "Zapier", start)
	segments, err := filepath.Glob(filepath.Join(s.journalPath(), "*.journal"))
	if err != nil || len(segments) != 1 {
		t.Fatalf("got segments %q and error %v, want one", segments, err)
	}
	aside := segments[0] + ".aside"
	if err := os.Rename(segments[0], aside); err != nil {
		t.Fatal(err)
	}
	refused(t, s, start, apikey.Create{Key: newKey("acme", "Another", start)}, apikey.ErrNoChanges)
	equal(t, "finding", told(mustCheck(t, s))["changes"], "error: No change is made: a file of the journal was removed or replaced.")
	if err := os.Rename(aside, segments[0]); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, s, "acme", "Another", start)
	renew(t, s)
	snapshots, err := filepath.Glob(filepath.Join(s.journalPath(), "*.snapshot"))
	if err != nil || len(snapshots) != 1 {
		t.Fatalf("got snapshots %q and error %v, want one", snapshots, err)
	}
	if err := os.Remove(snapshots[0]); err != nil {
		t.Fatal(err)
	}
	refused(t, s, start, apikey.Create{Key: newKey("acme", "A third", start)}, apikey.ErrStoreUnavailable)
}
