package ratelimit

import (
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// A table is a map, even if buckets are added while others are removed.
func TestTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab, want := table{seed: maphash.MakeSeed()}, map[bucketID]*bucket{}
		most := rapid.SampledFrom([]int{10, 1_000, 30_000}).Draw(t, "most")
		find := func() {
			first := rapid.IntRange(0, most).Draw(t, "first")
			for i := range rapid.IntRange(1, most).Draw(t, "how many") {
				id := bucketID{fmt.Sprint((first + i) / 2), uint8(i % 2), Limit{1 + i%3, 1}}
				b := tab.find(id)
				if known := want[id]; known != nil && b != known || !b.is(&id) {
					t.Fatalf("%v: got another bucket, that of %q", id, b.subject)
				}
				want[id] = b
			}
		}
		for range rapid.IntRange(1, 6).Draw(t, "rounds") {
			find()
			keep := rapid.SampledFrom([]int{2, 3, 1_000_000}).Draw(t, "keep")
			toGo := func(b *bucket) bool { return b.hash%uint32(keep) != 0 }
			old := maps.Clone(want)
			removed := func(b *bucket) bool {
				if toGo(b) {
					delete(want, bucketID{b.subject, b.action, b.limit})
				}
				return toGo(b)
			}
			for i := range tab.shards {
				s := &tab.shards[i]
				for from := 0; s.removeSome(from, removed); from += removedAtOnce {
					if from == 0 && i%100 == 0 {
						find()
					}
				}
				if n := len(s.chains); n > 4*max(s.len, 1) {
					t.Fatalf("%d chains for %d buckets", n, s.len)
				}
			}
			for id, b := range old {
				if _, still := want[id]; still && toGo(b) && want[id] == b {
					t.Fatalf("%v was not removed", id)
				}
			}
			if got := tab.size(); got != len(want) {
				t.Fatalf("got %d buckets, want %d", got, len(want))
			}
		}
		for _, id := range slices.Collect(maps.Keys(want)) {
			if tab.find(id) != want[id] {
				t.Fatalf("%v is gone", id)
			}
		}
	})
}

// The first few passes of a bucket are in it, rather than in an object of their own.
func TestBucketSize(t *testing.T) {
	if got := unsafe.Sizeof(bucket{}); got > 112 {
		t.Errorf("a bucket has %d bytes, want at most 112", got)
	}
	b := &bucket{limit: Limit{60, 1}}
	if got := testing.AllocsPerRun(3, b.count); got != 0 {
		t.Errorf("got %v allocations for the first passes, want none", got)
	}
	if got := b.passes.count(); got != 4 {
		t.Errorf("got %d passes, want 4", got)
	}
}

// A bucket that was removed, and that a Hint still has, holds no other in memory.
func TestTable_removedAlone(t *testing.T) {
	tab := table{seed: maphash.MakeSeed()}
	var all []*bucket
	for i := range 50 {
		all = append(all, tab.find(bucketID{"one subject", read, Limit{1 + i, 1}}))
	}
	tab.removeIf(func(*bucket) bool { return true })
	for i, b := range all {
		if b.next != nil {
			t.Errorf("bucket %d of one chain still has another behind it", i)
		}
	}
}
