package store

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

func TestApply_create(t *testing.T) {
	s := openNew(t)
	want := newKey("acme", "Zapier production", start)
	outcome := mustApply(t, s, start, apikey.Create{Key: want})

	equal(t, "outcome", bare(outcome), apikey.Outcome{Key: want, Stale: []apikey.Digest{want.Digest}})
	equal(t, "by its digest", lookup(t, s, want.Digest), want)
	byID, err := s.Key(t.Context(), "acme", want.ID)
	if err != nil {
		t.Fatalf("Key: got error %v, want the key", err)
	}
	equal(t, "by its id", *byID, want)

	if _, err := s.Lookup(digestOf("another token")); !errors.Is(err, apikey.ErrNotFound) {
		t.Errorf("Lookup of an unknown digest: got error %v, want ErrNotFound", err)
	}
	if _, err := s.Key(t.Context(), "acme", apikey.NewKeyID(start)); !errors.Is(err, apikey.ErrNotFound) {
		t.Errorf("Key with an unknown id: got error %v, want ErrNotFound", err)
	}
}

// Every field of a key comes back from the disk as it went there.
func TestApply_createKeepsEveryField(t *testing.T) {
	s := openNew(t)
	want := newKey("acme", "Zapier production", start)
	want.Preset = apikey.FullAccess
	want.RevokesAt, want.RevokedAt, want.ExposedAt, want.LeakedAt = start.Add(1*day), start.Add(2*day), start.Add(3*day), start.Add(4*day)
	want.RevokedBy, want.RevokeReason = "Kim", "moved"
	want.Replaces, want.ReplacedBy = apikey.NewKeyID(start), apikey.NewKeyID(start)
	mustApply(t, s, start, apikey.Create{Key: want})
	s = reopen(t, s)
	equal(t, "key", lookup(t, s, want.Digest), want)
}

func TestApply_createTakenName(t *testing.T) {
	const name = "Straße nach Köln"
	for _, test := range []struct {
		title string
		name  string
		taken bool
	}{
		{"the same", name, true},
		{"in another case", "STRASSE NACH KÖLN", true},
		{"with an accent apart from its letter", "Straße nach Ko\u0308ln", true},
		{"in full-width letters", "Straße nach Köln", true},
		{"with another letter", "Straße nach Koln", false},
		{"its beginning", "Straße nach", false},
		{"more of it", name + " II", false},
	} {
		t.Run(test.title, func(t *testing.T) {
			s := openNew(t)
			mustCreate(t, s, "acme", name, start)
			again := apikey.Create{Key: newKey("acme", test.name, start)}
			if !test.taken {
				mustApply(t, s, start, again)
				return
			}
			refused(t, s, start, again, apikey.ErrNameTaken)
			if _, err := s.Lookup(again.Key.Digest); !errors.Is(err, apikey.ErrNotFound) {
				t.Errorf("Lookup of the refused key: got error %v, want ErrNotFound", err)
			}
			again.Key.WorkspaceID = "other"
			mustApply(t, s, start, again)
		})
	}
}

// A name is free again when the key that had it has ended, and not before.
func TestApply_createNameOfEndedKey(t *testing.T) {
	for _, test := range []struct {
		title string
		end   func(*testing.T, *Store, apikey.Key) (ended time.Time)
	}{
		{"revoked", func(t *testing.T, s *Store, key apikey.Key) time.Time {
			mustRevoke(t, s, key, start.Add(day))
			return start.Add(day)
		}},
		{"expired", func(_ *testing.T, _ *Store, key apikey.Key) time.Time { return key.ExpiresAt }},
	} {
		t.Run(test.title, func(t *testing.T) {
			s := openNew(t)
			old := mustCreate(t, s, "acme", "Zapier", start)
			refused(t, s, start.Add(day-time.Millisecond), apikey.Create{Key: newKey("acme", "zapier", start)}, apikey.ErrNameTaken)
			if test.title == "expired" {
				refused(t, s, old.ExpiresAt.Add(-time.Millisecond), apikey.Create{Key: newKey("acme", "zapier", start)}, apikey.ErrNameTaken)
			}
			ended := test.end(t, s, old)
			successor := mustCreate(t, s, "acme", "ZAPIER", ended)
			refused(t, s, ended, apikey.Create{Key: newKey("acme", "Zapier", ended)}, apikey.ErrNameTaken)

			// Revoking the old key once more must not free the name of the new one.
			mustRevoke(t, s, old, ended.Add(time.Second))
			refused(t, s, ended.Add(time.Second), apikey.Create{Key: newKey("acme", "Zapier", ended)}, apikey.ErrNameTaken)
			equal(t, "the successor", lookup(t, s, successor.Digest), successor)
		})
	}
}

