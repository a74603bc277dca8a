package authn

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/maypok86/otter/v2"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/ratelimit"
)

// errUnknown says that the source knows no such key, as otter wants to hear it.
const errUnknown = otter.ErrNotFound

var errNeither = errors.New("the key store returned neither a key nor an error")

// cache remembers keys by the digest of their token, known ones only: a flood
// of invented tokens must not push out the keys of customers.
//
// A key is put in by otter's loader alone. Reading the source and then setting
// the entry would leave a stale one behind if the key changed in between;
// otter drops the result of a load that an invalidation overtook.
type cache struct {
	entries *otter.Cache[apikey.Digest, *entry]
	loader  otter.LoaderFunc[apikey.Digest, *entry]
	mayHave func(apikey.Digest) bool
	readers *readers
	log     *zap.Logger
}

// entry is a key that is remembered, and what a request with it changes: all in
// one piece of memory, because what costs most in a check is to wait for it.
type entry struct {
	apikey.Key
	use     use
	buckets [2]ratelimit.Hint // by the action, for any limit
}

func newCache(source Source, size int, log *zap.Logger) (*cache, error) {
	entries, err := otter.New(&otter.Options[apikey.Digest, *entry]{MaximumSize: size})
	if err != nil {
		return nil, fmt.Errorf("making a cache of %d keys: %w", size, err)
	}
	c := &cache{
		entries: entries,
		mayHave: source.MayHave,
		log:     log,
		loader: func(_ context.Context, digest apikey.Digest) (loaded *entry, err error) {
			defer func() {
				if p := recover(); p != nil {
					err = fmt.Errorf("panic in the key store: %v\n%s", p, debug.Stack())
				}
			}()
			key, err := source.Lookup(digest)
			switch {
			case errors.Is(err, apikey.ErrNotFound):
				return nil, errUnknown
			case err != nil:
				return nil, err
			case key == nil:
				return nil, errNeither
			}
			return &entry{Key: *key, use: use{keyID: key.ID}}, nil
		},
	}
	c.readers = newReaders(c.read)
	return c, nil
}

// read asks the source. Requests for one key that come together share one
// answer; the first of them may hang up, and the others still want it.
func (c *cache) read(digest apikey.Digest) (*entry, error) {
	return c.entries.Get(context.Background(), digest, c.loader)
}

// get returns the key of a digest. Its errors are errUnknown, and whatever else
// kept it from telling.
func (c *cache) get(ctx context.Context, digest apikey.Digest) (*entry, Lookup, error) {
	if found, ok := c.entries.GetIfPresent(digest); ok {
		return found, Hit, nil
	}
	if !c.mayHave(digest) {
		return nil, Miss, errUnknown
	}
	if err := ctx.Err(); err != nil { // a reader would be kept busy for nobody
		return nil, Miss, err
	}
	found, err := c.readers.ask(ctx, digest)
	if err != nil && err != errUnknown && ctx.Err() == nil {
		c.log.Error("looking up a key", zap.Error(err))
		return nil, Failed, err
	}
	return found, Miss, err
}

func (c *cache) forget(digest apikey.Digest) { c.entries.Invalidate(digest) }

func (c *cache) resize(size int) { c.entries.SetMaximum(uint64(size)) }
