package delivery

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/webhook"
)

// Target is a receiver, and how messages are sent to it.
type Target struct {
	webhook.Receiver
	Sender *Sender
}

// The outcome of a try to deliver a message, for metrics.
const (
	Delivered = "ok"
	Retried   = "retry"    // it failed, and will be repeated
	GivenUp   = "given_up" // the message is lost to its receiver
)

// Outcomes are all outcomes.
func Outcomes() []string { return []string{Delivered, Retried, GivenUp} }

// Config is what a deliverer is made from. Every field must be set.
type Config struct {
	Outbox webhook.Outbox
	// Now returns a time that is certain to have passed, by which messages become old or due.
	Now func() time.Time
	// Observe is called with the outcome of every try, concurrently.
	Observe func(outcome string)
	// Log is for what an operator has to know. It is not sampled.
	Log *zap.Logger
}

// Deliverer sends the messages of an outbox. It is safe for concurrent use.
type Deliverer struct {
	config Config

	mu      sync.Mutex
	current *shift         // nil before Use, and after Close
	dropped map[string]int // how many of a receiver's messages are counted as dropped
}

// New returns a deliverer that sends nothing yet.
func New(config Config) *Deliverer {
	return &Deliverer{config: config, dropped: make(map[string]int)}
}

// handOver is how long tries under way may continue once they are no longer wanted.
const handOver = time.Second

// Use sends to other targets from now on. It does not wait: what is being sent ends first, so
// that no message is sent twice at a time. It forgets who has wanted no more messages.
func (d *Deliverer) Use(targets []Target) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.current
	if before != nil {
		before.stopWork()
	}
	d.current = newShift(d, targets)
	go func(next *shift) {
		if before != nil {
			before.stop(tryTimeout)
		}
		next.run()
	}(d.current)
}

// Close ends all sending. What is not confirmed by then will be sent again.
func (d *Deliverer) Close() {
	d.mu.Lock()
	last := d.current
	d.current = nil
	d.mu.Unlock()
	if last != nil {
		last.stop(handOver)
	}
}

// Pending is what waits to be delivered, to all targets.
type Pending struct {
	Messages int
	Age      time.Duration // of the oldest one, to within a minute; 0 if there is none
}

// Pending returns what waits. It takes no time.
func (d *Deliverer) Pending() (all Pending) {
	now := d.config.Now()
	for _, r := range d.routes() {
		n := d.config.Outbox.Count(r.ID)
		all.Messages += n
		if oldest := r.oldest.Load(); n > 0 && oldest != nil {
			all.Age = max(all.Age, now.Sub(*oldest))
		}
	}
	return all
}

// routes are those of the current configuration.
func (d *Deliverer) routes() []*route {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.current == nil {
		return nil
	}
	return d.current.routes
}

// Tested is the result of a test message.
type Tested struct {
	Address string // of the receiver, as it may be shown
	Result
}

// Test sends a message of its own type to every target, past the outbox, and returns what they
// answered. It takes as long as the slowest, 10 seconds at most.
func (d *Deliverer) Test(ctx context.Context) []Tested {
	routes, body := d.routes(), testBody(time.Now())
	results := make([]Tested, len(routes))
	var all sync.WaitGroup
	for i, r := range routes {
		all.Go(func() {
			results[i] = Tested{r.Sender.String(), r.Sender.Send(ctx, "msg_test_"+rand.Text(), body)}
		})
	}
	all.Wait()
	return results
}

// testBody is what a test message says: that of no event, and about nothing.
func testBody(at time.Time) []byte {
	return fmt.Appendf(nil, `{"type":"webhook.test","timestamp":%q,"data":{}}`, at.UTC().Format(time.RFC3339))
}

// countDropped counts what the outbox has dropped since it was last asked.
func (d *Deliverer) countDropped(routes []*route) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range routes {
		now := d.config.Outbox.Dropped(r.ID)
		n := now - d.dropped[r.ID]
		if n <= 0 {
			continue
		}
		d.dropped[r.ID] = now
		for range n {
			d.config.Observe(GivenUp)
		}
		r.log.Error("dropped messages to a webhook because too many are pending", zap.Int("messages", n))
	}
}
