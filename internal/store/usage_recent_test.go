package store

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// fold moves what is recent into the records.
func fold(t testing.TB, s *Store) {
	t.Helper()
	if err := s.foldUsage(t.Context()); err != nil {
		t.Fatalf("foldUsage: got error %v, want none", err)
	}
}

// crash ends a store as if its process were killed, and opens it again.
func crash(t *testing.T, s *Store) *Store {
	t.Helper()
	if err := s.db.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, s.Path(), nil)
}

// Whatever is counted here and told by others, moved into records, in part or in full, and
// whenever the process is killed: the sum is what was noted.
func TestUsage_recent(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "keys"), nil)
	var ids []string
	for i := range 4 {
		ids = append(ids, mustCreate(t, s, "acme", fmt.Sprintf("Key %d", i), start).ID)
	}
	random := rand.New(rand.NewPCG(5, 6))
	type part struct {
		origin string
		one    apikey.KeyDay
	}
	parts := map[part]apikey.Usage{}
	for round := range 250 {
		origin, one := []string{"", otherOrigin}[random.IntN(2)], apikey.KeyDay{KeyID: ids[random.IntN(len(ids))], Day: someDay + apikey.Day(random.IntN(3))}
		more := apikey.Usage{Reads: 1 + random.Uint64N(9), RateLimited: random.Uint64N(2)}
		switch choice := random.IntN(20); {
		case choice == 0:
			s = crash(t, s)
		case choice == 1:
			s = reopen(t, s)
		case choice == 2:
			fold(t, s)
		case choice < 5: // a part of it, and then no more
			s.recent.writing.Lock()
			for day := range s.recent.totals {
				if err := s.foldDay(t.Context(), day); err != nil {
					t.Error(err)
				}
				break
			}
			s.recent.writing.Unlock()
		case origin == "":
			mustNoteUsage(t, s, map[apikey.KeyDay]apikey.Usage{one: more})
			parts[part{"", one}] = parts[part{"", one}].Plus(more)
		default:
			total := parts[part{origin, one}].Plus(more)
			for range 1 + random.IntN(2) { // the second time, it says nothing new
				if err := s.MergeUsage(origin, one.Day, map[string]apikey.Usage{one.KeyID: total}); err != nil {
					t.Fatal(err)
				}
			}
			parts[part{origin, one}] = total
		}
		want, got := map[apikey.KeyDay]apikey.Usage{}, map[apikey.KeyDay]apikey.Usage{}
		for of, usage := range parts {
			want[of.one] = want[of.one].Plus(usage)
		}
		all, err := s.Usage(t.Context(), "acme", ids, someDay, someDay+2)
		if err != nil {
			t.Fatal(err)
		}
		for id, days := range all {
			for _, day := range days {
				got[apikey.KeyDay{KeyID: id, Day: day.Day}] = day.Usage
			}
		}
		if !maps.Equal(got, want) {
			t.Fatalf("round %d: got %v, want %v", round, got, want)
		}
	}
}

// A kill while what has been moved is being deleted can leave an older total than the record
// has: what is counted later is added to the record's.
func TestNoteUsage_afterInterruptedFold(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "keys"), nil)
	key := mustCreate(t, s, "acme", "Zapier", start)
	one := apikey.KeyDay{KeyID: key.ID, Day: someDay}
	mustNoteUsage(t, s, map[apikey.KeyDay]apikey.Usage{one: {Reads: 5}})
	mustNoteUsage(t, s, map[apikey.KeyDay]apikey.Usage{one: {Reads: 1000}})
	newest := s.recent.names[1]
	if err := s.foldDay(t.Context(), countedDay{day: someDay}); err != nil {
		t.Fatal(err)
	}
	if err := s.db.Note(func(txn *durable.Txn) error { return txn.Delete(newest) }); err != nil {
		t.Fatal(err)
	}
	s = crash(t, s)
	mustNoteUsage(t, s, map[apikey.KeyDay]apikey.Usage{one: {Reads: 100}})
	usageIs(t, s, key, apikey.DayUsage{Day: someDay, Usage: apikey.Usage{Reads: 1105}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Ten thousand keys are written in a few records, which are moved before they are too many.
func TestNoteUsage_together(t *testing.T) {
	s := openNew(t)
	more := map[apikey.KeyDay]apikey.Usage{}
	for range 10_000 {
		more[apikey.KeyDay{KeyID: apikey.NewKeyID(start), Day: someDay}] = apikey.Usage{Reads: 200, Writes: 200}
	}
	for range 3 {
		mustNoteUsage(t, s, more)
	}
	if records := len(s.recent.names); records > 15 {
		t.Errorf("got %d records, want at most 15", records)
	}
	s.recent.size = maxRecentSize
	mustNoteUsage(t, s, more)
	if records := len(s.recent.names); records > 5 {
		t.Errorf("got %d records once they were moved, want at most 5", records)
	}
	for one := range more {
		id, _ := apikey.BytesOfKeyID(one.KeyID)
		if total, _ := s.recent.total(countedDay{day: one.Day}, id); total != (apikey.Usage{Reads: 800, Writes: 800}) {
			t.Fatalf("got %+v, want 800 reads and writes", total)
		}
	}
}

// While it is moved, neither more nor less is shown.
func TestUsage_whileFolding(t *testing.T) {
	s := openNew(t)
	key := mustCreate(t, s, "acme", "Zapier", start)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		for range 100 {
			mustNoteUsage(t, s, map[apikey.KeyDay]apikey.Usage{{KeyID: key.ID, Day: someDay}: {Reads: 1, Writes: 1}})
			fold(t, s)
		}
	})
	last := uint64(0)
	for going := true; going; {
		select {
		case <-done:
			going = false
		default:
		}
		got, err := s.Usage(t.Context(), "acme", []string{key.ID}, someDay, someDay)
		if err != nil {
			t.Fatal(err)
		}
		for _, day := range got[key.ID] {
			if day.Reads != day.Writes || day.Reads < last || day.Reads > 100 {
				t.Fatalf("got %+v after %d", day, last)
			}
			last = day.Reads
		}
	}
	wg.Wait()
	if last != 100 {
		t.Errorf("got %d in the end, want 100", last)
	}
}

// No value makes reading it fail, and what can be read is written the same.
func FuzzTotalsIn(f *testing.F) {
	id, _ := apikey.BytesOfKeyID(apikey.NewKeyID(start))
	one := apikey.AppendKeyUsage(nil, id, apikey.Usage{Reads: 1 << 40, Refused: 3})
	for _, value := range [][]byte{nil, one, append(one, one...), one[:17], append(one[:16:16], 0xff, 0xff)} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		var again []byte
		totals := totalsIn(value)
		for _, key := range totals {
			again = apikey.AppendKeyUsage(again, key.id, key.total)
		}
		if read := totalsIn(again); fmt.Sprint(read) != fmt.Sprint(totals) {
			t.Errorf("%x: got %v, and %v once it was written", value, totals, read)
		}
	})
}
