package store

import (
	"errors"
	"fmt"
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

// cutManifest cuts off the last entry of the manifest.
func cutManifest(t *testing.T, path string) {
	t.Helper()
	name := filepath.Join(path, "MANIFEST")
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	borders := bordersIn("MANIFEST", content)
	if err := os.Truncate(name, int64(borders[len(borders)-2])); err != nil {
		t.Fatal(err)
	}
}

// TestStrays_refusedAgain: a table that a manifest without its end does not name
// has a revocation, which no other file has. What is refused for it the first
// time is refused the next time too.
func TestStrays_refusedAgain(t *testing.T) {
	for _, test := range []struct {
		name    string
		prepare func(t *testing.T, s *Store) // before it is closed
		damage  func(path string) error
		open    func(path string) error
	}{
		{"with the journal torn", nil, func(path string) error {
			segments, err := filepath.Glob(filepath.Join(path, journalDirectory, "*.journal"))
			if err != nil {
				return err
			}
			info, err := os.Stat(segments[0])
			if err != nil {
				return err
			}
			return os.Truncate(segments[0], info.Size()-5)
		}, func(path string) error { _, err := Open(path, zap.NewNop(), nil); return err }},
		{"without a journal", func(t *testing.T, s *Store) {
			t.Helper()
			if err := s.unjournaled(func(txn *transaction) error { return save(txn, schemaKey, 2) }); err != nil {
				t.Fatal(err)
			}
		}, withoutJournal, func(path string) error { _, err := Open(path, zap.NewNop(), nil); return err }},
		{"for a new journal", nil, withoutJournal, func(path string) error { _, err := NewJournal(path, start); return err }},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := openNew(t)
			key := mustCreate(t, s, "acme", "Zapier", start)
			if test.prepare != nil {
				test.prepare(t, s)
			} else {
				s = reopen(t, s)
			}
			mustRevoke(t, s, key, start)
			closeStore(t, s)
			cutManifest(t, s.Path())
			if err := test.damage(s.Path()); err != nil {
				t.Fatal(err)
			}
			for try := range 3 {
				if err := test.open(s.Path()); err == nil {
					t.Fatalf("try %d: got no error, want a refusal", try)
				}
			}
		})
	}
}

func withoutJournal(path string) error { return os.RemoveAll(filepath.Join(path, journalDirectory)) }

// awaitCompaction waits until one table has taken the place of all, and those are
// gone.
func awaitCompaction(t *testing.T, s *Store) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) { // Badger does not say when
		_, manifest, err := readManifest(s.Path())
		tables, errTables := filesWith(s.Path(), ".sst")
		if err == nil && errTables == nil && len(manifest.Tables) == 1 && len(tables) == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("got the manifest %+v, tables %q and errors %v and %v, want one table", manifest, tables, err, errTables)
		}
	}
}

// restoreTables copies the tables that to lacks, and returns how many they are.
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

// TestStrays_ofACompaction: tables that a compaction has replaced are on the disk
// for as long as somebody reads them, and longer where the process is killed.
// Badger has what is in them, but for deletions, which it gives up.
func TestStrays_ofACompaction(t *testing.T) {
	s := openNew(t)
	var before []string // copies of the files before the compaction
	for i := range 5 {  // as many tables as are compacted into one
		for j := range 20 {
			key := mustCreate(t, s, "acme", fmt.Sprint("Key ", i, " ", j), start)
			mustRevoke(t, s, key, start)
		}
		closeStore(t, s)
		before = append(before, copyOf(t, s.Path()))
		s = open(t, s.Path(), nil)
	}
	awaitCompaction(t, s)
	closeStore(t, s)
	killed := copyOf(t, s.Path())
	restored := 0
	for _, copied := range before {
		restored += restoreTables(t, copied, killed)
	}
	if restored < 2 {
		t.Fatalf("got %d tables that were replaced, want them all", restored)
	}

	core, logs := observer.New(zapcore.WarnLevel)
	again, err := Open(killed, zap.New(core), nil)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "keys", len(keysByID(t, again)), 100)
	closeStore(t, again)
	for _, entry := range logs.All() {
		t.Errorf("got %q with %v, want that nothing is wrong", entry.Message, entry.ContextMap())
	}
}

// TestNewJournal_interruptedRebuild: files that were being built lack what the old
// journal has.
func TestNewJournal_interruptedRebuild(t *testing.T) {
	s := openNew(t)
	key := mustCreate(t, s, "acme", "Zapier", start)
	renew(t, s)
	mustRevoke(t, s, key, start)
	closeStore(t, s)
	if err := os.WriteFile(s.rebuildMark(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewJournal(s.Path(), start); err == nil || !strings.Contains(err.Error(), "was interrupted: start the server") {
		t.Errorf("got error %v, want that a rebuild is to go on", err)
	}
	s = open(t, s.Path(), nil)
	equal(t, "status", statusOf(t, s, key, start), apikey.Revoked)
}
