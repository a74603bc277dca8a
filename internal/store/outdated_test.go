package store

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// tablesPerMerge is how many new tables Badger merges at a time.
const tablesPerMerge = 12

// loseTable has Badger merge its tables, and fail to create the first of the new ones. It
// returns the store.
func loseTable(t *testing.T, s *Store) *Store {
	t.Helper()
	tables := func() []string {
		found, err := filepath.Glob(filepath.Join(s.Path(), "*.sst"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	for i := 0; len(tables()) < tablesPerMerge-1; i++ {
		mustCreate(t, s, "globex", fmt.Sprintf("Warehouse %d", i), start)
		s = reopen(t, s)
	}
	var last int
	if _, err := fmt.Sscanf(filepath.Base(slices.Max(tables())), "%06d.sst", &last); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(s.Path(), fmt.Sprintf("%06d.sst", last+2)), 0o700); err != nil { // after that of the notes
		t.Fatal(err)
	}
	if err := s.db.NoteAll(func(set func(key, value []byte) error) error {
		for i := range 900 { // 9 MB, of which a table is made
			if err := set(fmt.Appendf(nil, "m/test/%03d", i), []byte(strings.Repeat("x", 10_000))); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return s
}

// If the database has lost something, everybody forgets what they have read of it, and
// afterwards everything is there again.
func TestStore_outdated(t *testing.T) {
	var stale atomic.Int64
	s := open(t, filepath.Join(t.TempDir(), "keys"), func(outcome apikey.Outcome) {
		if outcome.AllStale {
			stale.Add(1)
		}
	})
	key := mustCreate(t, s, "acme", "Zapier", start)
	mustRevoke(t, s, key, start)
	s = loseTable(t, s)
	version := s.Version("acme")
	for deadline := time.Now().Add(time.Minute); stale.Load() == 0 || s.Ping() != nil || s.filter.Load() == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after a minute: %d times stale, and error %v", stale.Load(), s.Ping())
		}
	}
	if stale.Load() != 1 {
		t.Errorf("everything was stale %d times, want once", stale.Load())
	}
	if s.Version("acme") == version {
		t.Error("what was read of a workspace counts as up to date")
	}
	if !s.MayHave(key.Digest) {
		t.Error("a key is ruled out that there is")
	}
	if got := lookup(t, s, key.Digest); got.RevokedAt.IsZero() {
		t.Errorf("got the key %+v, want it to be revoked", got)
	}
	mustCreate(t, s, "acme", "Billing", start)
}

// What was read before is not used afterwards.
func TestStore_outdatedMemory(t *testing.T) {
	s := openNew(t)
	key := mustCreate(t, s, "acme", "Zapier", start)
	s.rebuildFilter(t.Context())
	counts := func() (n int) {
		s.db.BetweenChanges(func() { n = len(s.lastCounts.values) })
		return n
	}
	if counts() == 0 || s.filter.Load() == nil {
		t.Fatalf("got %d counts and the filter %v in memory, want some", counts(), s.filter.Load())
	}
	s.outdated()
	if n := counts(); n > 0 {
		t.Errorf("%d counts from before are used", n)
	}
	if s.filter.Load() != nil {
		t.Error("the filter from before is used")
	}
	s.rebuildFilter(t.Context())
	if filter := s.filter.Load(); filter == nil || !filter.has(&key.Digest) {
		t.Errorf("got the filter %v, want one with the key", filter)
	}
}
