package durable

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
)

// waitUntil waits for another goroutine.
func waitUntil(is func() bool) {
	for !is() {
		runtime.Gosched()
	}
}

func (t *turns) waiters() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, q := range []*queue{&t.urgent, &t.routine} {
		for _, waiting := range q.waiting {
			n += len(waiting)
		}
	}
	return n
}

// Parties take turns, however often each has asked; urgent changes go first.
func TestTurns(t *testing.T) {
	var lock turns
	var order []string
	var wg sync.WaitGroup
	lock.Lock()
	wait := func(party string, urgent bool, label string) {
		n := lock.waiters()
		wg.Go(func() {
			if err := lock.LockFor(context.Background(), party, urgent); err != nil {
				t.Error(err)
			}
			order = append(order, label)
			lock.Unlock()
		})
		waitUntil(func() bool { return lock.waiters() == n+1 })
	}
	for i := range 3 {
		wait("greedy", false, fmt.Sprintf("greedy %d", i))
	}
	wait("modest", false, "modest")
	wait("greedy", true, "greedy revokes")
	wait("", false, "upkeep")
	wait("modest", true, "modest revokes")
	lock.Unlock()
	wg.Wait()
	equal(t, "order", order, []string{"greedy revokes", "modest revokes", "greedy 0", "modest", "upkeep", "greedy 1", "greedy 2"})
}

// Routine changes are not starved by urgent ones.
func TestTurns_routineNotStarved(t *testing.T) {
	var lock turns
	var order []bool
	var wg sync.WaitGroup
	lock.Lock()
	for i := range 2*maxOvertakes + 1 {
		urgent := i > 0
		wg.Go(func() {
			_ = lock.LockFor(context.Background(), "acme", urgent)
			order = append(order, urgent)
			lock.Unlock()
		})
		waitUntil(func() bool { return lock.waiters() == i+1 })
	}
	lock.Unlock()
	wg.Wait()
	equal(t, "urgent turns before the routine one", slices.Index(order, false), maxOvertakes)
}

// A waiter that has given up neither gets a turn nor loses one for others.
func TestTurns_cancelled(t *testing.T) {
	var lock turns
	lock.Lock()
	ctx, cancel := context.WithCancel(context.Background())
	given := make(chan error)
	go func() { given <- lock.LockFor(ctx, "acme", false) }()
	waitUntil(func() bool { return lock.waiters() == 1 })
	cancel()
	if err := <-given; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if err := lock.LockFor(ctx, "acme", false); !errors.Is(err, context.Canceled) {
		t.Errorf("already cancelled: got %v, want context.Canceled", err)
	}
	lock.Unlock()
	isFree(t, &lock)

	// A turn given to a waiter just as it gives up is passed on.
	for range 200 {
		lock.Lock()
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() {
			if lock.LockFor(ctx, "acme", false) == nil {
				lock.Unlock()
			}
		})
		waitUntil(func() bool { return lock.waiters() == 1 })
		wg.Go(cancel)
		wg.Go(lock.Unlock)
		wg.Wait()
	}
	isFree(t, &lock)
}

func isFree(t *testing.T, lock *turns) {
	t.Helper()
	lock.mu.Lock()
	defer lock.mu.Unlock()
	if lock.held {
		t.Error("the lock is still held")
	}
}

// The holder of the lock may do what the next in the queue wait for, up to one that has to
// have a turn of its own.
func TestTurns_join(t *testing.T) {
	var lock turns
	lock.Lock()
	type result struct {
		item string
		done bool
	}
	results := make(chan result, 6)
	wait := func(party, item string, urgent bool) {
		n := lock.waiters()
		go func() {
			var asked any
			if item != "" {
				asked = item
			}
			done, err := lock.lockOrJoin(context.Background(), party, urgent, asked)
			if err != nil {
				t.Error(err)
			}
			results <- result{item, done}
			if !done {
				lock.Unlock()
			}
		}()
		waitUntil(func() bool { return lock.waiters() == n+1 })
	}
	wait("greedy", "1", false)
	wait("greedy", "2", false)
	wait("modest", "3", false)
	wait("", "", false)
	wait("modest", "4", false)
	wait("urgent", "5", true)
	var items []any
	joined := lock.join(10)
	for _, w := range joined {
		items = append(items, w.item)
	}
	equal(t, "joined", items, []any{"5", "1", "3"})
	equal(t, "waiting", lock.waiters(), 3)
	for _, w := range joined {
		w.done = true
		close(w.ready)
	}
	for range joined {
		if r := <-results; !r.done || !slices.Contains(items, any(r.item)) {
			t.Errorf("got %+v, want it done", r)
		}
	}
	lock.Unlock()
	for range 3 {
		if r := <-results; r.done {
			t.Errorf("got %+v, want it to have a turn of its own", r)
		}
	}
}

// A caller that gives up while another does its item waits for that.
func TestTurns_joinCancelled(t *testing.T) {
	var lock turns
	lock.Lock()
	ctx, cancel := context.WithCancel(context.Background())
	given := make(chan bool)
	go func() {
		done, err := lock.lockOrJoin(ctx, "acme", false, "item")
		if err != nil {
			t.Error(err)
		}
		given <- done
	}()
	waitUntil(func() bool { return lock.waiters() == 1 })
	joined := lock.join(1)
	cancel()
	joined[0].done = true
	close(joined[0].ready)
	if done := <-given; !done {
		t.Error("got it not done, want it done")
	}
	lock.Unlock()
	isFree(t, &lock)
}

// Callers that make one change after another share their turns, also with those who were
// answered at the same time as they.
func TestChangeTogether_again(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that it does not depend on other processes
	db := openNew(t)
	const callers, each = 8, 20
	var all sync.WaitGroup
	turns, made := 0, 0 // guarded by the turn
	for c := range callers {
		all.Go(func() {
			for i := range each {
				err := db.ChangeTogether(context.Background(), fmt.Sprint(c), false, i, func(turn *Turn, changes []any) error {
					turns, made = turns+1, made+len(changes)
					return turn.Update(func(txn *Txn) error { return txn.Set(fmt.Append(nil, turns), nil) })
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	equal(t, "changes", made, callers*each)
	if most := 2 * each * 3 / 4; turns > most {
		t.Errorf("got %d turns, want %d or a few more, at most %d", turns, each, most)
	}
}
