package durable

import (
	"context"
	"slices"
	"sync"
	"time"
)

// turns is a lock that is fair to parties: none waits for more than one change of each
// other party, however many are queued. Urgent changes go first. The holder of the lock may
// make the changes of those that wait next, too: see join.
type turns struct {
	mu      sync.Mutex
	held    bool
	since   time.Time // when the current turn began
	urgent  queue
	routine queue
	// overtakes counts the urgent turns in a row that went ahead of waiting routine ones.
	overtakes int
}

// maxOvertakes bounds how many urgent changes go ahead of a waiting routine one, so
// that it is not starved.
const maxOvertakes = 8

// waiter waits for its turn.
type waiter struct {
	party string
	// item is what it wants to have done, if another may do it; nil if it has to have a turn
	// of its own.
	item any
	// ready is closed when it is its turn, or when its item was done.
	ready chan struct{}
	done  bool // its item was done; set before ready is closed
}

// queue holds the waiters of each party, and the parties in the order of their next
// turns.
type queue struct {
	order   []string
	waiting map[string][]*waiter
}

func (q *queue) push(w *waiter) {
	if q.waiting == nil {
		q.waiting = make(map[string][]*waiter)
	}
	if len(q.waiting[w.party]) == 0 {
		q.order = append(q.order, w.party)
	}
	q.waiting[w.party] = append(q.waiting[w.party], w)
}

func (q *queue) peek() *waiter { return q.waiting[q.order[0]][0] }

func (q *queue) pop() *waiter {
	w := q.peek()
	q.order = q.order[1:]
	if q.waiting[w.party] = q.waiting[w.party][1:]; len(q.waiting[w.party]) > 0 {
		q.order = append(q.order, w.party)
	} else {
		delete(q.waiting, w.party)
	}
	return w
}

// remove removes a waiter that has given up, and reports whether it was still
// queued.
func (q *queue) remove(w *waiter) bool {
	i := slices.Index(q.waiting[w.party], w)
	if i < 0 {
		return false
	}
	if q.waiting[w.party] = slices.Delete(q.waiting[w.party], i, i+1); len(q.waiting[w.party]) == 0 {
		delete(q.waiting, w.party)
		q.order = slices.DeleteFunc(q.order, func(other string) bool { return other == w.party })
	}
	return true
}

// LockFor waits for a party's turn, or until ctx is done.
func (t *turns) LockFor(ctx context.Context, party string, urgent bool) error {
	_, err := t.lockOrJoin(ctx, party, urgent, nil)
	return err
}

// lockOrJoin waits for a party's turn, until another has done its item during its own turn,
// or until ctx is done. An item is not given up while another does it.
func (t *turns) lockOrJoin(ctx context.Context, party string, urgent bool, item any) (done bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	t.mu.Lock()
	if !t.held {
		t.held, t.since = true, time.Now()
		t.mu.Unlock()
		return false, nil
	}
	q := &t.routine
	if urgent {
		q = &t.urgent
	}
	w := &waiter{party: party, item: item, ready: make(chan struct{})}
	q.push(w)
	t.mu.Unlock()
	select {
	case <-w.ready:
		return w.done, nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	waited := q.remove(w)
	t.mu.Unlock()
	if waited {
		return false, ctx.Err()
	}
	if <-w.ready; w.done {
		return true, nil
	}
	t.Unlock() // its turn came at the same time: pass it on
	return false, ctx.Err()
}

// join takes up to most waiters out of the queue whose items the holder of the lock does
// now, in the order of their turns. It ends at one that has to have a turn of its own.
func (t *turns) join(most int) (joined []*waiter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(joined) < most {
		q := t.next()
		if q == nil || q.peek().item == nil {
			break
		}
		joined = append(joined, t.take(q))
	}
	return joined
}

// Lock waits for a turn on behalf of no party.
func (t *turns) Lock() { _ = t.LockFor(context.Background(), "", false) }

// Unlock ends the turn, and starts the next.
func (t *turns) Unlock() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.since = time.Now()
	if q := t.next(); q != nil {
		close(t.take(q).ready)
		return
	}
	t.held = false
}

// next returns the queue with the next waiter, or nil if nobody waits. The caller holds mu.
func (t *turns) next() *queue {
	urgent, routine := len(t.urgent.order) > 0, len(t.routine.order) > 0
	switch {
	case urgent && (!routine || t.overtakes < maxOvertakes):
		return &t.urgent
	case routine:
		return &t.routine
	}
	return nil
}

// take removes the next waiter of a queue that next has returned. The caller holds mu.
func (t *turns) take(q *queue) *waiter {
	switch {
	case q == &t.routine:
		t.overtakes = 0
	case len(t.routine.order) > 0:
		t.overtakes++
	}
	return q.pop()
}

// heldFor returns how long the current turn has lasted.
func (t *turns) heldFor() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.held {
		return 0
	}
	return time.Since(t.since)
}

// awaited reports whether somebody waits for a turn.
func (t *turns) awaited() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.next() != nil
}

// joinable returns how many wait whose items another may do.
func (t *turns) joinable() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, q := range []*queue{&t.urgent, &t.routine} {
		for _, waiting := range q.waiting {
			for _, w := range waiting {
				if w.item != nil {
					n++
				}
			}
		}
	}
	return n
}
