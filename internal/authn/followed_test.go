package authn

import (
	"testing"

	"pgregory.net/rapid"
)

// TestFollowed: each key has one place, which it keeps until it is removed, and its latest
// entry is there.
func TestFollowed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var f followed
		want := map[halfDigest]*entry{}
		places := map[halfDigest]place{}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			key := new(entry)
			key.Digest[0], key.Digest[9] = rapid.Byte().Draw(t, "chain")%8, rapid.Byte().Draw(t, "key")%8
			id := half(key.Digest)
			if rapid.IntRange(0, 2).Draw(t, "choice") == 0 {
				if at, known := places[id]; known {
					f.remove(at)
					delete(places, id)
					delete(want, id)
				}
				continue
			}
			at, older := f.put(key)
			if older != want[id] || older != nil && at != places[id] {
				t.Fatalf("got place %d, and %p before, want %d and %p", at, older, places[id], want[id])
			}
			want[id], places[id] = key, at
		}
		taken := map[place]bool{0: true}
		for id, at := range places {
			if f.entries[at] != want[id] || taken[at] {
				t.Fatalf("got %p at place %d, want %p and no other key there", f.entries[at], at, want[id])
			}
			taken[at] = true
		}
		if f.len != len(want) {
			t.Fatalf("got %d keys, want %d", f.len, len(want))
		}
	})
}
