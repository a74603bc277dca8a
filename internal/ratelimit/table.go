package ratelimit

import (
	"hash/maphash"
	"sync"
)

// table finds buckets by their ids. For each of them it takes one pointer. A sync.Map
// allocates a boxed key and a node, which the garbage collector has to visit; maps never
// free what they once had room for (a million deleted left 84 MB). A look-up takes a lock
// of a 256th of the buckets, which hardly matters because of [Hint].
type table struct {
	seed   maphash.Seed
	shards [256]shard
}

type shard struct {
	mu     sync.Mutex
	chains chains
	len    int
}

// chains are lists of buckets, by the hash of their subject. There are as many as a power
// of two, or none.
type chains []*bucket

func (c chains) of(hash uint32) **bucket {
	return &c[hash/uint32(len(table{}.shards))&uint32(len(c)-1)]
}

// find returns the bucket of an id, and makes one if there is none.
func (t *table) find(id bucketID) *bucket {
	hash := uint32(maphash.String(t.seed, id.subject))
	s := &t.shards[hash%uint32(len(t.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.len > 0 {
		for b := *s.chains.of(hash); b != nil; b = b.next {
			if b.is(&id) {
				return b
			}
		}
	}
	if s.len == len(s.chains) {
		s.resize(max(2*s.len, 1))
	}
	chain := s.chains.of(hash)
	*chain = &bucket{next: *chain, subject: id.subject, limit: id.limit, hash: hash, action: id.action}
	s.len++
	return *chain
}

func (s *shard) resize(to int) {
	resized := make(chains, to)
	for _, b := range s.chains {
		for b != nil {
			chain, next := resized.of(b.hash), b.next
			*chain, b.next, b = b, *chain, next
		}
	}
	s.chains = resized
}

// removeIf removes the buckets for which remove returns true. Only one call may run at a
// time.
func (t *table) removeIf(remove func(*bucket) bool) {
	for i := range t.shards {
		s := &t.shards[i]
		// If the shard grows meanwhile, the buckets of a chain stay at its place, or are
		// at a new one behind the others.
		for from := 0; s.removeSome(from, remove); from += removedAtOnce {
		}
	}
}

// removedAtOnce is how many chains are looked at before look-ups get the lock again.
const removedAtOnce = 64

// removeSome is removeIf for a few chains. It reports whether there are more. After the last
// ones it frees what is not needed any more.
func (s *shard) removeSome(from int, remove func(*bucket) bool) (more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to := min(from+removedAtOnce, len(s.chains))
	for i := from; i < to; i++ {
		for at := &s.chains[i]; *at != nil; {
			if b := *at; remove(b) {
				*at, b.next = b.next, nil // a Hint may keep it for long, but not its neighbours
				s.len--
			} else {
				at = &b.next
			}
		}
	}
	if to < len(s.chains) {
		return true
	}
	size := len(s.chains)
	for size > 0 && s.len <= size/4 {
		size /= 2
	}
	if size < len(s.chains) {
		s.resize(size)
	}
	return false
}

// size returns how many buckets there are.
func (t *table) size() (n int) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		n += s.len
		s.mu.Unlock()
	}
	return n
}
