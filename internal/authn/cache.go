package authn

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/maypok86/otter/v2"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/assertion"
	"github.com/agiled/caddy-api-keys/internal/ratelimit"
)

var (
	errUnknown = errors.New("there is no such key")
	errNeither = errors.New("the key store returned neither a key nor an error")
	errInDoubt = errors.New("the key was to end with a change that could not be written to disk")
)

// cache holds keys by the digest of their token. It holds existing keys only: a flood of
// invented tokens must not evict the keys of customers.
//
// Only readers add entries, and none that a change of its key has overtaken: see forget.
type cache struct {
	entries *otter.Cache[halfDigest, *entry]
	source  Source
	readers *readers
	log     *zap.Logger
	doubted doubted
}

// doubted are the keys that a change in doubt was meant to end, and when. The source may have
// them as they were before, so they are refused from then on, until nothing is in doubt any
// more. Another change of such a key shows nothing: it may come before the one in doubt.
type doubted struct {
	mu   sync.RWMutex
	ends map[apikey.Digest]apikey.Instant // 0 if at once
}

func (d *doubted) end(digest apikey.Digest) (at apikey.Instant, found bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	at, found = d.ends[digest]
	return at, found
}

func (d *doubted) add(ended []apikey.Digest, ending []apikey.Ending) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ends == nil {
		d.ends = make(map[apikey.Digest]apikey.Instant, len(ended)+len(ending))
	}
	for _, one := range ending {
		if at, found := d.ends[one.Digest]; !found || one.At < at {
			d.ends[one.Digest] = one.At
		}
	}
	for _, digest := range ended {
		d.ends[digest] = 0
	}
}

func (d *doubted) clear() (cleared map[apikey.Digest]apikey.Instant) {
	d.mu.Lock()
	defer d.mu.Unlock()
	cleared, d.ends = d.ends, nil
	return cleared
}

// halfDigest is the first half of a digest. Entries are found by it, because it takes less
// memory and is hashed faster, and are compared by the whole digest.
type halfDigest [len(apikey.Digest{}) / 2]byte

func half(digest apikey.Digest) halfDigest { return halfDigest(digest[:len(halfDigest{})]) }

// entry is a cached key with what its requests change. It is one allocation, because
// cache misses of the processor are most of what a check costs.
type entry struct {
	apikey.Grant
	use     use
	usage   usage
	buckets ratelimit.Hint // of the key, and of its workspace
	signed  assertion.Slot // while the key is in use
}

func newCache(source Source, size int, log *zap.Logger) (*cache, error) {
	entries, err := otter.New(&otter.Options[halfDigest, *entry]{
		MaximumSize: size,
		Executor:    func(task func()) { task() }, // starting a goroutine would cost more than its tasks
	})
	if err != nil {
		return nil, fmt.Errorf("creating a cache for %d keys: %w", size, err)
	}
	c := &cache{entries: entries, source: source, log: log}
	c.readers = newReaders(c.read, c.keep)
	return c, nil
}

// read asks the source.
func (c *cache) read(digest apikey.Digest) (found *entry, err error) {
	defer apikey.RecoverStore(&err)
	end, doubted := c.doubted.end(digest)
	if doubted && end == 0 {
		return nil, errInDoubt
	}
	grant, err := c.source.Grant(digest)
	switch {
	case errors.Is(err, apikey.ErrNotFound):
		return nil, errUnknown
	case err != nil:
		return nil, err
	case grant.Digest != digest:
		return nil, errNeither
	}
	if doubted {
		grant.EndBy(end)
	}
	return &entry{Grant: grant}, nil
}

func (c *cache) keep(found *entry) { c.entries.Set(half(found.Digest), found) }

// get returns the key of a digest. Its error is errUnknown, or the reason why the
// source could not be asked.
func (c *cache) get(ctx context.Context, digest apikey.Digest) (*entry, Lookup, error) {
	if found, ok := c.cached(digest); ok {
		return found, Hit, nil
	}
	return c.look(ctx, digest)
}

// look is get for a digest that is not in memory.
func (c *cache) look(ctx context.Context, digest apikey.Digest) (*entry, Lookup, error) {
	if !c.source.MayHave(digest) {
		return nil, Miss, errUnknown
	}
	if err := ctx.Err(); err != nil { // nobody is waiting for the answer
		return nil, Miss, err
	}
	found, err := c.readers.ask(ctx, digest)
	if err != nil && err != errUnknown && ctx.Err() == nil {
		c.log.Error("could not look up a key", zap.Error(err))
		return nil, Failed, err
	}
	return found, Miss, err
}

// cached returns the key of a digest if it is in memory.
func (c *cache) cached(digest apikey.Digest) (*entry, bool) {
	found, ok := c.entries.GetIfPresent(half(digest))
	if !ok || found.Digest != digest {
		return nil, false
	}
	return found, true
}

// forget drops what is known of a key that has changed. First, no look-up that began
// before may keep its answer any more.
func (c *cache) forget(digest apikey.Digest) {
	c.readers.overtake(digest)
	c.entries.Invalidate(half(digest))
}

// forgetAll is forget for all keys.
func (c *cache) forgetAll() {
	c.readers.overtakeAll()
	c.entries.InvalidateAll()
}

func (c *cache) resize(size int) { c.entries.SetMaximum(uint64(size)) }