func TestApply_createTooManyKeys(t *testing.T) {
	s := openNew(t)
	const most = 3
	attempt := func(ws, name string, at time.Time) apikey.Create {
		return apikey.Create{Key: newKey(ws, name, at), MaxActive: most}
	}
	// Two of the three end sooner or later: by expiry, and by a revocation.
	short := attempt("acme", "Short-lived", start)
	short.Key.ExpiresAt = start.Add(day)
	mustApply(t, s, start, short)
	second := mustApply(t, s, start, attempt("acme", "Second", start)).Key
	mustApply(t, s, start, attempt("acme", "Third", start))

	refused(t, s, start, attempt("acme", "Fourth", start), apikey.ErrTooManyKeys)
	refused(t, s, start, attempt("acme", "second", start), apikey.ErrNameTaken)
	mustApply(t, s, start, attempt("acme2", "Fourth", start))
	mustApply(t, s, start, apikey.Create{Key: newKey("acme", "Not limited", start), MaxActive: 0})
	mustApply(t, s, start, apikey.Create{Key: newKey("acme", "Raised limit", start), MaxActive: 5})

	tomorrow := start.Add(day)
	refused(t, s, tomorrow.Add(-time.Millisecond), attempt("acme", "Fourth", start), apikey.ErrTooManyKeys)
	equal(t, "counts a day later", counts(t, s, "acme", tomorrow), [3]int{4, 1, 0})
	refused(t, s, tomorrow, apikey.Create{Key: newKey("acme", "Fifth", tomorrow), MaxActive: 4}, apikey.ErrTooManyKeys)
	mustApply(t, s, tomorrow, apikey.Create{Key: newKey("acme", "Fifth", tomorrow), MaxActive: 5})
	mustRevoke(t, s, second, tomorrow)
	refused(t, s, tomorrow, apikey.Create{Key: newKey("acme", "Sixth", tomorrow), MaxActive: 4}, apikey.ErrTooManyKeys)
	mustApply(t, s, tomorrow, apikey.Create{Key: newKey("acme", "Sixth", tomorrow), MaxActive: 5})
	equal(t, "counts in the end", counts(t, s, "acme", tomorrow), [3]int{5, 1, 1})
}

// A token or an id that is known already would let two keys share a record.
func TestApply_createKnownDigest(t *testing.T) {
	s := openNew(t)
	old := mustCreate(t, s, "acme", "First", start)
	twin := newKey("other", "Second", start)
	twin.Digest = old.Digest
	refused(t, s, start, apikey.Create{Key: twin}, apikey.ErrStoreUnavailable)
	equal(t, "the first key", lookup(t, s, old.Digest), old)
	equal(t, "keys of the other workspace", list(t, s, "other", apikey.KeyFilter{}, 10, start), []string{})
}

// What could not be read back is not written in the first place: one such key
// would take its whole workspace with it.
func TestApply_createDamagedKey(t *testing.T) {
	for title, damage := range map[string]func(*apikey.Key){
		"without an expiry":            func(k *apikey.Key) { k.ExpiresAt = time.Time{} },
		"without a preset":             func(k *apikey.Key) { k.Preset = "" },
		"with an impossible workspace": func(k *apikey.Key) { k.WorkspaceID = "a/b" },
		"without an id":                func(k *apikey.Key) { k.ID = "" },
	} {
		t.Run(title, func(t *testing.T) {
			s := openNew(t)
			key := newKey("acme", "Zapier", start)
			damage(&key)
			refused(t, s, start, apikey.Create{Key: key}, apikey.ErrStoreUnavailable)
			mustCreate(t, s, "acme", "Another", start)
		})
	}
}

// An id is given once.
func TestApply_createKnownID(t *testing.T) {
	s := openNew(t)
	old := mustCreate(t, s, "acme", "First", start)
	twin := newKey("other", "Second", start)
	twin.ID = old.ID
	refused(t, s, start, apikey.Create{Key: twin}, apikey.ErrStoreUnavailable)
	equal(t, "the first key", lookup(t, s, old.Digest), old)
}

// A workspace whose keys have all ended takes a new one, however many they were.
func TestApply_createAfterManyEndedKeys(t *testing.T) {
	s := openNew(t)
	const many = 5_000
	keys := make([]apikey.Key, many)
	for i := range keys {
		keys[i] = newKey("acme", fmt.Sprintf("Key %d", i), start)
	}
	putKeys(t, s, keys)
	later := start.Add(life)
	mustApply(t, s, later, apikey.Create{Key: newKey("acme", "Key 7", later), MaxActive: 1})
	refused(t, s, later, apikey.Create{Key: newKey("acme", "Key 7", later)}, apikey.ErrNameTaken)
	refused(t, s, later, apikey.Create{Key: newKey("acme", "Key 8", later), MaxActive: 1}, apikey.ErrTooManyKeys)
}

// At once: a hundred who want the same name, of whom one gets it.
func TestApply_createOneNameAtOnce(t *testing.T) {
	s := openNew(t)
	failures := atOnce(100, func(i int) error {
		name := "Zapier"
		if i%2 == 0 {
			name = "ZAPIER"
		}
		_, err := s.Apply(t.Context(), changeAt(start, apikey.Create{Key: newKey("acme", name, start), MaxActive: 1000}))
		return err
	})
	equal(t, "refusals", len(failures), 99)
	for _, err := range failures {
		if !errors.Is(err, apikey.ErrNameTaken) {
			t.Errorf("got error %v, want ErrNameTaken", err)
		}
	}
	equal(t, "counts", counts(t, s, "acme", start), [3]int{1, 0, 0})
	equal(t, "number of events", len(allEvents(t, s, "")), 100)
}

// At once: a hundred who want the last places, of whom as many get one as there
// are.
func TestApply_createLastPlacesAtOnce(t *testing.T) {
	s := openNew(t)
	const most = 10
	for i := range most - 4 {
		mustCreate(t, s, "acme", fmt.Sprintf("Before %d", i), start)
	}
	failures := atOnce(100, func(i int) error {
		_, err := s.Apply(t.Context(), changeAt(start, apikey.Create{Key: newKey("acme", fmt.Sprintf("Key %d", i), start), MaxActive: most}))
		return err
	})
	equal(t, "refusals", len(failures), 96)
	for _, err := range failures {
		if !errors.Is(err, apikey.ErrTooManyKeys) {
			t.Errorf("got error %v, want ErrTooManyKeys", err)
		}
	}
	equal(t, "counts", counts(t, s, "acme", start), [3]int{most, 0, 0})
}
