package identity

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// fetchTimeout bounds a fetch, and so the time that a request waits for keys.
	fetchTimeout = 5 * time.Second
	// fetchInterval is the least time from one fetch to the next, whatever ids of keys
	// clients invent.
	fetchInterval = 10 * time.Second
	// defaultMaxAge is how long keys are fresh if the response does not say, and
	// longestMaxAge how long if it says more.
	defaultMaxAge = 5 * time.Minute
	longestMaxAge = time.Hour
	// graceTime is how much longer the known keys are used if no others can be fetched.
	graceTime = 24 * time.Hour
	// maxSet bounds a JWK set, in bytes. A key has about 150.
	maxSet = 64 << 10
)

// keyCache has the gateway's public keys in memory. A request waits for a fetch only if
// there are no fresh keys, or none with the id that it needs. It is safe for concurrent
// use.
type keyCache struct {
	url    string
	client *http.Client
	log    *slog.Logger
	now    func() time.Time

	known atomic.Pointer[keySet] // nil until the first fetch succeeds

	mu     sync.Mutex
	fetch  *fetch    // in flight, or the last one; nil before the first
	failed bool      // the last fetch that ended failed
	begun  time.Time // when the last fetch began
}

// keySet is what a fetch brought.
type keySet struct {
	keys    map[string]ed25519.PublicKey
	etag    string
	maxAge  time.Duration
	fetched time.Time
}

// find returns a key, unless it is not in the set or the set is too old to be used.
func (s *keySet) find(id string, now time.Time) (key ed25519.PublicKey, age time.Duration, found bool) {
	if s == nil {
		return nil, 0, false
	}
	age = now.Sub(s.fetched)
	key, found = s.keys[id]
	return key, age, found && age < s.maxAge+graceTime
}

// fetch is one request for the keys.
type fetch struct {
	done chan struct{} // closed when it has ended
	err  error         // why it failed; set before done is closed
}

// key returns the key with an id. Without it, the error is errKey if the gateway does not
// have the key either, and an ErrUnavailable if nobody can tell.
func (c *keyCache) key(ctx context.Context, id string) (ed25519.PublicKey, error) {
	set := c.known.Load()
	key, age, found := set.find(id, c.now())
	if found && age < set.maxAge/2 {
		return key, nil
	}
	current, failing := c.refresh()
	if found && (age < set.maxAge || failing) {
		return key, nil // while the next ones are on their way
	}
	select {
	case <-current.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
	if key, _, found := c.known.Load().find(id, c.now()); found {
		return key, nil
	}
	if current.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, current.err)
	}
	return nil, errKey
}

// refresh begins a fetch, unless one is in flight or began less than fetchInterval ago,
// and returns the latest. It also reports whether the one that ended last failed.
func (c *keyCache) refresh() (latest *fetch, failing bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fetch != nil {
		select {
		case <-c.fetch.done:
		default:
			return c.fetch, c.failed
		}
		if c.now().Sub(c.begun) < fetchInterval {
			return c.fetch, c.failed
		}
	}
	c.fetch = &fetch{done: make(chan struct{})}
	c.begun = c.now()
	go c.run(c.fetch)
	return c.fetch, c.failed
}

// run does not end with the request that caused it: others wait for it too.
func (c *keyCache) run(f *fetch) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	before := c.known.Load()
	set, err := c.get(ctx, before)
	if err == nil {
		c.known.Store(set)
	}
	c.mu.Lock()
	failedBefore := c.failed
	c.failed, f.err = err != nil, err
	c.mu.Unlock()
	defer close(f.done)
	switch {
	case err != nil && !failedBefore:
		c.log.Error("cannot fetch the keys of the API-key gateway", "url", c.url, "error", err, "known_keys_until", before.end())
	case err == nil && failedBefore:
		c.log.Info("fetched the keys of the API-key gateway again", "url", c.url)
	}
}

// end is when the set is used no more; the zero time if there is none.
func (s *keySet) end() time.Time {
	if s == nil {
		return time.Time{}
	}
	return s.fetched.Add(s.maxAge + graceTime)
}

// get asks for the keys, or whether those that are known are still the same.
func (c *keyCache) get(ctx context.Context, known *keySet) (*keySet, error) {
	begun := c.now()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	if known != nil && known.etag != "" {
		request.Header.Set("If-None-Match", known.etag)
	}
	response, err := c.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()

	set := &keySet{etag: response.Header.Get("ETag"), maxAge: maxAge(response.Header), fetched: begun}
	switch {
	case response.StatusCode == http.StatusNotModified && known != nil:
		set.keys, set.etag = known.keys, known.etag
		return set, nil
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the answer has status %d, want 200", response.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxSet+1))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if len(body) > maxSet {
		return nil, errors.New("the answer is too long for a set of keys")
	}
	if set.keys, err = parseKeys(body); err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	return set, nil
}

// maxAge returns how long a response is fresh, at least fetchInterval: nothing is fetched
// more often than that anyway.
func maxAge(header http.Header) time.Duration {
	for _, value := range header.Values("Cache-Control") {
		for directive := range strings.SplitSeq(value, ",") {
			name, seconds, _ := strings.Cut(strings.TrimSpace(directive), "=")
			switch strings.ToLower(name) {
			case "no-store", "no-cache":
				return fetchInterval
			case "max-age":
				n, err := strconv.ParseUint(seconds, 10, 31)
				if err != nil {
					return fetchInterval
				}
				return min(max(time.Duration(n)*time.Second, fetchInterval), longestMaxAge)
			}
		}
	}
	return defaultMaxAge
}
