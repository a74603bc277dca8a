package store

import (
	"path/filepath"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

const otherOrigin = "AAAAAAAAAAAAAAAA"

// In a fleet, the usage of a key is the sum over all origins, each of which counts from
// zero and only grows.
func TestMergeUsage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	s := openReplica(t, path, nil)
	key := newKey("acme", "Zapier", start)
	record, err := encode(toRecord(&key))
	if err != nil {
		t.Fatal(err)
	}
	plant(t, s, recordKey(key.ID), record)
	merge := func(origin string, reads uint64) {
		t.Helper()
		if err := s.MergeUsage(origin, someDay, map[string]apikey.Usage{key.ID: {Reads: reads, Writes: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	want := func(reads, writes uint64) {
		t.Helper()
		usageIs(t, s, key, apikey.DayUsage{Day: someDay, Usage: apikey.Usage{Reads: reads, Writes: writes}})
	}
	own := map[apikey.KeyDay]apikey.Usage{{KeyID: key.ID, Day: someDay}: {Reads: 100}}
	mustNoteUsage(t, s, own)
	merge(otherOrigin, 5)
	want(105, 1)
	merge(otherOrigin, 7)
	merge(otherOrigin, 6) // which comes late
	want(107, 1)
	merge("BBBBBBBBBBBBBBBB", 1)
	want(108, 2)

	first := s.UsageOrigin()
	closeStore(t, s)
	s = openReplica(t, path, nil)
	want(108, 2)
	mustNoteUsage(t, s, own)
	want(208, 2)
	if s.UsageOrigin() == first || len(first) != originSize {
		t.Errorf("got the origins %q and %q, want a new one of %d characters at each start", first, s.UsageOrigin(), originSize)
	}
	merge(first, 101) // as it was told before
	want(209, 3)
}

// What was counted under earlier origins is known until the others have been told.
func TestUsageNote(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	alone := open(t, path, nil)
	key := apikey.NewKeyID(start)
	count := func(s *Store, day apikey.Day) {
		mustNoteUsage(t, s, map[apikey.KeyDay]apikey.Usage{{KeyID: key, Day: day}: {Reads: 1}})
	}
	count(alone, someDay)
	closeStore(t, alone)
	var origins []string
	for i := range apikey.Day(3) {
		s := openReplica(t, path, nil)
		origins = append(origins, s.UsageOrigin())
		count(s, someDay+i)
		if i == 1 {
			if err := s.NoteUsageTold([]string{s.UsageOrigin()}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.NoteUsageMerged(int64(i)); err != nil {
			t.Fatal(err)
		}
		closeStore(t, s)
	}
	s := openReplica(t, path, nil)
	note, err := s.UsageNote()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "note", note, apikey.UsageNote{Untold: []string{"", origins[0], origins[2], s.UsageOrigin()}, Merged: 2})
	found := map[string]apikey.KeyDay{}
	if err := s.EachUsage(t.Context(), note.Untold, someDay, func(origin string, one apikey.KeyDay, _ apikey.Usage) {
		found[origin] = one
	}); err != nil {
		t.Fatal(err)
	}
	equal(t, "usage", found, map[string]apikey.KeyDay{"": {KeyID: key, Day: someDay}, origins[0]: {KeyID: key, Day: someDay}, origins[2]: {KeyID: key, Day: someDay + 2}})
}
