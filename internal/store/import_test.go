package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// mustImport imports a key.
func mustImport(t testing.TB, s *Store, key apikey.Key, at time.Time) apikey.Key {
	t.Helper()
	outcome := mustApply(t, s, at, apikey.Import{Key: key})
	if outcome.Unchanged {
		t.Fatalf("importing %s: got nothing changed, want a new key", key.Name)
	}
	return outcome.Key
}

// Several keys are imported in one transaction. Those that are refused leave nothing.
func TestApplyAll(t *testing.T) {
	var told []apikey.Outcome
	s := open(t, t.TempDir()+"/keys", func(o apikey.Outcome) { told = append(told, o) })
	first := imported("sk_1", "acme", "Zapier", start)
	again := imported("sk_1", "acme", "Zapier", start)
	taken := imported("sk_1", "globex", "Zapier", start)
	named := imported("sk_2", "acme", "ZAPIER", start)
	other := imported("sk_2", "globex", "ZAPIER", start)
	var changes []apikey.Change
	for _, key := range []apikey.Key{first, again, taken, named, other} {
		change := changeAt(start, apikey.Import{Key: key})
		change.Unrecorded = true
		changes = append(changes, change)
	}
	results, err := s.ApplyAll(t.Context(), changes)
	if err != nil {
		t.Fatalf("ApplyAll: got error %v, want none", err)
	}
	for i, want := range []struct {
		id        string
		unchanged bool
		err       error
	}{
		{first.ID, false, nil}, {first.ID, true, nil}, {"", false, apikey.ErrTokenTaken}, {"", false, apikey.ErrNameTaken}, {other.ID, false, nil},
	} {
		equal(t, fmt.Sprint("result ", i), []any{results[i].Outcome.Key.ID, results[i].Outcome.Unchanged, results[i].Err}, []any{want.id, want.unchanged, want.err})
	}
	equal(t, "the first and the last are committed together", results[0].Outcome.Propagation.Revision, results[4].Outcome.Propagation.Revision)
	trail := allEvents(t, s, "")
	equal(t, "events", len(trail), 2)
	equal(t, "reports", len(told), 2)
	equal(t, "event", []any{trail[1].ID, trail[1].Operation, trail[1].WorkspaceID, trail[1].KeyID}, []any{changes[0].EventID, apikey.OpImport, "acme", first.ID})
	equal(t, "details", trail[1].Details, map[string]any{
		"name": "Zapier", "owner": "", "preset": "read_only", "created_at": "2025-03-01T12:00:00Z", "expires_at": "2026-05-30T12:00:00Z",
	})
	for _, events := range trail {
		if said := fmt.Sprintf("%+v", events); strings.Contains(said, "sk_") || strings.Contains(said, fmt.Sprintf("%x", first.Digest)) {
			t.Errorf("got the event %s, want it without token and digest", said)
		}
	}
	equal(t, "findings", check(t, s, start), map[string]string{})
	closeStore(t, s)
	if _, err := s.ApplyAll(t.Context(), changes); err == nil {
		t.Error("got no error from a closed store")
	}
}

// An imported key can be rotated, revoked and looked up like any other.
func TestImport_life(t *testing.T) {
	s := openNew(t)
	key := mustImport(t, s, imported("sk_1", "acme", "Zapier", start), start)
	found := mustApply(t, s, start, apikey.Lookup{Digest: digestOf("sk_1")}).Key
	equal(t, "looked up", found.ID, key.ID)
	rotated := mustApply(t, s, start, rotation(key, start))
	equal(t, "replacement", []any{rotated.Key.Imported, rotated.Key.Replaces, rotated.Replaced.Imported}, []any{false, key.ID, true})
	mustRevoke(t, s, rotated.Replaced, start)
	for _, name := range []string{"Zapier", "Another"} {
		refused(t, s, start, apikey.Import{Key: imported("sk_1", "acme", name, start)}, apikey.ErrTokenTaken)
	}
	equal(t, "findings", check(t, s, start), map[string]string{})
}

