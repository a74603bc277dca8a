package store

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// revision returns the number of the last change of a store.
func revision(t *testing.T, s *Store) (n uint64) {
	t.Helper()
	err := s.inTurn(t.Context(), "", false, func(turn *durable.Turn) error { n = turn.Revision(); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// leave has a replica leave the fleet, which it can join again by a reload.
func (l *orderedLog) leave(i int) *Store {
	s := l.replicas[i]
	l.replicas = slices.Delete(l.replicas, i, i+1)
	return s
}

// sameReplica holds a replica against the first of the fleet.
func (l *orderedLog) sameReplica(t *testing.T, what string, s *Store, now time.Time) {
	t.Helper()
	sameRecords(t, what, recordsOf(t, s), recordsOf(t, l.replicas[0]))
	soundRecords(t, s)
	equal(t, what+": census", census(t, s, now), census(t, l.replicas[0], now))
	at, complete, err := s.Position()
	equal(t, what+": position, complete, error", []any{at, complete, err}, []any{l.head(), true, nil})
}

func TestReload_empty(t *testing.T) {
	log := openFleet(t, 1)
	keys := history(t, log.replicas[0])
	s := log.join(t, filepath.Join(t.TempDir(), "keys"), nil)
	t.Cleanup(func() { closeStore(t, s) })
	log.replicas = log.replicas[:1] // the cleanup closes those
	log.sameReplica(t, "the new replica", s, start.Add(day))
	for name, key := range keys {
		equal(t, name, lookup(t, s, key.Digest), lookup(t, log.replicas[0], key.Digest))
	}
}

// A replica that has missed changes of every kind gets them all, tells of them, and keeps
// what it had. Another reload writes nothing but its beginning and end.
func TestReload_older(t *testing.T) {
	var told heard
	log := newFleet(t, t.TempDir(), 2, func(i int, o apikey.Outcome) {
		if i == 1 {
			told.hear(o)
		}
	})
	first, s := log.replicas[0], log.replicas[1]
	for _, s := range log.replicas {
		t.Cleanup(func() { closeStore(t, s) })
		noteConfirmed(t, s, start)
	}
	keys := history(t, first)
	expired := newKey("acme", "Short-lived", start)
	expired.ExpiresAt = start.Add(day)
	mustApply(t, first, start, apikey.Create{Key: expired})
	mustNote(t, s, map[string]time.Time{expired.ID: start})
	feeds := []string{"a", "b", "c", "d", "e"} // of which some sort before those that replace them
	for _, ws := range feeds {
		mustApply(t, first, start, apikey.OpenFeed{WorkspaceID: ws, Digest: digestOf("feed of " + ws)})
	}
	mustApply(t, first, start, apikey.Suspend{WorkspaceID: "paid"})
	unchanged := mustCreate(t, first, "acme", "Unchanged", start)
	log.leave(1)

	now := start.Add(3 * day)
	noteConfirmed(t, first, now)
	created := mustCreate(t, first, "acme", "New", now)
	mustApply(t, first, now, renaming(keys["active"], "Renamed"))
	mustRevoke(t, first, keys["exposed"], now)
	mustApply(t, first, now, apikey.Resume{WorkspaceID: "paid"})
	mustApply(t, first, now, apikey.Suspend{WorkspaceID: "acme", Reason: "unpaid"})
	for _, ws := range feeds {
		mustApply(t, first, now, apikey.OpenFeed{WorkspaceID: ws, Digest: digestOf("new feed of " + ws)})
	}
	mustApply(t, first, now, apikey.CloseFeed{WorkspaceID: "acme"})
	equal(t, "forgotten keys", mustForgetKeys(t, first, now, now), 1)
	if n, err := first.ForgetEvents(t.Context(), start.Add(4*time.Hour), now); err != nil || n == 0 {
		t.Fatalf("ForgetEvents: got %d and error %v, want some", n, err)
	}
	equal(t, "forgotten feeds", mustForgetFeeds(t, first, now, now), 1)

	noteConfirmed(t, s, now)
	told = heard{}
	mustReload(t, s, recordsOf(t, first), log.head())
	log.sameReplica(t, "the reloaded replica", s, now)
	want := heard{workspaces: []string{"acme suspended: true", "paid suspended: false"}}
	for _, key := range []apikey.Key{created, keys["active"], keys["exposed"], expired} {
		want.stale = append(want.stale, feedID(key.Digest))
	}
	got := told.once()
	got.ended = nil // by the machine's time, at which all of them have ended
	equal(t, "told", got, want.once())
	equal(t, "a key that did not change", lookup(t, s, unchanged.Digest), unchanged)
	for key := range contents(t, s) {
		if key == string(lastUsedKey(expired.ID)) {
			t.Error("the use of the deleted key is still there")
		}
	}

	before := revision(t, s)
	told = heard{}
	mustReload(t, s, recordsOf(t, first), log.head())
	equal(t, "changes by another reload", revision(t, s)-before, uint64(2))
	equal(t, "told by another reload", told, heard{})
	log.sameReplica(t, "the replica, reloaded again", s, now)
}

// A feed that ended while the replica was away, and has been deleted since, is deleted.
func TestReload_feedForgotten(t *testing.T) {
	log := openFleet(t, 2)
	first := log.replicas[0]
	mustApply(t, first, start, apikey.OpenFeed{WorkspaceID: "acme", Digest: digestOf("feed")})
	s := log.leave(1)
	t.Cleanup(func() { closeStore(t, s) })
	mustApply(t, first, start, apikey.CloseFeed{WorkspaceID: "acme"})
	noteConfirmed(t, first, start.Add(day))
	equal(t, "forgotten feeds", mustForgetFeeds(t, first, start.Add(day), start.Add(day)), 1)
	mustReload(t, s, recordsOf(t, first), log.head())
	log.sameReplica(t, "the reloaded replica", s, start)
}

// A replica that has no keys, but other records, is not taken for an empty one.
func TestReload_noKeys(t *testing.T) {
	log := openFleet(t, 2)
	mustApply(t, log.replicas[0], start, apikey.Suspend{WorkspaceID: "acme"})
	mustReload(t, log.replicas[1], nil, apikey.Position{Head: apikey.Head{Fleet: "fleet"}})
	equal(t, "records", len(recordsOf(t, log.replicas[1])), 0)
	equal(t, "suspended", suspended(t, log.replicas[1], "acme"), false)
}

// A reload that was interrupted leaves the replica incomplete. The next one writes only
// what is missing.
func TestReload_interrupted(t *testing.T) {
	log := openFleet(t, 2)
	first := log.replicas[0]
	mustCreate(t, first, "acme", "Zapier", start)
	s := log.leave(1)
	t.Cleanup(func() { closeStore(t, s) })
	for i := range reloadedAtOnce {
		mustCreate(t, first, "acme", fmt.Sprint("Key ", i), start)
	}
	all := recordsOf(t, first)

	reload, err := s.BeginReload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ends := &endsAfter{t.Context(), 2}
	if err := reload.Add(ends, all); !errors.Is(err, ends.Err()) {
		t.Fatalf("Add: got error %v, want one saying that it was cancelled", err)
	}
	reload.Close()
	some := len(recordsOf(t, s))
	if some < reloadedAtOnce || some >= len(all) {
		t.Fatalf("got %d records of %d, want some", some, len(all))
	}
	_, err = s.Apply(t.Context(), changeAt(start, apikey.Suspend{WorkspaceID: "acme"}))
	isUnavailable(t, "a change of an incomplete replica", err)
	_, err = s.Plan(changesAtStart(apikey.Suspend{WorkspaceID: "acme"}), 10)
	isUnavailable(t, "planning on an incomplete replica", err)

	before := revision(t, s)
	mustReload(t, s, all, log.head())
	missing := (len(all)+reloadedAtOnce-1)/reloadedAtOnce - some/reloadedAtOnce // batches
	equal(t, "changes", revision(t, s)-before, uint64(missing+2))
	log.sameReplica(t, "the replica", s, start)
}

// What a fleet cannot have stops a reload, and the replica stays incomplete.
func TestReload_refused(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*apikey.Key)
		want   string
	}{
		{"a key with another token", func(k *apikey.Key) { k.Digest = digestOf("another") }, "has had another token"},
		{"two keys with one token", func(k *apikey.Key) { k.ID = apikey.NewKeyID(start) }, "another key has its token"},
		{"a key in another workspace", func(k *apikey.Key) { k.WorkspaceID = "globex" }, "has had another token or workspace"},
	} {
		t.Run(test.name, func(t *testing.T) {
			log := openFleet(t, 1)
			s := log.replicas[0]
			key := mustCreate(t, s, "acme", "Zapier", start)
			before := contents(t, s)
			reload, err := s.BeginReload(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer reload.Close()
			test.change(&key)
			err = reload.Add(t.Context(), []apikey.Record{keyRecordOf(t, key)})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Add: got error %v, want %q", err, test.want)
			}
			_, complete, err := s.Position()
			equal(t, "complete, error", []any{complete, err}, []any{false, nil})
			after := contents(t, s)
			maps.DeleteFunc(after, func(place, _ string) bool { return place == string(fleetKey) })
			delete(before, string(fleetKey))
			equal(t, "the replica", after, before)
		})
	}
}
