package store

import (
	"context"
	"runtime"
	"sync"
)

// walks limits concurrent walks over many records: to one per workspace, and to a total
// that leaves half of the processors to requests.
type walks struct {
	all chan struct{}

	mu sync.Mutex
	of map[string]*lane
}

type lane struct {
	free  chan struct{} // has an element while there is no walk of the workspace
	users int
}

func newWalks() *walks {
	return &walks{all: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)), of: make(map[string]*lane)}
}

// enter waits for a turn. leave must be called at the end of the walk.
func (w *walks) enter(ctx context.Context, ws string) (leave func(), err error) {
	l := w.join(ws)
	select {
	case <-l.free:
	case <-ctx.Done():
		w.part(ws, l)
		return nil, ctx.Err()
	}
	leaveLane := func() {
		l.free <- struct{}{}
		w.part(ws, l)
	}
	select {
	case w.all <- struct{}{}:
		return func() { <-w.all; leaveLane() }, nil
	case <-ctx.Done():
		leaveLane()
		return nil, ctx.Err()
	}
}

func (w *walks) join(ws string) *lane {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.of[ws]
	if l == nil {
		l = &lane{free: make(chan struct{}, 1)}
		l.free <- struct{}{}
		w.of[ws] = l
	}
	l.users++
	return l
}

func (w *walks) part(ws string, l *lane) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(w.of, ws)
	}
}