// Imported keys are deleted for their age like others. Their tombstones keep them from being
// imported again: in the store, in one that was restored from it, and in one that was reset to
// a time when it had the keys.
func TestImport_forgotten(t *testing.T) {
	s := openNew(t)
	revoked := mustImport(t, s, imported("sk_1", "acme", "Revoked", start), start)
	expired := mustImport(t, s, imported("sk_2", "acme", "Expired", start), start)
	mustCreate(t, s, "acme", "Created", start)
	old := mustBackup(t, s, start)
	mustRevoke(t, s, revoked, start)
	reset := openNew(t)
	mustRestore(t, reset, old, start)
	later := start.Add(1000 * day)
	noteConfirmed(t, s, later)
	equal(t, "forgotten", mustForgetKeys(t, s, later, later), 3)
	for _, key := range []apikey.Key{revoked, expired} {
		if got, err := s.Lookup(key.Digest); !errors.Is(err, apikey.ErrNotFound) {
			t.Errorf("%s: got %+v and error %v, want no key", key.Name, got, err)
		}
	}
	backup := mustBackup(t, s, later)
	s = builtAnew(t, s)
	restored := openNew(t)
	mustRestore(t, restored, backup, later)
	mustRestore(t, restored, old, later)
	mustRestore(t, reset, backup, later)
	for title, s := range map[string]*Store{"the store": s, "a restored store": restored, "a store that was reset": reset} {
		equal(t, title+": tombstones", entriesBelow(t, s, tombstonePrefix), 2)
		equal(t, title+": findings", check(t, s, later), map[string]string{})
		for token, name := range map[string]string{"sk_1": "Revoked", "sk_2": "Expired"} {
			again := imported(token, "acme", name, later)
			refused(t, s, later, apikey.Import{Key: again}, apikey.ErrTokenTaken)
			if _, err := s.TryImport(t.Context(), again, later); !errors.Is(err, apikey.ErrTokenTaken) {
				t.Errorf("%s: trying to import %s: got error %v, want one saying that its token is taken", title, name, err)
			}
		}
	}
	noteConfirmed(t, restored, later)
	mustForgetKeys(t, restored, later, later)
	equal(t, "tombstones after another time", entriesBelow(t, restored, tombstonePrefix), 2)
}

