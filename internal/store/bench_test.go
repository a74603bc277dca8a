package store

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

var manyKeys = flag.Int("keys", 20_000, "how many keys a store has in a benchmark of many")

// What a new key costs, in a workspace that has up to ten.
func BenchmarkApply_create(b *testing.B) {
	s := openNew(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		ws := fmt.Sprintf("workspace-%d", i/10)
		mustApply(b, s, start, apikey.Create{Key: newKey(ws, fmt.Sprintf("Key %d", i%10), start)})
	}
}

// What it costs to count many keys, which were made one after the other for as
// long as a key lives, and which are all in use.
func BenchmarkCensus(b *testing.B) {
	s := openNew(b)
	keys := make([]apikey.Key, min(*manyKeys, 10_000))
	for made := 0; made < *manyKeys; made += len(keys) {
		uses := make(map[string]time.Time, len(keys))
		for i := range keys {
			at := start.Add(life / time.Duration(*manyKeys) * time.Duration(made+i))
			keys[i] = newKey(fmt.Sprintf("workspace-%d", i/10), fmt.Sprintf("Key %d", i%10), at)
			uses[keys[i].ID] = start.Add(life)
		}
		putKeys(b, s, keys)
		mustNote(b, s, uses)
	}
	s = reopen(b, s)
	now := start.Add(life)
	b.Run("all", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.Census(b.Context(), now); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("expiring in use", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			inUse, err := s.ExpiringInUse(b.Context(), now)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(inUse[7*day]), "in-use")
		}
	})
}

// What it costs to note that a thousand keys were used, by the key.
func BenchmarkNoteUses(b *testing.B) {
	const n = 1000
	s := openNew(b)
	keys := make([]apikey.Key, n)
	for i := range keys {
		keys[i] = newKey("acme", fmt.Sprintf("Key %d", i), start)
	}
	putKeys(b, s, keys)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		uses := make(map[string]apikey.Use, n)
		for _, key := range keys {
			uses[key.ID] = apikey.Use{At: start.Add(time.Duration(i) * time.Second), Noted: i > 0}
		}
		if err := s.NoteUses(uses); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/key")
}

// What it costs to note how often ten thousand keys were used, by the key: as it is done,
// and if a record of each key were written every time.
func BenchmarkNoteUsage(b *testing.B) {
	const n = 10_000
	more := make(map[apikey.KeyDay]apikey.Usage, n)
	for i := range n {
		more[apikey.KeyDay{KeyID: apikey.NewKeyID(start.Add(time.Duration(i) * time.Minute)), Day: someDay}] = apikey.Usage{Reads: 2}
	}
	for _, test := range []struct {
		name string
		each func(testing.TB, *Store)
	}{{"together", func(testing.TB, *Store) {}}, {"each key", fold}} {
		b.Run(test.name, func(b *testing.B) {
			s := openNew(b)
			b.ReportAllocs()
			for b.Loop() {
				mustNoteUsage(b, s, more)
				test.each(b, s)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/key")
		})
	}
}

// What it costs to restore many keys into an empty store, with pauses for requests and
// without.
func BenchmarkRestore(b *testing.B) {
	source := openNew(b)
	keys := make([]apikey.Key, *manyKeys)
	for i := range keys {
		// The keys of a workspace lie far apart, as those of many tenants do.
		ws := fmt.Sprintf("workspace-%d", i%max(1, *manyKeys/100))
		keys[i] = newKey(ws, fmt.Sprintf("Warehouse sync - production %d", i), start.Add(time.Duration(i)*time.Second))
	}
	putKeys(b, source, keys)
	now := start.Add(life)
	backup := mustBackup(b, source, now)
	closeStore(b, source)
	for name, alone := range map[string]bool{"paced": false, "alone": true} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				s := openNew(b)
				if alone {
					s.Alone()
				}
				b.StartTimer()
				mustRestore(b, s, backup, now)
				b.StopTimer()
				closeStore(b, s)
				b.StartTimer()
			}
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N**manyKeys)*1e6, "µs/key")
		})
	}
}
