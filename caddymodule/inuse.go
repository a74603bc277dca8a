package caddymodule

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// inUse knows how many keys that are in use end soon. To count them takes the
// store longer the more keys there are, so it is done at most a twentieth of
// the time, and a scrape that it would keep waiting gets the counts before.
type inUse struct {
	count func() (map[time.Duration]int, error)

	mu     sync.Mutex
	counts map[time.Duration]int
	err    error
	due    time.Time     // when to count again
	done   chan struct{} // closed when the count under way has ended; nil if none is
}

const (
	// inUseShare is how much longer it is not counted than it was counted.
	inUseShare = 20
	// inUsePatience is how long a scrape waits for a count.
	inUsePatience = time.Second
)

// latest returns the latest counts that are there within inUsePatience.
func (u *inUse) latest(ctx context.Context) (map[time.Duration]int, error) {
	ctx, cancel := context.WithTimeout(ctx, inUsePatience)
	defer cancel()
	select {
	case <-u.refresh():
	case <-ctx.Done():
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.counts, u.err
}

// refresh counts again if that is due. What it returns is closed when no count
// is under way.
func (u *inUse) refresh() <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.done != nil {
		return u.done
	}
	done := make(chan struct{})
	if time.Now().Before(u.due) {
		close(done)
		return done
	}
	u.done = done
	go u.run(done)
	return done
}

func (u *inUse) run(done chan struct{}) {
	begun := time.Now()
	counts, err := u.tryCount()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.counts, u.err, u.done = counts, err, nil
	u.due = time.Now().Add(inUseShare * time.Since(begun))
	close(done)
}

// tryCount makes an error of a panic, which would end the process here.
func (u *inUse) tryCount() (counts map[time.Duration]int, err error) {
	defer func() {
		if p := recover(); p != nil {
			counts, err = nil, fmt.Errorf("panic in the key store: %v\n%s", p, debug.Stack())
		}
	}()
	return u.count()
}
