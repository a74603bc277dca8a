package authn

import (
	"context"
	"errors"
	"fmt"

	"github.com/maypok86/otter/v2"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/assertion"
	"github.com/agiled/caddy-api-keys/internal/ratelimit"
)

// errUnknown says that there is no such key, in the form that otter expects.
const errUnknown = otter.ErrNotFound

var errNeither = errors.New("the key store returned neither a key nor an error")

// cache holds keys by the digest of their token. It holds existing keys only: a flood of
// invented tokens must not evict the keys of customers.
//
// Only otter's loader adds entries. Reading the source and then setting the entry would
// leave a stale one if the key changed in between; otter drops the result of a load that
// an invalidation has overtaken.
type cache struct {
	entries *otter.Cache[apikey.Digest, *entry]
	loader  otter.LoaderFunc[apikey.Digest, *entry]
	mayHave func(apikey.Digest) bool
	readers *readers
	log     *zap.Logger
}

// entry is a cached key with what its requests change. It is one allocation, because
// cache misses of the processor are most of what a check costs.
type entry struct {
	apikey.Key
	use     use
	usage   usage
	buckets [3]ratelimit.Hint // by the action, for any limit
	signed  assertion.Slot    // while the key is in use
}

func newCache(source Source, size int, log *zap.Logger) (*cache, error) {
	entries, err := otter.New(&otter.Options[apikey.Digest, *entry]{MaximumSize: size})
	if err != nil {
		return nil, fmt.Errorf("creating a cache for %d keys: %w", size, err)
	}
	c := &cache{
		entries: entries,
		mayHave: source.MayHave,
		log:     log,
		loader: func(_ context.Context, digest apikey.Digest) (loaded *entry, err error) {
			defer apikey.RecoverStore(&err)
			key, err := source.Lookup(digest)
			switch {
			case errors.Is(err, apikey.ErrNotFound):
				return nil, errUnknown
			case err != nil:
				return nil, err
			case key == nil:
				return nil, errNeither
			}
			return &entry{Key: *key, use: use{keyID: key.ID}, usage: usage{keyID: key.ID}}, nil
		},
	}
	c.readers = newReaders(c.read)
	return c, nil
}

// read asks the source. Concurrent requests for one key share one answer, which the
// others still need if the first client hangs up.
func (c *cache) read(digest apikey.Digest) (*entry, error) {
	return c.entries.Get(context.Background(), digest, c.loader)
}

// get returns the key of a digest. Its error is errUnknown, or the reason why the
// source could not be asked.
func (c *cache) get(ctx context.Context, digest apikey.Digest) (*entry, Lookup, error) {
	if found, ok := c.entries.GetIfPresent(digest); ok {
		return found, Hit, nil
	}
	if !c.mayHave(digest) {
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
func (c *cache) cached(digest apikey.Digest) (*entry, bool) { return c.entries.GetIfPresent(digest) }

func (c *cache) forget(digest apikey.Digest) { c.entries.Invalidate(digest) }

func (c *cache) resize(size int) { c.entries.SetMaximum(uint64(size)) }
