package fleet

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// queue holds the changes that this gateway has been asked for and has not committed.
// Those that take access away go first. It is safe for concurrent use.
type queue struct {
	mu      sync.Mutex
	urgent  []*request
	routine []*request
	wake    chan struct{} // has room for one; made by the first use
	closed  bool
}

// request is a change that somebody waits for.
type request struct {
	ctx     context.Context
	change  apikey.Change
	applied func(apikey.Planned) error // called once the change is applied here, or refused
	done    chan result                // has room for one
}

// result is what became of a change.
type result struct {
	outcome apikey.Outcome
	err     error
	at      point                 // once it is committed, its position
	serving map[string]registered // the gateways that served at that moment
}

func (q *queue) signal() chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.wake == nil {
		q.wake = make(chan struct{}, 1)
	}
	return q.wake
}

// add adds changes, which follow each other. It fails once the queue is closed.
func (q *queue) add(urgent bool, some ...*request) error {
	wake := q.signal()
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return errClosing
	}
	if urgent {
		q.urgent = append(q.urgent, some...)
	} else {
		q.routine = append(q.routine, some...)
	}
	q.mu.Unlock()
	select {
	case wake <- struct{}{}:
	default:
	}
	return nil
}

var errClosing = errors.New("this gateway is shutting down")

// errAbandoned is why it is unknown to a caller what became of a change.
var errAbandoned = errors.New("the change was still being committed when its caller stopped waiting")

// await waits for what becomes of a change, for as long as its caller does. A change that
// nobody has begun to commit by then is dropped.
func (q *queue) await(r *request) result {
	select {
	case done := <-r.done:
		return done
	case <-r.ctx.Done():
	}
	dropped := q.drop(r)
	select {
	case done := <-r.done: // in the meantime
		return done
	default:
	}
	if dropped {
		return result{err: r.ctx.Err()}
	}
	return result{err: errAbandoned}
}

// drop removes a change, and reports whether it was still waiting.
func (q *queue) drop(r *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting := len(q.urgent) + len(q.routine)
	isIt := func(other *request) bool { return other == r }
	q.urgent, q.routine = slices.DeleteFunc(q.urgent, isIt), slices.DeleteFunc(q.routine, isIt)
	return len(q.urgent)+len(q.routine) < waiting
}

// close refuses the changes that are waiting, and all later ones.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, r := range append(q.urgent, q.routine...) {
		r.done <- result{err: errClosing}
	}
	q.urgent, q.routine = nil, nil
}

// take returns some of the changes, and whether they are urgent. Those that nobody waits
// for any more are dropped.
func (q *queue) take(most int) (some []*request, urgent bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	from := &q.routine
	if urgent = len(q.urgent) > 0; urgent {
		from = &q.urgent
	}
	for len(*from) > 0 && len(some) < most {
		r := (*from)[0]
		*from = (*from)[1:]
		if err := r.ctx.Err(); err != nil {
			r.done <- result{err: err}
			continue
		}
		some = append(some, r)
	}
	return some, urgent
}

// putBack puts changes at the front of their queue.
func (q *queue) putBack(some []*request, urgent bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if urgent {
		q.urgent = append(some, q.urgent...)
		return
	}
	q.routine = append(some, q.routine...)
}

func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.urgent)+len(q.routine) == 0
}
