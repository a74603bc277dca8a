package store

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

func mustForgetKeys(t testing.TB, s *Store, before, now time.Time) int {
	t.Helper()
	n, err := s.ForgetKeys(t.Context(), before, now)
	if err != nil {
		t.Fatalf("ForgetKeys: got error %v, want none", err)
	}
	return n
}

func mustSettle(t testing.TB, s *Store, now time.Time) {
	t.Helper()
	if err := s.SettleEnds(t.Context(), now); err != nil {
		t.Fatalf("SettleEnds: got error %v, want none", err)
	}
}

// A key that ended is deleted once it ended long enough ago and would have expired by
// then, with all that is known of it, and no backup brings its token back to life.
func TestForgetKeys(t *testing.T) {
	var stale []apikey.Digest
	s := open(t, t.TempDir()+"/keys", func(o apikey.Outcome) { stale = append(stale, o.Stale...) })
	noteConfirmed(t, s, start)
	short := newKey("acme", "Short-lived", start)
	short.ExpiresAt = start.Add(day)
	mustApply(t, s, start, apikey.Create{Key: short})
	revoked := mustCreate(t, s, "acme", "Revoked", start)
	old := mustCreate(t, s, "acme", "Rotated", start)
	mustNote(t, s, map[string]time.Time{short.ID: start, revoked.ID: start})
	backup := mustBackup(t, s, start)
	mustRevoke(t, s, revoked, start)
	do := rotation(old, start)
	do.RevokeOldAt, do.Replacement.ExpiresAt = start, start.Add(2*life)
	replacement := mustApply(t, s, start, do).Key

	for _, step := range []struct {
		title     string
		confirmed time.Time
		before    time.Time
		forgotten int
		left      []string
	}{
		{"before anything ended long enough ago", start.Add(2 * day), start, 0, []string{"Rotated", "Rotated", "Revoked", "Short-lived"}},
		{"an expired key", start.Add(3 * day), start.Add(2 * day), 1, []string{"Rotated", "Rotated", "Revoked"}},
		{"revoked keys that have not expired", start.Add(life - time.Millisecond), start.Add(10 * day), 0, []string{"Rotated", "Rotated", "Revoked"}},
		{"by a clock that is not confirmed", start.Add(life - time.Millisecond), start.Add(life), 0, []string{"Rotated", "Rotated", "Revoked"}},
		{"all", start.Add(life + day), start.Add(life), 2, []string{"Rotated"}},
	} {
		noteConfirmed(t, s, step.confirmed)
		mustSettle(t, s, step.confirmed)
		stale = nil
		equal(t, step.title, mustForgetKeys(t, s, step.before, start.Add(3*life)), step.forgotten)
		equal(t, step.title+": told of", len(stale), step.forgotten)
		equal(t, step.title+": left", list(t, s, "acme", apikey.KeyFilter{}, 10, step.confirmed), step.left)
		equal(t, step.title+": findings", check(t, s, step.confirmed), map[string]string{})
	}
	now := start.Add(life + day)
	for _, key := range []apikey.Key{short, revoked, old} {
		if _, err := s.Lookup(key.Digest); !errors.Is(err, apikey.ErrNotFound) {
			t.Errorf("%s: got error %v, want one saying that it is unknown", key.Name, err)
		}
		for record := range contents(t, s) {
			if record == string(lastUsedKey(key.ID)) || record == string(firstUsedKey(key.ID)) {
				t.Errorf("the note %q is still there", record)
			}
		}
	}
	equal(t, "what the replacement replaces", lookup(t, s, replacement.Digest).Replaces, old.ID)
	equal(t, "counts", counts(t, s, "acme", now), [3]int{1, 0, 0})

	mustRestore(t, s, backup, now)
	for _, key := range []apikey.Key{short, revoked, old} {
		restored := lookup(t, s, key.Digest)
		equal(t, "restored: "+key.Name, restored.Status(now), apikey.Expired)
	}
	s = reopen(t, s)
	equal(t, "findings after a restart", check(t, s, now), map[string]string{})
	equal(t, "forgotten again", mustForgetKeys(t, s, start.Add(life+time.Hour), now), 3)
	s = builtAnew(t, s)
	equal(t, "left in a store that was built from its journal", list(t, s, "acme", apikey.KeyFilter{}, 10, now), []string{"Rotated"})
}

