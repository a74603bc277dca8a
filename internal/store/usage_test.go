package store

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// someDay is the last day of a period.
const someDay = apikey.Day(20_799)

func mustNoteUsage(t testing.TB, s *Store, usage map[apikey.KeyDay]apikey.Usage) {
	t.Helper()
	if err := s.NoteUsage(usage); err != nil {
		t.Fatalf("NoteUsage: got error %v, want none", err)
	}
}

// usageIs checks how often a key was used on all days.
func usageIs(t testing.TB, s *Store, key apikey.Key, want ...apikey.DayUsage) {
	t.Helper()
	got, err := s.Usage(t.Context(), key.WorkspaceID, []string{key.ID, key.ID}, 0, someDay+1000) // repeated, as callers may
	if err != nil {
		t.Fatalf("Usage: got error %v, want none", err)
	}
	if !slices.Equal(got[key.ID], want) {
		t.Errorf("usage of %s: got %v, want %v", key.Name, got[key.ID], want)
	}
}

func TestNoteUsage(t *testing.T) {
	s := openNew(t)
	key, other := mustCreate(t, s, "acme", "Zapier", start), mustCreate(t, s, "acme", "Billing", start)
	elsewhere := mustCreate(t, s, "globex", "Zapier", start)
	on := func(day apikey.Day) apikey.KeyDay { return apikey.KeyDay{KeyID: key.ID, Day: day} }
	mustNoteUsage(t, s, map[apikey.KeyDay]apikey.Usage{on(someDay): {Reads: 1, Refused: 2}, on(someDay + 1): {Writes: 3}})
	mustNoteUsage(t, s, map[apikey.KeyDay]apikey.Usage{on(someDay): {Reads: 1 << 40, RateLimited: 4}, on(someDay - 5): {Writes: 1}})
	mustNoteUsage(t, s, nil)
	s = reopen(t, s)
	days := []apikey.DayUsage{
		{Day: someDay - 5, Usage: apikey.Usage{Writes: 1}},
		{Day: someDay, Usage: apikey.Usage{Reads: 1<<40 + 1, Refused: 2, RateLimited: 4}},
		{Day: someDay + 1, Usage: apikey.Usage{Writes: 3}},
	}
	usageIs(t, s, key, days...)
	usageIs(t, s, other)

	for _, test := range []struct {
		from, to apikey.Day
		want     []apikey.DayUsage
	}{
		{someDay - 5, someDay + 1, days}, {someDay - 4, someDay, days[1:2]}, {someDay, someDay, days[1:2]}, {someDay + 1, someDay + 90, days[2:]}, {someDay + 2, someDay + 90, nil},
	} {
		got, err := s.Usage(t.Context(), "acme", []string{other.ID, key.ID, elsewhere.ID, "key_none"}, test.from, test.to)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, fmt.Sprintf("from %v to %v", test.from, test.to), got, map[string][]apikey.DayUsage{key.ID: test.want, other.ID: nil})
	}
}

// Nothing is lost or counted twice if writes fail, whether or not they have written
// something.
func TestNoteUsage_failing(t *testing.T) {
	s := openNew(t)
	var keys []apikey.Key
	for i := range 5 {
		keys = append(keys, mustCreate(t, s, "acme", fmt.Sprintf("Key %d", i), start))
	}
	random := rand.New(rand.NewPCG(1, 2))
	want, pending := map[apikey.KeyDay]apikey.Usage{}, map[apikey.KeyDay]apikey.Usage{}
	for range 300 {
		for range random.IntN(4) {
			one := apikey.KeyDay{KeyID: keys[random.IntN(len(keys))].ID, Day: someDay + apikey.Day(random.IntN(3))}
			usage := apikey.Usage{Reads: random.Uint64N(9), Refused: random.Uint64N(2)}
			want[one], pending[one] = want[one].Plus(usage), pending[one].Plus(usage)
		}
		if random.IntN(3) > 0 {
			mustNoteUsage(t, s, pending)
			clear(pending)
			continue
		}
		// As a batch does that fails in the middle.
		totals, err := s.totalsWith(pending)
		if err != nil {
			t.Fatal(err)
		}
		if random.IntN(2) == 0 {
			if err := s.writeRecent(totals); err != nil {
				t.Fatal(err)
			}
		}
	}
	mustNoteUsage(t, s, pending)
	got := map[apikey.KeyDay]apikey.Usage{}
	for _, key := range keys {
		all, err := s.Usage(t.Context(), "acme", []string{key.ID}, someDay, someDay+2)
		if err != nil {
			t.Fatal(err)
		}
		for _, day := range all[key.ID] {
			got[apikey.KeyDay{KeyID: key.ID, Day: day.Day}] = day.Usage
		}
	}
	maps.DeleteFunc(want, func(_ apikey.KeyDay, usage apikey.Usage) bool { return usage == apikey.Usage{} })
	equal(t, "usage", got, want)
}

