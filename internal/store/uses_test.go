package store

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

func mustNote(t testing.TB, s *Store, uses map[string]time.Time) {
	t.Helper()
	noted := make(map[string]apikey.Use, len(uses))
	for id, at := range uses {
		noted[id] = apikey.Use{At: at}
	}
	if err := s.NoteUses(noted); err != nil {
		t.Fatalf("NoteUses: got error %v, want none", err)
	}
}

// lastUse returns when a key was last used, and holds the ways to ask against
// each other.
func lastUse(t testing.TB, s *Store, key apikey.Key) time.Time {
	t.Helper()
	one, err := s.Key(t.Context(), key.WorkspaceID, key.ID)
	if err != nil {
		t.Fatalf("Key: got error %v, want a key", err)
	}
	all, _, err := s.Keys(t.Context(), key.WorkspaceID, apikey.KeyFilter{Query: key.ID}, apikey.Page{Limit: 2}, start)
	if err != nil || len(all) != 1 || !all[0].LastUsedAt.Equal(one.LastUsedAt) {
		t.Errorf("Keys: got %d keys, error %v; want one, last used at %v", len(all), err, one.LastUsedAt)
	}
	return one.LastUsedAt
}

func TestNoteUses(t *testing.T) {
	s := openNew(t)
	used, unused := mustCreate(t, s, "acme", "Zapier", start), mustCreate(t, s, "acme", "Billing", start)
	at := start.Add(1234 * time.Millisecond)
	mustNote(t, s, map[string]time.Time{used.ID: start})
	mustNote(t, s, map[string]time.Time{used.ID: at})
	mustNote(t, s, nil)
	s = reopen(t, s)
	equal(t, "used", lastUse(t, s, used), at)
	equal(t, "never used", lastUse(t, s, unused), time.Time{})
	equal(t, "what the data plane reads", lookup(t, s, used.Digest), used)

	// Answers to changes show it as well, of both keys.
	outcome := mustApply(t, s, start, rotation(used, start))
	equal(t, "a rotated key", outcome.Replaced.LastUsedAt, at)
	equal(t, "its replacement", outcome.Key.LastUsedAt, time.Time{})
	equal(t, "a revoked key", mustRevoke(t, s, used, start).Key.LastUsedAt, at)
	equal(t, "once more", mustRevoke(t, s, used, start).Key.LastUsedAt, at)
	equal(t, "by its token", mustApply(t, s, start, apikey.Lookup{Digest: used.Digest}).Key.LastUsedAt, at)
}

func TestNoteUses_more(t *testing.T) {
	s := openNew(t)
	uses := map[string]time.Time{}
	for range 50_000 {
		uses[apikey.NewKeyID(start)] = start
	}
	key := mustCreate(t, s, "acme", "Zapier", start)
	uses[key.ID] = start
	mustNote(t, s, uses)
	equal(t, "one of very many", lastUse(t, s, key), start)
}

// Whatever is noted when: the key's record is what the last change has made it.
func TestNoteUses_racingARevocation(t *testing.T) {
	s := openNew(t)
	keys := make([]apikey.Key, 20)
	uses := map[string]time.Time{}
	for i := range keys {
		keys[i] = mustCreate(t, s, "acme", fmt.Sprintf("Key %d", i), start)
		uses[keys[i].ID] = start
	}
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				mustNote(t, s, uses)
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i, key := range keys {
		mustRevoke(t, s, key, start)
		for _, revoked := range keys[:i+1] {
			if got := lookup(t, s, revoked.Digest); got.Status(start) != apikey.Revoked {
				t.Errorf("%s: got %s after its revocation, want revoked", revoked.ID, got.Status(start))
			}
		}
	}
	close(done)
	wg.Wait()
	s = reopen(t, s)
	equal(t, "counts", counts(t, s, "acme", start), [3]int{0, 0, len(keys)})
}

// The first use is noted once. That of a key which was used before first uses
// were noted is not known.
func TestNoteUses_first(t *testing.T) {
	s := openNew(t)
	key, older := mustCreate(t, s, "acme", "Zapier", start), mustCreate(t, s, "acme", "Billing", start)
	err := s.db.Note(func(txn *durable.Txn) error {
		return txn.Set(lastUsedKey(older.ID), []byte(fmt.Sprint(start.UnixMilli())))
	})
	if err != nil {
		t.Fatal(err)
	}
	later := start.Add(time.Hour)
	mustNote(t, s, map[string]time.Time{key.ID: start})
	mustNote(t, s, map[string]time.Time{key.ID: later, older.ID: later})
	s = reopen(t, s)
	for _, test := range []struct {
		key         apikey.Key
		first, last time.Time
	}{
		{key, start, later},
		{older, time.Time{}, later},
	} {
		got, err := s.Key(t.Context(), "acme", test.key.ID)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "first use of "+test.key.Name, got.FirstUsedAt, test.first)
		equal(t, "last use of "+test.key.Name, got.LastUsedAt, test.last)
	}
}

