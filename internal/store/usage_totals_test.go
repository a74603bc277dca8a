package store

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// TestDayTotals: they are the same as those in a map, however large they are.
func TestDayTotals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		totals, want := newDayTotals(0), make(map[apikey.KeyIDBytes]apikey.Usage)
		count := rapid.OneOf(rapid.Uint64Range(0, 3), rapid.Uint64Range(math.MaxUint16-2, math.MaxUint16+2), rapid.Uint64())
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			id := apikey.KeyIDBytes{rapid.Byte().Draw(t, "key") % 3}
			if rapid.IntRange(0, 9).Draw(t, "choice") == 0 {
				totals.remove(id)
				delete(want, id)
				continue
			}
			total := apikey.Usage{Reads: count.Draw(t, "reads"), Writes: count.Draw(t, "writes"), Refused: count.Draw(t, "refused"), RateLimited: count.Draw(t, "limited")}
			totals.add(id, total)
			want[id] = want[id].Latest(total)
		}
		if got := totals.keys(); len(got) != len(want) || totals.len() != len(want) {
			t.Fatalf("got the keys %v, and %d of them, want %d", got, totals.len(), len(want))
		}
		for id := range want {
			if got, known := totals.of(id); !known || got != want[id] {
				t.Fatalf("got %+v and %t, want %+v", got, known, want[id])
			}
		}
	})
}
