package store

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

const activeBeside = 20 // the active keys of a workspace in addition to those that have ended

// withEnded returns a store with the workspace "acme", which has some active keys and
// n that have ended: one half was revoked, the other has expired. All keys of the
// workspace "gone" were revoked.
func withEnded(t testing.TB, n int) (s *Store, active []apikey.Key, now time.Time) {
	t.Helper()
	s = openNew(t)
	noteConfirmed(t, s, start)
	for _, part := range []struct {
		ws      string
		expires time.Duration
		revoked bool
	}{{"gone", 10 * day, true}, {"acme", 10 * day, true}, {"acme", time.Hour, false}} {
		keys := make([]apikey.Key, n/2)
		for i := range keys {
			keys[i] = newKey(part.ws, fmt.Sprintf("Key %v %d", part.revoked, i), start)
			keys[i].ExpiresAt = start.Add(part.expires)
		}
		putKeys(t, s, keys)
		if part.revoked {
			mustApply(t, s, start, apikey.RevokeAll{WorkspaceID: part.ws, Reason: "left"})
		}
	}
	now = start.Add(2 * time.Hour)
	noteConfirmed(t, s, now)
	if err := s.SettleEnds(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	for i := range activeBeside {
		active = append(active, mustCreate(t, s, "acme", fmt.Sprintf("Active %d", i), now))
	}
	return s, active, now
}

func noteConfirmed(t testing.TB, s *Store, at time.Time) {
	t.Helper()
	if err := s.NoteClock(func() apikey.ClockNote { return apikey.ClockNote{Confirmed: at} }); err != nil {
		t.Fatal(err)
	}
}

// callsBesideEnded are the calls whose cost must not depend on how many keys of the
// workspace have ended.
func callsBesideEnded(t testing.TB, s *Store, active []apikey.Key, now time.Time) map[string]func() {
	page := func(filter apikey.KeyFilter) func() {
		return func() {
			if _, _, err := s.Keys(t.Context(), "acme", filter, apikey.Page{Limit: 50}, now); err != nil {
				t.Fatal(err)
			}
		}
	}
	apply := func(do apikey.Action) func() {
		return func() {
			if _, err := s.Apply(t.Context(), changeAt(now, do)); err != nil {
				t.Fatal(err)
			}
		}
	}
	n := 0
	next := func() string { n++; return fmt.Sprintf("Name %d", n) }
	last := active[0]
	return map[string]func(){
		"list":               page(apikey.KeyFilter{}),
		"list active":        page(apikey.KeyFilter{Status: apikey.Active}),
		"list expired":       page(apikey.KeyFilter{Status: apikey.Expired}),
		"list revoked":       page(apikey.KeyFilter{Status: apikey.Revoked}),
		"search":             page(apikey.KeyFilter{Query: "active"}),
		"search in active":   page(apikey.KeyFilter{Query: "none of them", Status: apikey.Active}),
		"revoke all of none": apply(apikey.RevokeAll{WorkspaceID: "gone", Reason: "left"}),
		"workspace": func() {
			if _, err := s.CountKeys(t.Context(), "acme", now); err != nil {
				t.Fatal(err)
			}
		},
		"calendar": func() {
			if err := s.EachActive(t.Context(), "acme", now, func(*apikey.Key) error { return nil }); err != nil {
				t.Fatal(err)
			}
		},
		"create, refused": func() {
			_, err := s.Apply(t.Context(), changeAt(now, apikey.Create{Key: newKey("acme", "One too many", now), MaxActive: activeBeside}))
			if err == nil {
				t.Fatal("a key too many was made")
			}
		},
		"create and revoke": func() {
			key := mustCreate(t, s, "acme", next(), now)
			mustRevoke(t, s, key, now)
		},
		"rename": func() { mustApply(t, s, now, renaming(active[1], next())) },
		"rotate": func() { // with a name of its own each time, and an end to the old key at once
			do := rotation(last, now)
			do.Replacement.Name, do.RevokeOldAt = next(), now
			last = mustApply(t, s, now, do).Key
		},
	}
}

// What a call does grows with active keys at most.
func TestEnded_costNothing(t *testing.T) {
	few, fewActive, now := withEnded(t, 10)
	many, manyActive, _ := withEnded(t, 2000)
	cheap := callsBesideEnded(t, few, fewActive, now)
	for name, call := range callsBesideEnded(t, many, manyActive, now) {
		want, got := testing.AllocsPerRun(20, cheap[name]), testing.AllocsPerRun(20, call)
		t.Logf("%s: %.0f allocations with 10 ended keys, %.0f with 2000", name, want, got)
		// A page of fifty is full in one of the stores alone. A search has a bound of
		// its own.
		if got > 2*want+50*60 && name != "search" {
			t.Errorf("%s: got %.0f allocations with 2000 ended keys, and %.0f with 10", name, got, want)
		}
	}
}

// BenchmarkEnded shows that no call takes longer for the keys of its workspace that
// have ended.
func BenchmarkEnded(b *testing.B) {
	for _, n := range []int{10, 1000, 100_000} {
		s, active, now := withEnded(b, n)
		calls := callsBesideEnded(b, s, active, now)
		for _, name := range slices.Sorted(maps.Keys(calls)) {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				for b.Loop() {
					calls[name]()
				}
			})
		}
	}
}

// Counts are remembered until one of the keys has been changed or has ended.
func TestCountKeys_remembered(t *testing.T) {
	s, active, now := withEnded(t, 10)
	end := active[0].ActiveUntil()
	for _, tt := range []struct {
		name string
		do   func()
		now  time.Time
		want int
	}{
		{"counted", func() {}, now, len(active)},
		{"remembered", func() {}, now.Add(time.Minute), len(active)},
		{"revoked", func() { mustRevoke(t, s, active[1], now) }, now.Add(time.Minute), len(active) - 1},
		{"a key of another workspace", func() { mustCreate(t, s, "other", "Export", now) }, now.Add(time.Minute), len(active) - 1},
		{"just before the end of the others", func() {}, end.Add(-time.Millisecond), len(active) - 1},
		{"at their end", func() {}, end, 0},
		{"the clock set back", func() {}, now, len(active) - 1},
	} {
		tt.do()
		for range 2 {
			counts, err := s.CountKeys(t.Context(), "acme", tt.now)
			if err != nil {
				t.Fatal(err)
			}
			if got := counts[apikey.Active]; got != tt.want {
				t.Errorf("%s: got %d active keys, want %d", tt.name, got, tt.want)
			}
			counts[apikey.Active] = -1 // it is the caller's
		}
	}
	few := testing.AllocsPerRun(20, func() { _, _ = s.CountKeys(t.Context(), "gone", now) })
	if got := testing.AllocsPerRun(20, func() { _, _ = s.CountKeys(t.Context(), "acme", now) }); got > few {
		t.Errorf("got %.0f allocations with %d active keys, and %.0f with none", got, len(active), few)
	}
}