// A note writes nothing but under its own prefixes.
func TestNoteUses_touchesNoRecord(t *testing.T) {
	s := openNew(t)
	key := mustCreate(t, s, "acme", "Zapier", start)
	before := contents(t, s)
	mustNote(t, s, map[string]time.Time{key.ID: start})
	after := contents(t, s)
	equal(t, "the note", after["u/"+key.ID], fmt.Sprint(start.UnixMilli()))
	equal(t, "of the first use", after["v/"+key.ID], fmt.Sprint(start.UnixMilli()))
	delete(after, "u/"+key.ID)
	delete(after, "v/"+key.ID)
	equal(t, "the rest", after, before)
}

// A damaged note hides the use, and not the key.
func TestNoteUses_damaged(t *testing.T) {
	s := openNew(t)
	key := mustCreate(t, s, "acme", "Zapier", start)
	for _, value := range [][]byte{nil, []byte("never"), []byte("{"), bytes.Repeat([]byte("9"), 30)} {
		plant(t, s, lastUsedKey(key.ID), value)
		equal(t, fmt.Sprintf("last use %q", value), lastUse(t, s, key), time.Time{})
	}
	mustRevoke(t, s, key, start)
}

func TestNoteUses_noSpace(t *testing.T) {
	s := openNew(t)
	leave(s, 0)
	if err := s.NoteUses(map[string]apikey.Use{"key_1": {At: start}}); !errors.Is(err, apikey.ErrNoSpace) {
		t.Errorf("got error %v, want ErrNoSpace", err)
	}
}

// Where a key was used from is kept with when, and gone with the next use.
func TestNoteUses_from(t *testing.T) {
	s := openNew(t)
	key := mustCreate(t, s, "acme", "Zapier", start)
	for i, from := range []string{"203.0.113.9", "2001:db8::1", ""} {
		at := start.Add(time.Duration(i) * time.Hour)
		if err := s.NoteUses(map[string]apikey.Use{key.ID: {At: at, From: from}}); err != nil {
			t.Fatal(err)
		}
		s = reopen(t, s)
		got, err := s.Key(t.Context(), "acme", key.ID)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "last use", got.LastUsedAt, at)
		equal(t, "from", got.LastUsedFrom, from)
		equal(t, "first use", got.FirstUsedAt, start)
	}
}

// A use that another gateway has told of stays the last one if it is later than those that are
// noted afterwards.
func TestNoteUses_mergedBefore(t *testing.T) {
	s := openFleet(t, 1).replicas[0]
	key := mustCreate(t, s, "acme", "Zapier", start)
	for _, noted := range []bool{false, true} {
		at := start.Add(time.Hour)
		if _, err := s.MergeUses(map[string]apikey.SharedUse{key.ID: {First: at, Last: at, From: "203.0.113.9"}}); err != nil {
			t.Fatal(err)
		}
		if err := s.NoteUses(map[string]apikey.Use{key.ID: {At: at.Add(-time.Minute), Noted: noted}}); err != nil {
			t.Fatal(err)
		}
		equal(t, fmt.Sprintf("last use after an earlier one, noted: %t", noted), lastUse(t, s, key), at)
	}
	if err := s.NoteUses(map[string]apikey.Use{key.ID: {At: start.Add(2 * time.Hour), Noted: true}}); err != nil {
		t.Fatal(err)
	}
	equal(t, "last use after a later one", lastUse(t, s, key), start.Add(2*time.Hour))
}

// What other gateways have seen, and what is noted here at the same time, do not overwrite
// each other: the latest use is shown.
func TestNoteUses_whileMerging(t *testing.T) {
	s := openNew(t)
	key := mustCreate(t, s, "acme", "Zapier", start)
	const uses = 200
	use := func(at int, note func(time.Time) error) {
		if err := note(start.Add(time.Duration(at) * time.Second)); err != nil {
			t.Error(err)
		}
	}
	var noting sync.WaitGroup
	for at := range uses { // the even ones here, the odd ones there
		noting.Go(func() {
			use(2*at, func(at time.Time) error { return s.NoteUses(map[string]apikey.Use{key.ID: {At: at}}) })
		})
		use(2*at-1, func(at time.Time) error {
			_, err := s.MergeUses(map[string]apikey.SharedUse{key.ID: {First: at, Last: at}})
			return err
		})
		noting.Wait()
		equal(t, fmt.Sprintf("last use after %d", at), lastUse(t, s, key), start.Add(time.Duration(2*at)*time.Second))
	}
}
