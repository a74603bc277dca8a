package webhook

import (
	"maps"
	"slices"
	"sync"
)

// Backlog is what an outbox knows in memory about its messages, so that nobody has to
// search them. It is safe for concurrent use. [NewBacklog] makes one.
type Backlog struct {
	most, mostOfOne int

	mu        sync.Mutex
	receivers map[string]*waiting
	dropped   map[string]int
}

// waiting are the messages to one receiver.
type waiting struct {
	n          int
	workspaces map[string]*waitingOfOne
}

// waitingOfOne are the messages to one receiver about one workspace.
type waitingOfOne struct {
	n    int
	from string // the id of the first, or one that precedes it
}

// NewBacklog returns the backlog of an outbox that keeps up to so many messages to a
// receiver, and up to so many about one workspace once it is half full.
func NewBacklog(most, mostOfOne int) *Backlog {
	return &Backlog{most: most, mostOfOne: mostOfOne, receivers: make(map[string]*waiting), dropped: make(map[string]int)}
}

// Add counts messages. Their ids follow those that were added before.
func (b *Backlog) Add(messages ...Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range messages {
		r := b.receivers[m.Receiver]
		if r == nil {
			r = &waiting{workspaces: make(map[string]*waitingOfOne)}
			b.receivers[m.Receiver] = r
		}
		w := r.workspaces[m.Workspace]
		if w == nil {
			w = &waitingOfOne{from: m.ID}
			r.workspaces[m.Workspace] = w
		}
		r.n++
		w.n++
	}
}

// Remove counts messages no longer, each of which was added.
func (b *Backlog) Remove(messages ...Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range messages {
		r := b.receivers[m.Receiver]
		w := r.of(m.Workspace)
		if w == nil {
			continue
		}
		r.n--
		if w.n--; w.n == 0 {
			delete(r.workspaces, m.Workspace)
		}
		if r.n == 0 {
			delete(b.receivers, m.Receiver)
		}
	}
}

// of returns the messages about a workspace, nil if there are none.
func (r *waiting) of(workspace string) *waitingOfOne {
	if r == nil {
		return nil
	}
	return r.workspaces[workspace]
}

// Clear forgets all messages, but not how many were dropped.
func (b *Backlog) Clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.receivers)
}

// Count returns how many messages to a receiver there are.
func (b *Backlog) Count(receiver string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.receivers[receiver]; r != nil {
		return r.n
	}
	return 0
}

// Receivers returns the receivers of all messages, sorted.
func (b *Backlog) Receivers() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.receivers))
}

// Workspaces returns the workspaces that messages to a receiver are about, sorted.
func (b *Backlog) Workspaces(receiver string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.receivers[receiver]; r != nil {
		return slices.Sorted(maps.Keys(r.workspaces))
	}
	return nil
}

// From returns an id that no message to a receiver about a workspace precedes.
func (b *Backlog) From(receiver, workspace string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w := b.receivers[receiver].of(workspace); w != nil {
		return w.from
	}
	return ""
}

// Advance notes that no message to a receiver about a workspace precedes one.
func (b *Backlog) Advance(receiver, workspace, id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w := b.receivers[receiver].of(workspace); w != nil {
		w.from = max(w.from, id)
	}
}

// Full reports whether there is no room for another message to a receiver about a
// workspace.
func (b *Backlog) Full(receiver, workspace string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.receivers[receiver]
	if r == nil || r.n < b.most/2 {
		return false
	}
	w := r.workspaces[workspace]
	return r.n >= b.most || w != nil && w.n >= b.mostOfOne
}

// FullFor names, in [Backlog.AllFull], messages to a receiver about one workspace, or all of
// them if that is "".
func FullFor(receiver, workspace string) string { return receiver + "/" + workspace }

// AllFull returns where there is no room for another message, sorted. It is that until a
// tenth has been sent: before is what it returned last.
func (b *Backlog) AllFull(before []string) (full []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	reaches := func(n, most int, name string) bool {
		if slices.Contains(before, name) {
			most -= most / 10
		}
		return n >= most
	}
	for receiver, r := range b.receivers {
		if name := FullFor(receiver, ""); reaches(r.n, b.most, name) {
			full = append(full, name)
		}
		for workspace, w := range r.workspaces {
			if name := FullFor(receiver, workspace); reaches(r.n, b.most/2, name) && reaches(w.n, b.mostOfOne, name) {
				full = append(full, name)
			}
		}
	}
	slices.Sort(full)
	return full
}

// Drop counts messages that there was no room for, by receiver.
func (b *Backlog) Drop(messages map[string]int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for receiver, n := range messages {
		b.dropped[receiver] += n
	}
}

// Dropped returns how many messages to a receiver were dropped.
func (b *Backlog) Dropped(receiver string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dropped[receiver]
}
