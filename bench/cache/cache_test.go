// Package cache compares looking up a key in the authenticator's cache with looking it
// up in simpler maps.
package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/maypok86/otter/v2"
	"github.com/puzpuzpuz/xsync/v4"
)

type digest = [sha256.Size]byte

// entry has the size of an entry in the authenticator's cache.
type entry struct{ _ [600]byte }

// hot are the keys that are looked up.
var hot = []int{10_000, 1_000_000}

func digests(n int) []digest {
	all := make([]digest, n)
	for i := range all {
		all[i] = sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
	}
	return all
}

// BenchmarkHit looks up the hot keys on all processors in parallel.
func BenchmarkHit(b *testing.B) {
	for _, n := range hot {
		all := digests(n)
		for _, m := range []struct {
			name string
			make func([]digest) func(digest) bool
		}{
			{"otter", newOtter}, {"xsync", newXsync}, {"RWMutex", newRWMutex}, {"sync.Map", newSyncMap},
		} {
			b.Run(fmt.Sprintf("%d/%s", n, m.name), func(b *testing.B) {
				find := m.make(all)
				b.ReportAllocs()
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					random := rand.New(rand.NewPCG(1, rand.Uint64()))
					for pb.Next() {
						if !find(all[random.IntN(n)]) {
							b.Error("a key is not there")
							return
						}
					}
				})
			})
		}
	}
}

func newOtter(all []digest) func(digest) bool {
	c := otter.Must(&otter.Options[digest, *entry]{MaximumSize: 2 * len(all)})
	for _, d := range all {
		c.Set(d, new(entry))
	}
	c.CleanUp()
	return func(d digest) bool {
		_, ok := c.GetIfPresent(d)
		return ok
	}
}

func newXsync(all []digest) func(digest) bool {
	m := xsync.NewMap[digest, *entry]()
	for _, d := range all {
		m.Store(d, new(entry))
	}
	return func(d digest) bool {
		_, ok := m.Load(d)
		return ok
	}
}

func newRWMutex(all []digest) func(digest) bool {
	var mu sync.RWMutex
	m := make(map[digest]*entry)
	for _, d := range all {
		m[d] = new(entry)
	}
	return func(d digest) bool {
		mu.RLock()
		defer mu.RUnlock()
		_, ok := m[d]
		return ok
	}
}

func newSyncMap(all []digest) func(digest) bool {
	var m sync.Map
	for _, d := range all {
		m.Store(d, new(entry))
	}
	return func(d digest) bool {
		_, ok := m.Load(d)
		return ok
	}
}
