package store

import (
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/webhook"
)

// backlog is what is known in memory about the messages in the store, so that nobody has to
// search it. It is safe for concurrent use.
type backlog struct {
	log   *zap.Logger
	added chan struct{} // has an element after messages were added
	lead  chan struct{} // has an element while nobody sends

	most, mostOfOne int // see webhook.MaxPending

	mu      sync.Mutex
	counted bool // the messages in the store are in pending
	pending map[string]*pending
}

// pending are the messages to one receiver.
type pending struct {
	n       int
	of      map[string]*waiting // by workspace
	dropped int                 // since the start
	logged  time.Time           // when that was last logged
	unsaid  int                 // how many were dropped since
}

// waiting are the messages to one receiver about one workspace.
type waiting struct {
	n int
	// from precedes all of them, or is the first, so that nobody has to go through what was
	// removed.
	from string
}

func newBacklog(log *zap.Logger) *backlog {
	b := &backlog{
		log: log, added: make(chan struct{}, 1), lead: make(chan struct{}, 1),
		most: webhook.MaxPending, mostOfOne: webhook.MaxPendingOfOne, pending: make(map[string]*pending),
	}
	b.lead <- struct{}{}
	return b
}

// of returns the messages to a receiver. The caller holds mu.
func (b *backlog) of(receiver string) *pending {
	p := b.pending[receiver]
	if p == nil {
		p = &pending{of: make(map[string]*waiting)}
		b.pending[receiver] = p
	}
	return p
}

// add counts one more message about a workspace. Ids follow those that were counted before.
func (p *pending) add(workspace, id string) {
	w := p.of[workspace]
	if w == nil {
		w = &waiting{from: id}
		p.of[workspace] = w
	}
	p.n++
	w.n++
}

func (p *pending) remove(workspace string) {
	w := p.of[workspace]
	if w == nil {
		return
	}
	p.n--
	if w.n--; w.n == 0 {
		delete(p.of, workspace)
	}
}

// full reports whether there is no room for another message.
func (b *backlog) full(receiver, workspace string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.of(receiver)
	if p.n < b.most/2 {
		return false
	}
	w := p.of[workspace]
	return p.n >= b.most || w != nil && w.n >= b.mostOfOne
}

// add counts the messages of a transaction that was committed.
func (b *backlog) add(out outgoing) {
	if len(out.messages) == 0 && len(out.dropped) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range out.messages {
		b.of(m.Receiver).add(m.Workspace, m.ID)
	}
	for receiver, n := range out.dropped {
		b.of(receiver).drop(b.log, receiver, n)
	}
	wake(b.added)
}

// logDropped is how often it is logged at most that messages to a receiver are dropped.
const logDropped = time.Minute

func (p *pending) drop(log *zap.Logger, receiver string, n int) {
	p.dropped, p.unsaid = p.dropped+n, p.unsaid+n
	if now := time.Now(); now.Sub(p.logged) >= logDropped {
		log.Error("webhook messages were dropped, because too many are pending or the disk is full",
			zap.String("receiver", receiver), zap.Int("dropped", p.unsaid), zap.Int("pending", p.n))
		p.logged, p.unsaid = now, 0
	}
}

// wake puts an element into a channel with room for one, unless it has one.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// begin returns an id that no message to a receiver about a workspace precedes.
func (b *backlog) begin(receiver, workspace string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w := b.of(receiver).of[workspace]; w != nil {
		return w.from
	}
	return ""
}

// advance notes that no message to a receiver about a workspace precedes one. New ones
// follow all others.
func (b *backlog) advance(receiver, workspace, id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w := b.of(receiver).of[workspace]; w != nil {
		w.from = max(w.from, id)
	}
}

func (b *backlog) remove(messages []webhook.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range messages {
		b.of(m.Receiver).remove(m.Workspace)
	}
}

// count returns how many messages to a receiver are pending.
func (b *backlog) count(receiver string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.of(receiver).n
}

// countDropped returns how many messages to a receiver were dropped since the start.
func (b *backlog) countDropped(receiver string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.of(receiver).dropped
}

// workspaces returns the workspaces that pending messages to a receiver are about, sorted.
func (b *backlog) workspaces(receiver string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.of(receiver).of))
}

// strangers returns the receivers of pending messages that are not known.
func (b *backlog) strangers(known func(receiver string) bool) (ids []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, p := range b.pending {
		if p.n > 0 && !known(id) {
			ids = append(ids, id)
		}
	}
	return ids
}
