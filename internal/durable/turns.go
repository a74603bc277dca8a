package durable

import (
	"context"
	"slices"
	"sync"
	"time"
)

// turns is a lock that parties take in turns, so that none waits for more than one
// change of each other, however many they ask for. What is urgent goes first.
type turns struct {
	mu      sync.Mutex
	held    bool
	since   time.Time // when the present turn began
	urgent  line
	routine line
	ahead   int // how many urgent ones have gone before routine ones that wait
}

// maxAhead bounds how many urgent changes go before one that is not, so that it has
// its turn while there is no end of them.
const maxAhead = 8

// line is who waits, by party, in the order in which each has its next turn.
type line struct {
	order   []string
	waiting map[string][]chan struct{}
}

func (l *line) push(party string, turn chan struct{}) {
	if l.waiting == nil {
		l.waiting = make(map[string][]chan struct{})
	}
	if len(l.waiting[party]) == 0 {
		l.order = append(l.order, party)
	}
	l.waiting[party] = append(l.waiting[party], turn)
}

func (l *line) pop() chan struct{} {
	party := l.order[0]
	turn := l.waiting[party][0]
	l.order = l.order[1:]
	if l.waiting[party] = l.waiting[party][1:]; len(l.waiting[party]) > 0 {
		l.order = append(l.order, party)
	} else {
		delete(l.waiting, party)
	}
	return turn
}

// remove takes out a turn that nobody waits for any more, and reports whether it was
// still there.
func (l *line) remove(party string, turn chan struct{}) bool {
	i := slices.Index(l.waiting[party], turn)
	if i < 0 {
		return false
	}
	if l.waiting[party] = slices.Delete(l.waiting[party], i, i+1); len(l.waiting[party]) == 0 {
		delete(l.waiting, party)
		l.order = slices.DeleteFunc(l.order, func(other string) bool { return other == party })
	}
	return true
}

// LockFor waits for a party's turn, or for the end of ctx.
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
	l := &t.routine
	if urgent {
		l = &t.urgent
	}
	turn := make(chan struct{})
	l.push(party, turn)
	t.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	waited := l.remove(party, turn)
	t.mu.Unlock()
	if !waited { // its turn came at the same time
		t.Unlock()
	}
	return ctx.Err()
}

// Lock waits for the turn of nobody in particular.
func (t *turns) Lock() { _ = t.LockFor(context.Background(), "", false) }

// Unlock gives the turn to who is next.
func (t *turns) Unlock() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.since = time.Now()
	urgent, routine := len(t.urgent.order) > 0, len(t.routine.order) > 0
	switch {
	case urgent && (!routine || t.ahead < maxAhead):
		if routine {
			t.ahead++
		}
		close(t.urgent.pop())
	case routine:
		t.ahead = 0
		close(t.routine.pop())
	default:
		t.held = false
	}
}

// heldFor returns for how long the turn has been somebody's.
func (t *turns) heldFor() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.held {
		return 0
	}
	return time.Since(t.since)
}
