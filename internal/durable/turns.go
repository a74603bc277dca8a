package durable

import (
	"context"
	"slices"
	"sync"
	"time"
)

// turns is a lock that is fair to parties: none waits for more than one change of
// each other party, however many are queued. Urgent changes go first.
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

// queue holds the waiters of each party, and the parties in the order of their next
// turns.
type queue struct {
	order   []string
	waiting map[string][]chan struct{}
}

func (q *queue) push(party string, turn chan struct{}) {
	if q.waiting == nil {
		q.waiting = make(map[string][]chan struct{})
	}
	if len(q.waiting[party]) == 0 {
		q.order = append(q.order, party)
	}
	q.waiting[party] = append(q.waiting[party], turn)
}

func (q *queue) pop() chan struct{} {
	party := q.order[0]
	turn := q.waiting[party][0]
	q.order = q.order[1:]
	if q.waiting[party] = q.waiting[party][1:]; len(q.waiting[party]) > 0 {
		q.order = append(q.order, party)
	} else {
		delete(q.waiting, party)
	}
	return turn
}

// remove removes a waiter that has given up, and reports whether it was still
// queued.
func (q *queue) remove(party string, turn chan struct{}) bool {
	i := slices.Index(q.waiting[party], turn)
	if i < 0 {
		return false
	}
	if q.waiting[party] = slices.Delete(q.waiting[party], i, i+1); len(q.waiting[party]) == 0 {
		delete(q.waiting, party)
		q.order = slices.DeleteFunc(q.order, func(other string) bool { return other == party })
	}
	return true
}

// LockFor waits for a party's turn, or until ctx is done.
func (t *turns) LockFor(ctx context.Context, party string, urgent bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t.mu.Lock()
	if !t.held {
		t.held, t.since = true, time.Now()
		t.mu.Unlock()
		return nil
	}
	q := &t.routine
	if urgent {
		q = &t.urgent
	}
	turn := make(chan struct{})
	q.push(party, turn)
	t.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	waited := q.remove(party, turn)
	t.mu.Unlock()
	if !waited { // its turn came at the same time: pass it on
		t.Unlock()
	}
	return ctx.Err()
}

// Lock waits for a turn on behalf of no party.
func (t *turns) Lock() { _ = t.LockFor(context.Background(), "", false) }

// Unlock ends the turn, and starts the next.
func (t *turns) Unlock() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.since = time.Now()
	urgent, routine := len(t.urgent.order) > 0, len(t.routine.order) > 0
	switch {
	case urgent && (!routine || t.overtakes < maxOvertakes):
		if routine {
			t.overtakes++
		}
		close(t.urgent.pop())
	case routine:
		t.overtakes = 0
		close(t.routine.pop())
	default:
		t.held = false
	}
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
