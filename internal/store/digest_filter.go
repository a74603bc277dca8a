package store

import (
	"context"
	"encoding/binary"
	"math/bits"
	"slices"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// digestFilter is a Bloom filter of digests. It never misses a digest that was added,
// and is wrong about fewer than one in a hundred others. It takes two to eight bytes
// per key, and no locks, because its bits are only ever set. A digest is as good as
// random, so its own bytes select its bits.
type digestFilter struct {
	words []atomic.Uint64 // their number is a power of two
	room  int64           // how many digests it is made for
	added atomic.Int64
}

// The room for new keys, in addition to one for each existing key.
const minRoom = 1 << 16

const bitsPerKey = 12 // at least, when it is full

func newDigestFilter(keys int64) *digestFilter { return digestFilterFor(max(2*keys, minRoom)) }

func digestFilterFor(room int64) *digestFilter {
	words := 1 << bits.Len64(uint64(room*bitsPerKey/64-1))
	return &digestFilter{words: make([]atomic.Uint64, words), room: room}
}

// places calls visit for each bit of a digest, until visit returns false.
func (f *digestFilter) places(d *apikey.Digest, visit func(word *atomic.Uint64, bit uint64) bool) {
	for i := 0; i < len(d); i += 8 {
		at := binary.LittleEndian.Uint64(d[i:])
		if !visit(&f.words[at>>6&uint64(len(f.words)-1)], 1<<(at&63)) {
			return
		}
	}
}

func (f *digestFilter) add(d *apikey.Digest) {
	f.places(d, func(word *atomic.Uint64, bit uint64) bool { word.Or(bit); return true })
	f.added.Add(1)
}

func (f *digestFilter) has(d *apikey.Digest) (has bool) {
	f.places(d, func(word *atomic.Uint64, bit uint64) bool { has = word.Load()&bit != 0; return has })
	return has
}

func (f *digestFilter) full() bool { return f.added.Load() > f.room }

// MayHave reports whether a key may have the digest. If not, no key has it: so a flood
// of invented tokens is refused without disk access. It never blocks. After a stop that was
// not clean, it returns true until all digests have been read.
func (s *Store) MayHave(digest apikey.Digest) bool {
	filter := s.filter.Load()
	return filter == nil || filter.has(&digest)
}

// mayHave is [Store.MayHave] within a transaction, whose own keys are not in the filter yet.
func (t *transaction) mayHave(digest *apikey.Digest) bool {
	return t.filter == nil || t.filter.has(digest) || slices.Contains(t.added, *digest)
}

// addToFilter adds digests that are about to be stored.
func (s *Store) addToFilter(turn *durable.Turn, digests []apikey.Digest) {
	filter, next := s.filter.Load(), s.nextFilter.Load()
	for i := range digests {
		if filter != nil {
			filter.add(&digests[i])
		}
		if next != nil {
			next.add(&digests[i])
		}
	}
	if filter != nil && filter.full() {
		turn.AskUpkeep()
	}
}

// makeFilter fills a new filter, unless there is one with room for more keys.
func (s *Store) makeFilter(ctx context.Context) {
	if filter := s.filter.Load(); filter == nil || filter.full() {
		s.rebuildFilter(ctx)
	}
}

func (s *Store) rebuildFilter(ctx context.Context) {
	if err := s.tryRebuildFilter(ctx); err != nil && ctx.Err() == nil {
		s.log.Error("indexing the tokens of all keys failed: unknown tokens are looked up on disk instead", zap.String("path", s.Path()), zap.Error(err))
	}
}

func (s *Store) tryRebuildFilter(ctx context.Context) error {
	var keys int64
	if err := s.db.View(func(txn *durable.Txn) error {
		ends, err := readEnds(ctx, txn)
		if err == nil {
			keys = ends.total().sum()
		}
		return err
	}); err != nil {
		return err
	}
	next := newDigestFilter(keys)
	// Changes from now on add to it; those made before are read.
	var losses int
	s.db.BetweenChanges(func() {
		s.nextFilter.Store(next)
		losses = s.losses
	})
	err := s.db.View(func(txn *durable.Txn) error { return fill(next, s.db.Pacer(ctx), txn) })
	s.db.BetweenChanges(func() {
		s.nextFilter.Store(nil)
		if err == nil && s.losses == losses {
			s.filter.Store(next)
		}
	})
	return err
}

func fill(filter *digestFilter, pacer *durable.Pacer, txn reader) error {
	for key := range txn.Below([]byte(digestPrefix)) {
		if err := pacer.Step(); err != nil {
			return err
		}
		if len(key) == len(digestPrefix)+len(apikey.Digest{}) { // otherwise Check reports it
			digest := apikey.Digest(key[len(digestPrefix):])
			filter.add(&digest)
		}
	}
	return nil
}
