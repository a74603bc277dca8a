package store

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

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// openLogged opens a store, and returns what it says at level warn and above.
func openLogged(t *testing.T, path string) (*Store, []string) {
	t.Helper()
	core, logs := observer.New(zapcore.WarnLevel)
	s, err := Open(path, zap.New(core), nil)
	if err != nil {
		t.Fatalf("Open: got error %v, want a store", err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	var said []string
	for _, entry := range logs.All() {
		said = append(said, entry.Message)
	}
	return s, said
}

func sumOf(t *testing.T, s *Store) string {
	t.Helper()
	sum, err := acknowledgedIn(s)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// What the journal has and Badger does not was acknowledged, or nearly so: it is
// made, and a restart after that says nothing any more.
func TestOpen_replays(t *testing.T) {
	s := openNew(t)
	key := mustCreate(t, s, "acme", "Zapier", start)
	behindBadger := copyOf(t, s.Path())
	mustRevoke(t, s, key, start)
	want := sumOf(t, s)
	// The journal of the one, and Badger's files of the other.
	if err := errors.Join(os.RemoveAll(filepath.Join(behindBadger, journalDirectory)),
		os.CopyFS(filepath.Join(behindBadger, journalDirectory), os.DirFS(s.journalPath()))); err != nil {
		t.Fatal(err)
	}
	replayed, said := openLogged(t, behindBadger)
	equal(t, "said", strings.Join(said, "\n"), "the files of the key store had lost changes, which its journal has: they are made again")
	revoked := lookup(t, replayed, key.Digest)
	equal(t, "the key", revoked.Status(start), apikey.Revoked)
	equal(t, "what is in it", sumOf(t, replayed), want)
	closeStore(t, replayed)
	_, said = openLogged(t, behindBadger)
	equal(t, "said at the next start", len(said), 0)
}

// Files that are built anew have everything but the last uses of keys, and go on
// from there, also where building them was interrupted.
func TestOpen_rebuilds(t *testing.T) {
	s := livedStore(t)
	if err := s.renewJournal(t.Context()); err != nil {
		t.Fatal(err)
	}
	key := mustCreate(t, s, "acme", "Export", start.Add(time.Hour))
	want := sumOf(t, s)
	closeStore(t, s)
	tables, err := filepath.Glob(filepath.Join(s.Path(), "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("got tables %q, %v, want some", tables, err)
	}
	if err := os.Truncate(tables[0], 100); err != nil {
		t.Fatal(err)
	}
	interrupted := copyOf(t, s.Path())
	rebuilt, said := openLogged(t, s.Path())
	equal(t, "said", strings.Join(said, "\n"), strings.Join([]string{
		"the files of the key store are damaged: they are built anew from its journal, which takes a while",
		"the damaged files are kept: delete them when nobody needs them",
		"the files of the key store were built anew: what is not known any more is when keys were used since the journal's snapshot",
	}, "\n"))
	equal(t, "what is in it", sumOf(t, rebuilt), want)
	equal(t, "findings", check(t, rebuilt, start.Add(time.Hour)), map[string]string{})
	note, err := rebuilt.ClockNote()
	if err != nil || !note.Confirmed.Equal(start.Add(time.Hour)) {
		t.Errorf("confirmed time: got %v, %v, want the time of the last change", note, err)
	}
	kept, err := filepath.Glob(filepath.Join(s.Path(), damagedDirectory+"*", "*.sst"))
	if err != nil || len(kept) != len(tables) {
		t.Errorf("kept aside: got %q, %v, want %d tables", kept, err, len(tables))
	}
	mustRevoke(t, rebuilt, key, start.Add(time.Hour))
	want = sumOf(t, rebuilt)
	equal(t, "after a restart", sumOf(t, reopen(t, rebuilt)), want)

	// Whatever is there when it was interrupted is no store.
	half := openNew(t)
	mustCreate(t, half, "acme", "Half", start)
	closeStore(t, half)
	if err := eachBadgerFile(interrupted, os.Remove); err != nil {
		t.Fatal(err)
	}
	if err := eachBadgerFile(half.Path(), func(path string) error { return os.Rename(path, filepath.Join(interrupted, filepath.Base(path))) }); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(interrupted, journalDirectory, rebuildMark), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	again, _ := openLogged(t, interrupted)
	equal(t, "findings", check(t, again, start.Add(time.Hour)), map[string]string{})
	if again.rebuilding() {
		t.Error("the mark of a rebuild is still there")
	}
}

// A journal of another store proves nothing.
func TestOpen_foreignJournal(t *testing.T) {
	s, other := openNew(t), openNew(t)
	for range 3 {
		mustCreate(t, s, "acme", "Key "+apikey.NewKeyID(start), start)
		mustCreate(t, other, "acme", "Key "+apikey.NewKeyID(start), start)
	}
	closeStore(t, s)
	closeStore(t, other)
	if err := errors.Join(os.RemoveAll(s.journalPath()), os.Rename(other.journalPath(), s.journalPath())); err != nil {
		t.Fatal(err)
	}
	equal(t, "error", openFails(t, s.Path()), "its journal is that of another store: bring the one back that belongs to it, or restore a backup into an empty directory")
}

// A snapshot that is damaged is made again, before it is needed.
func TestOpen_damagedSnapshot(t *testing.T) {
	s := livedStore(t)
	if err := s.renewJournal(t.Context()); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	snapshots, err := filepath.Glob(filepath.Join(s.journalPath(), "*.snapshot"))
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
	s = open(t, s.Path(), nil)
	for deadline := time.Now().Add(time.Minute); s.readSnapshot(t.Context()) != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the damaged snapshot was not made again")
		}
	}
}

// A snapshot takes the place of the journal once it has grown, and what was
// forgotten is out of it a day later.
func TestKeeper(t *testing.T) {
	s := openNew(t)
	mustCreate(t, s, "forgotten", "Zapier", start)
	mustCreate(t, s, "acme", "Zapier", start.Add(100*day))
	holds := func(text string) bool {
		t.Helper()
		s.changes.Lock()
		defer s.changes.Unlock()
		found := false
		snapshot, err := s.journal.OpenSnapshot()
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
		segments, err := filepath.Glob(filepath.Join(s.journalPath(), "*.journal"))
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
	event := allEvents(t, s, "forgotten")[0].ID
	if !holds(event) {
		t.Fatal("the journal does not have an event that was just kept")
	}
	for _, now := range []time.Time{start.Add(100 * day), start.Add(102 * day)} {
		if _, err := s.ForgetEvents(t.Context(), start.Add(day), now); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(time.Minute); holds(event); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the journal still has an event that was forgotten")
		}
	}
	equal(t, "findings", check(t, s, start.Add(102*day)), map[string]string{})
}
