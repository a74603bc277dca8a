package store

import (
	"context"
	"encoding/binary"
	"math/bits"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable/journal"
)

// known is a Bloom filter of digests: of what it was told it always says that it
// may be there, and of other digests, of fewer than one in a hundred. It takes
// two to eight bytes a key, and no lock: its bits are only ever set. A digest is
// as good as random, so its own bytes say where its bits are.
type known struct {
	words []atomic.Uint64 // a power of two of them
	room  int64           // how many digests it is made for
	told  atomic.Int64
}

// What there is room for, beside a key for every key that there is.
const minRoom = 1 << 16

const bitsPerKey = 12 // at least, when all room is taken

func newKnown(keys int64) *known {
	room := max(2*keys, minRoom)
	words := 1 << bits.Len64(uint64(room*bitsPerKey/64-1))
	return &known{words: make([]atomic.Uint64, words), room: room}
}

// places calls visit for each bit of a digest, until it returns false.
func (k *known) places(d *apikey.Digest, visit func(word *atomic.Uint64, bit uint64) bool) {
	for i := 0; i < len(d); i += 8 {
		at := binary.LittleEndian.Uint64(d[i:])
		if !visit(&k.words[at>>6&uint64(len(k.words)-1)], 1<<(at&63)) {
			return
		}
	}
}

func (k *known) add(d *apikey.Digest) {
	k.places(d, func(word *atomic.Uint64, bit uint64) bool { word.Or(bit); return true })
	k.told.Add(1)
}

func (k *known) has(d *apikey.Digest) (has bool) {
	k.places(d, func(word *atomic.Uint64, bit uint64) bool { has = word.Load()&bit != 0; return has })
	return has
}

func (k *known) full() bool { return k.told.Load() > k.room }

// MayHave reports whether a key may have the digest. Where it says no, none has
// one: a flood of invented tokens is refused without asking the disk. It waits
// for nothing, and says yes until all digests have been read after Open.
func (s *Store) MayHave(digest apikey.Digest) bool {
	if s == nil {
		return true // to look it up says that the store is closed
	}
	known := s.known.Load()
	return known == nil || known.has(&digest)
}

// meet tells what knows digests of those that are about to be in the store. The
// caller holds changes.
func (s *Store) meet(writes []journal.Write) {
	now := s.known.Load()
	for i := range writes {
		digest, ok := digestIn(writes[i].Key)
		if !ok {
			continue
		}
		if now != nil {
			now.add(&digest)
		}
		if s.learning != nil {
			s.learning.add(&digest)
		}
	}
	if now != nil && now.full() && s.keeper != nil {
		ask(s.keeper.crowded)
	}
}

// learn makes anew what knows the digests of all keys: at first, and whenever
// there are more than it was made for.
func (s *Store) learn(ctx context.Context) {
	if err := s.tryLearn(ctx); err != nil && ctx.Err() == nil {
		s.log.Error("reading which keys there are: unknown tokens are looked up on the disk", zap.String("path", s.path), zap.Error(err))
	}
}

func (s *Store) tryLearn(ctx context.Context) error {
	s.changes.Lock()
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	ends, err := readEnds(ctx, txn)
	if err == nil {
		s.learning = newKnown(ends.ever().sum())
	}
	learned := s.learning
	s.changes.Unlock()
	if err != nil {
		return err
	}
	err = learnAll(s.pacer(ctx), txn, learned)
	s.changes.Lock()
	defer s.changes.Unlock()
	s.learning = nil
	if err == nil {
		s.known.Store(learned)
	}
	return err
}

func learnAll(pacer *pacer, txn reader, learned *known) error {
	it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte(digestPrefix)})
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		if err := pacer.step(); err != nil {
			return err
		}
		if digest, ok := digestIn(it.Item().Key()); ok {
			learned.add(&digest)
		}
	}
	return nil
}

// digestIn returns the digest that is in a key of the store.
func digestIn(key []byte) (digest apikey.Digest, ok bool) {
	if len(key) != len(digestPrefix)+len(digest) || string(key[:len(digestPrefix)]) != digestPrefix {
		return digest, false
	}
	return apikey.Digest(key[len(digestPrefix):]), true
}
