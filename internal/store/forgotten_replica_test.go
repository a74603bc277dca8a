package store

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// What a fleet has deleted, no replica brings back from a backup: not one that joined
// later, nor one that learned of it from another backup.
func TestForgotten_fleet(t *testing.T) {
	log := openFleet(t, 2)
	first, second := log.replicas[0], log.replicas[1]
	feed, now := digestOf("feed"), start.Add(2*day)
	mustApply(t, first, start, apikey.OpenFeed{WorkspaceID: "acme", Digest: feed})
	old := mustBackup(t, first, start)
	mustApply(t, first, start, apikey.CloseFeed{WorkspaceID: "acme"})
	noteConfirmed(t, first, now)
	equal(t, "forgotten feeds", mustForgetFeeds(t, first, start.Add(day), now), 1)
	newer := mustBackup(t, first, now)

	noFeed := func(what string, s *Store) {
		t.Helper()
		mustRestore(t, s, old, now)
		if _, err := s.Feed(t.Context(), feed); !errors.Is(err, apikey.ErrNotFound) {
			t.Errorf("%s: got error %v, want ErrNotFound", what, err)
		}
	}
	noFeed("another replica", second)
	joined := log.join(t, filepath.Join(t.TempDir(), "keys"), nil)
	noFeed("a replica that joined later", joined)

	other := openFleet(t, 2)
	mustRestore(t, other.replicas[0], newer, now)
	noFeed("a replica of the fleet that restored a newer backup", other.replicas[1])
}

// An imported key that one replica has deleted leaves a tombstone on all of them, and on one
// that joins later, and is put back with the other records where etcd has lost it.
func TestForgotten_importedInFleet(t *testing.T) {
	log := openFleet(t, 2)
	first, second := log.replicas[0], log.replicas[1]
	noteConfirmed(t, first, start)
	mustImport(t, first, imported("sk_1", "acme", "Zapier", start), start)
	now := start.Add(2 * life)
	settledAt(t, first, now)
	equal(t, "forgotten keys", mustForgetKeys(t, first, now, now), 1)
	joined := log.join(t, filepath.Join(t.TempDir(), "keys"), nil)
	for title, s := range map[string]*Store{"the replica": first, "another": second, "one that joined later": joined} {
		if _, err := s.TryImport(t.Context(), imported("sk_1", "acme", "Zapier", now), now); !errors.Is(err, apikey.ErrTokenTaken) {
			t.Errorf("%s: got error %v, want one saying that the token is taken", title, err)
		}
		sameRecords(t, title, recordsOf(t, s), recordsOf(t, first))
	}
	for _, r := range recordsOf(t, first) {
		if r.Kind != apikey.RecordTombstone {
			continue
		}
		note, err := keptNote(r)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "kept", keptRecord(note, r.Value), r)
		outcome := mustApply(t, openNew(t), now, apikey.PutBack{Records: []apikey.Record{r}})
		equal(t, "unchanged", outcome.Unchanged, false)
		return
	}
	t.Error("got no tombstone among the records")
}

// A clock that was set back on one replica counts on all: the keys that were deleted
// because of it stay deleted or revoked.
func TestForgotten_setBackInFleet(t *testing.T) {
	log := openFleet(t, 2)
	first, second := log.replicas[0], log.replicas[1]
	noteConfirmed(t, first, start)
	key := mustCreate(t, first, "acme", "Zapier", start)
	backup := mustBackup(t, first, start)
	mustRevoke(t, first, key, start)
	wrong, right := start.Add(2*life), start.Add(day)
	settledAt(t, first, wrong)
	equal(t, "forgotten keys", mustForgetKeys(t, first, wrong, wrong), 1)
	trust(t, first, wrong, right)

	mustRestore(t, second, backup, right)
	restored := lookup(t, second, key.Digest)
	equal(t, "status", restored.Status(right), apikey.Revoked)
	sameRecords(t, "the replicas", recordsOf(t, second), recordsOf(t, first))
}
