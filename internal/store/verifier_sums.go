package store

import (
	"encoding/json"
	"hash/maphash"
)

// indexSums compares the entries of indexes with those that follow from the records,
// regardless of order, by the sum of the hashes of each index's entries. Looking up
// each entry is many times slower, and is only done to find out which one differs.
type indexSums struct {
	seed      maphash.Seed
	want, got map[string]uint64 // by the prefix of the index
}

func newIndexSums() *indexSums {
	return &indexSums{maphash.MakeSeed(), make(map[string]uint64), make(map[string]uint64)}
}

func (s *indexSums) hash(key, value []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(s.seed)
	_, _ = h.Write(key)
	_ = h.WriteByte(0)
	_, _ = h.Write(value)
	return h.Sum64()
}

// expect adds an entry that should be in an index.
func (s *indexSums) expect(key, value []byte) { s.want[string(key[:2])] += s.hash(key, value) }

// found adds an entry that is in an index.
func (s *indexSums) found(key, value []byte) { s.got[string(key[:2])] += s.hash(key, value) }

// agree reports whether the indexes have the expected entries.
func (s *indexSums) agree() bool {
	for prefix, sum := range s.want {
		if s.got[prefix] != sum {
			return false
		}
	}
	for prefix, sum := range s.got {
		if s.want[prefix] != sum {
			return false
		}
	}
	return true
}

// entries adds all entries of an index, and returns their number.
func (v *verifier) entries(prefix string) (n int, err error) {
	err = v.each(prefix, func(key, value []byte) error {
		n++
		if v.sums == nil || !summed[prefix] {
			return nil
		}
		v.sums.found(key, value)
		return nil
	})
	return n, err
}

// summed are the indexes whose entries follow from records one by one.
var summed = map[string]bool{digestPrefix: true, "w/": true, endPrefix: true, "x/": true, "d/": true, "b/": true, feedPrefix: true, endedFeedPrefix: true}

// inList represents a member of a list in the sums.
func inList(m member) []byte {
	encoded, _ := json.Marshal(m) // which cannot fail
	return encoded
}