func TestNoteUsage_noSpace(t *testing.T) {
	s := openNew(t)
	key := mustCreate(t, s, "acme", "Zapier", start)
	once := map[apikey.KeyDay]apikey.Usage{{KeyID: key.ID, Day: someDay}: {Reads: 1}}
	leave(s, 0)
	if err := s.NoteUsage(once); !errors.Is(err, apikey.ErrNoSpace) {
		t.Errorf("got error %v, want ErrNoSpace", err)
	}
	leave(s, 1<<40)
	mustNoteUsage(t, s, once)
	usageIs(t, s, key, apikey.DayUsage{Day: someDay, Usage: apikey.Usage{Reads: 1}})
}

// What is too old is deleted, and nothing else.
func TestForgetUsage(t *testing.T) {
	s := openNew(t)
	key := mustCreate(t, s, "acme", "Zapier", start)
	usage := map[apikey.KeyDay]apikey.Usage{}
	for day := someDay - 200; day <= someDay+20; day++ {
		usage[apikey.KeyDay{KeyID: key.ID, Day: day}] = apikey.Usage{Reads: 1}
	}
	for range usageAtOnce { // of keys that are gone
		usage[apikey.KeyDay{KeyID: apikey.NewKeyID(start), Day: someDay - 120}] = apikey.Usage{Reads: 1}
	}
	mustNoteUsage(t, s, usage)
	before := contents(t, s)
	for range 2 {
		if err := s.ForgetUsage(t.Context(), time.UnixMilli(int64(someDay)*24*3600*1000)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Usage(t.Context(), "acme", []string{key.ID}, 0, someDay+100)
	if err != nil {
		t.Fatal(err)
	}
	days := got[key.ID]
	equal(t, "days without a gap", int(days[len(days)-1].Day-days[0].Day)+1, len(days))
	equal(t, "the last", days[len(days)-1].Day, someDay+20)
	if oldest := someDay - apikey.UsageDays + 1; days[0].Day > oldest || days[0].Day <= oldest-periodDays {
		t.Errorf("got the oldest day %d, want at most a period before %d", days[0].Day, oldest)
	}
	after := contents(t, s)
	equal(t, "what was recent", len(s.recent.names)+len(s.recent.totals), 0)
	for _, found := range []map[string]string{before, after} {
		maps.DeleteFunc(found, func(key, _ string) bool {
			return strings.HasPrefix(key, usagePrefix) || strings.HasPrefix(key, recentPrefix)
		})
	}
	equal(t, "the rest", after, before)
}

// With a key, its usage is deleted, and does not come back.
func TestForgetUsage_withTheKey(t *testing.T) {
	s := openNew(t)
	gone, other := mustCreate(t, s, "acme", "Zapier", start), mustCreate(t, s, "acme", "Billing", start)
	today := apikey.DayOf(time.Now())
	for day := today - 89; day <= today; day += 10 {
		mustNoteUsage(t, s, map[apikey.KeyDay]apikey.Usage{{KeyID: gone.ID, Day: day}: {Refused: 1}, {KeyID: other.ID, Day: day}: {Refused: 1}})
		if day < today-45 {
			fold(t, s)
		}
	}
	err := s.db.Change(t.Context(), "", false, func(turn *durable.Turn) error { return s.forgetUses(turn, []*apikey.Key{&gone}) })
	if err != nil {
		t.Fatal(err)
	}
	usageIs(t, s, gone)
	s = reopen(t, s)
	usageIs(t, s, gone)
	got, err := s.Usage(t.Context(), "acme", []string{other.ID}, 0, today)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "days of the other", len(got[other.ID]), 9)
}

// No record makes reading it fail, and what can be read is written the same.
func FuzzUsageIn(f *testing.F) {
	full := usageRecord{}
	for i := range full {
		full[i] = apikey.Usage{Reads: 1 << (4 * i), Writes: 1, Refused: uint64(i)}
	}
	for _, value := range [][]byte{nil, {0}, {3, 1, 2, 3, 4}, {15, 0x80}, {16, 0, 0, 0, 1}, {1, 1, 1, 1, 1, 1, 2, 2, 2, 2}, full.encode()} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		record := usageIn(value)
		if again := usageIn(record.encode()); again != record {
			t.Errorf("%x: got %v, and %v once it was written", value, record, again)
		}
	})
}
