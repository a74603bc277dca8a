package metrics

import (
	"context"
	"sync"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// SlowCount caches counts that take longer the larger the store is. It counts for
// at most a twentieth of the time, in the background, and a scrape that would
// wait too long gets the previous counts.
type SlowCount struct {
	// Count returns the counts.
	Count func() (map[time.Duration]int, error)

	mu     sync.Mutex
	counts map[time.Duration]int
	err    error
	due    time.Time     // when to count again
	done   chan struct{} // closed when the running count ends; nil if there is none
}

const (
	// slowCountPause is how many times as long as the last count the pause after
	// it is.
	slowCountPause = 20
	// slowCountTimeout is how long a scrape waits for a count.
	slowCountTimeout = time.Second
)

// Latest returns the most recent counts, nil if there are none yet. It waits for
// slowCountTimeout at most.
func (c *SlowCount) Latest(ctx context.Context) (map[time.Duration]int, error) {
	ctx, cancel := context.WithTimeout(ctx, slowCountTimeout)
	defer cancel()
	select {
	case <-c.refresh():
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts, c.err
}

// refresh starts a count if one is due. The channel that it returns is closed when
// no count is running.
func (c *SlowCount) refresh() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done != nil {
		return c.done
	}
	done := make(chan struct{})
	if time.Now().Before(c.due) {
		close(done)
		return done
	}
	c.done = done
	go c.run(done)
	return done
}

func (c *SlowCount) run(done chan struct{}) {
	begun := time.Now()
	counts, err := c.tryCount()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts, c.err, c.done = counts, err, nil
	c.due = time.Now().Add(slowCountPause * time.Since(begun))
	close(done)
}

// tryCount turns a panic into an error: in this goroutine it would end the
// process.
func (c *SlowCount) tryCount() (counts map[time.Duration]int, err error) {
	defer apikey.RecoverStore(&err)
	return c.Count()
}