// A retention that goes back to before 1970 keeps every key.
func TestForgetKeys_before1970(t *testing.T) {
	s := openNew(t)
	mustCreate(t, s, "acme", "Expired", start)
	mustRevoke(t, s, mustCreate(t, s, "acme", "Revoked", start), start)
	now := start.Add(2 * life)
	noteConfirmed(t, s, now)
	equal(t, "forgotten", mustForgetKeys(t, s, now.AddDate(-100, 0, 0), now), 0)
	equal(t, "left", list(t, s, "acme", apikey.KeyFilter{}, 10, now), []string{"Revoked", "Expired"})
}

// More keys than one transaction takes, which all end at once.
func TestForgetKeys_many(t *testing.T) {
	const many = 2*endedAtOnce + 50
	s := openNew(t)
	noteConfirmed(t, s, start)
	keys := make([]apikey.Key, many)
	for i := range keys {
		keys[i] = newKey("acme", fmt.Sprintf("Key %d", i), start)
		keys[i].ExpiresAt = start.Add(time.Hour)
	}
	putKeys(t, s, keys)
	now := start.Add(2 * day)
	equal(t, "active", counts(t, s, "acme", start), [3]int{many, 0, 0})
	noteConfirmed(t, s, now)
	equal(t, "expired", counts(t, s, "acme", now), [3]int{0, many, 0})
	mustSettle(t, s, now)
	equal(t, "expired, and settled", counts(t, s, "acme", now), [3]int{0, many, 0})
	equal(t, "findings", check(t, s, now), map[string]string{})
	equal(t, "forgotten", mustForgetKeys(t, s, start.Add(day), now), many)
	equal(t, "counts", counts(t, s, "acme", now), [3]int{0, 0, 0})
	equal(t, "findings", check(t, s, now), map[string]string{})
}

// An operator can say that the confirmed time was wrong: keys that had expired by it
// are current again, with their names.
func TestSettleEnds_back(t *testing.T) {
	s := openNew(t)
	noteConfirmed(t, s, start)
	key := mustCreate(t, s, "acme", "Zapier", start)
	replaced := mustCreate(t, s, "acme", "Billing", start)
	mustRotate(t, s, replaced, start)
	wrong := start.Add(2 * life)
	noteConfirmed(t, s, wrong)
	mustSettle(t, s, wrong)
	equal(t, "counts by the wrong time", counts(t, s, "acme", wrong), [3]int{0, 3, 0})

	noteConfirmed(t, s, start)
	mustSettle(t, s, start)
	equal(t, "counts", counts(t, s, "acme", start), [3]int{3, 0, 0})
	equal(t, "findings", check(t, s, start), map[string]string{})
	refused(t, s, start, apikey.Create{Key: newKey("acme", "zapier", start)}, apikey.ErrNameTaken)
	refused(t, s, start, rotation(replaced, start), apikey.ErrAlreadyRotated)
	equal(t, "revoked", mustApply(t, s, start, apikey.RevokeAll{WorkspaceID: "acme", Reason: "left"}).Revoked, 3)
	key = lookup(t, s, key.Digest)
	equal(t, "the key", key.Status(start), apikey.Revoked)
}

// A search looks at so many keys, and says where to continue.
func TestKeys_searchIsBounded(t *testing.T) {
	s := openNew(t)
	keys := make([]apikey.Key, maxLooked+10)
	for i := range keys {
		keys[i] = newKey("acme", fmt.Sprintf("Key %d", i), start)
	}
	keys[0].Name = "Zapier"
	putKeys(t, s, keys)
	for _, filter := range []apikey.KeyFilter{{Query: "zapier"}, {Query: "zapier", Status: apikey.Active}} {
		found, next, err := s.Keys(t.Context(), "acme", filter, apikey.Page{Limit: 10}, start)
		if err != nil || len(found) != 0 || next == "" {
			t.Errorf("%+v: got %d keys, next %q and error %v, want none, and a next page", filter, len(found), next, err)
		}
		equal(t, fmt.Sprintf("%+v: found in the end", filter), list(t, s, "acme", filter, 10, start), []string{"Zapier"})
	}
	// Of so many current keys, those of one status are found on the way.
	mustRevoke(t, s, keys[5], start)
	equal(t, "revoked", list(t, s, "acme", apikey.KeyFilter{Status: apikey.Revoked}, 10, start), []string{keys[5].Name})
	active := list(t, s, "acme", apikey.KeyFilter{Status: apikey.Active}, 200, start)
	equal(t, "active", len(active), len(keys)-1)
	equal(t, "oldest", active[len(active)-1], "Zapier")
	equal(t, "newest first", slices.Index(active, keys[len(keys)-1].Name), 0)
}