// entriesBelow returns how many keys of the database have a prefix.
func entriesBelow(t *testing.T, s *Store, prefix string) (n int) {
	t.Helper()
	if err := s.view(func(txn *durable.Txn) error {
		for range txn.Below([]byte(prefix)) {
			n++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// An imported key that was deleted by a clock that was wrong for long stays ended when the
// clock is set back: where an old backup has it as active, and where the store itself had it.
func TestImport_forgottenByWrongClock(t *testing.T) {
	s := openNew(t)
	noteConfirmed(t, s, start)
	key := mustImport(t, s, imported("sk_1", "acme", "Zapier", start), start)
	old := mustBackup(t, s, start)
	reset := openNew(t)
	mustRestore(t, reset, old, start)
	wrong, right := start.Add(600*day), start.Add(time.Hour)
	settledAt(t, s, wrong)
	equal(t, "forgotten", mustForgetKeys(t, s, wrong.Add(-400*day), wrong), 1)
	trust(t, s, wrong, right)
	backup := mustBackup(t, s, right)
	mustRestore(t, s, old, right)
	mustRestore(t, reset, backup, right)
	for title, s := range map[string]*Store{"the store": s, "a store that was reset": reset} {
		equal(t, title+": status", statusOf(t, s, key, right), apikey.Revoked)
		refused(t, s, right, apikey.Import{Key: imported("sk_1", "acme", "Zapier", right)}, apikey.ErrTokenTaken)
	}
}

// A backup of the gateway that issued a token does not bring it back where it was imported,
// has ended and was deleted.
func TestImport_forgottenElsewhere(t *testing.T) {
	elsewhere, s := openNew(t), openNew(t)
	issued := mustCreate(t, elsewhere, "acme", "Zapier", start)
	key := imported("", "acme", "Zapier", start)
	key.Digest, key.ExpiresAt = issued.Digest, start.Add(day)
	mustImport(t, s, key, start)
	later := start.Add(2 * day)
	noteConfirmed(t, s, later)
	equal(t, "forgotten", mustForgetKeys(t, s, later, later), 1)
	mustRestore(t, s, mustBackup(t, elsewhere, later), later)
	equal(t, "status there", statusOf(t, elsewhere, issued, later), apikey.Active)
	here := lookup(t, s, issued.Digest)
	equal(t, "status here", []any{here.Status(later), here.RevokeReason}, []any{apikey.Revoked, reasonBuried})
	equal(t, "findings", check(t, s, later), map[string]string{})
}

// A backup has imported keys as they are, also for another store, and no backup brings one
// back that was revoked.
func TestImport_restored(t *testing.T) {
	s := openNew(t)
	kept := mustImport(t, s, imported("sk_1", "acme", "Kept", start), start)
	ended := mustImport(t, s, imported("sk_2", "acme", "Ended", start), start)
	before := mustBackup(t, s, start)
	mustRevoke(t, s, ended, start.Add(time.Hour))
	after := mustBackup(t, s, start.Add(time.Hour))
	later := start.Add(2 * time.Hour)

	mustRestore(t, s, before, later)
	other := openNew(t)
	mustRestore(t, other, after, later)
	mustRestore(t, other, before, later)
	for title, s := range map[string]*Store{"the store": s, "another store": other} {
		for _, want := range []apikey.Key{kept, ended} {
			got, err := s.Lookup(want.Digest)
			if err != nil {
				t.Fatalf("%s: Lookup: got error %v, want a key", title, err)
			}
			if want.ID == ended.ID {
				equal(t, title+": status", got.Status(later), apikey.Revoked)
				continue
			}
			equal(t, title+": key", *got, want)
		}
		refused(t, s, later, apikey.Import{Key: imported("sk_2", "acme", "Ended", later)}, apikey.ErrTokenTaken)
		equal(t, title+": findings", check(t, s, later), map[string]string{})
	}
	again := openNew(t)
	mustImport(t, again, imported("sk_1", "acme", "Kept", start), start)
	if _, err := restoreAt(t, again, after, later, apikey.Restore{}); err == nil || !strings.Contains(err.Error(), "has the same token as another one in the store") {
		t.Errorf("restoring into a store that has imported the same: got error %v, want one saying that the tokens are taken", err)
	}
}

// Digests are not always those of tokens. What has the first half of another is restored.
func TestImport_craftedDigest(t *testing.T) {
	s := openNew(t)
	for n := range 2 {
		key := imported("sk_1", "acme", fmt.Sprint("Key ", n), start)
		key.Digest[31] ^= byte(n)
		mustImport(t, s, key, start)
	}
	equal(t, "keys", mustRestore(t, openNew(t), mustBackup(t, s, start), start).Keys, 2)
}

// The token of a calendar feed, open or ended, is no token of a key.
func TestImport_tokenOfFeed(t *testing.T) {
	s := openNew(t)
	for _, token := range []string{"feed_1", "feed_2"} {
		mustApply(t, s, start, apikey.OpenFeed{WorkspaceID: "acme", Digest: digestOf(token)})
	}
	for _, token := range []string{"feed_1", "feed_2"} {
		refused(t, s, start, apikey.Import{Key: imported(token, "acme", "Calendar", start)}, apikey.ErrTokenTaken)
	}
}

// However many keys were imported, a create that is refused for their number, and each
// transaction that revokes some of them, reads a few.
func TestImport_manyOfOneWorkspace(t *testing.T) {
	s := openNew(t)
	keys := make([]apikey.Key, 5*maxRevoked)
	for i := range keys {
		keys[i] = imported(fmt.Sprint("sk_", i), "acme", fmt.Sprint("Key ", i), start)
	}
	putKeys(t, s, keys)
	read := func(do func(reader) error) int {
		counted := &countingReader{}
		if err := behind(s, func(txn *transaction) error {
			counted.reader = txn
			return do(counted)
		}); err != nil {
			t.Fatal(err)
		}
		return counted.reads
	}
	for what, do := range map[string]func(reader) error{
		"room": func(txn reader) error {
			room, err := hasRoom(txn, "acme", 10, start)
			equal(t, "room", room, false)
			return err
		},
		"some": func(txn reader) error {
			some, err := someActive(txn, "acme", start, 10)
			equal(t, "some", len(some), 10)
			return err
		},
	} {
		if reads := read(do); reads > 20 {
			t.Errorf("%s: got %d reads, want a few", what, reads)
		}
	}
	equal(t, "revoked", mustApply(t, s, start, apikey.RevokeAll{WorkspaceID: "acme"}).Revoked, len(keys))
}

// countingReader counts what is read.
type countingReader struct {
	reader
	reads int
}

func (c *countingReader) Get(key []byte) ([]byte, error) {
	c.reads++
	return c.reader.Get(key)
}
