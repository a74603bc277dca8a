package store

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// pacer keeps work on many records from taking a processor away from requests: after
// a while it pauses for half as long as that took. A goroutine that computes would keep a
// processor for ten milliseconds before Go takes it away.
type pacer struct {
	ctx   context.Context
	n     int
	since time.Time
	never bool // it pauses never, for there are no requests
}

func newPacer(ctx context.Context) *pacer { return &pacer{ctx: ctx, since: time.Now()} }

// unpaced returns a pacer for work that leaves room for nothing.
func unpaced(ctx context.Context) *pacer { return &pacer{ctx: ctx, never: true} }

// Alone says that nobody sends requests meanwhile: work that takes long need not
// leave room for any.
func (s *Store) Alone() { s.alone.Store(true) }

// pacer returns the pacer for work that takes as long as the store is large.
func (s *Store) pacer(ctx context.Context) *pacer {
	if s.alone.Load() {
		return unpaced(ctx)
	}
	return newPacer(ctx)
}

const (
	// workFor is how long a pacer lets work go on at least.
	workFor = 2 * time.Millisecond
	// maxPause is how long it pauses at most, whatever the machine was busy with.
	maxPause = 10 * time.Millisecond
	// stepsAtOnce is how many records pass before it looks at the time.
	stepsAtOnce = 16
)

// step counts a record, and returns an error once nobody waits for the work.
func (p *pacer) step() error {
	if p.n++; p.never || p.n%stepsAtOnce != 0 {
		return p.ctx.Err()
	}
	worked := time.Since(p.since)
	if worked < workFor {
		return p.ctx.Err()
	}
	pause := time.NewTimer(min(worked/2, maxPause))
	defer pause.Stop()
	select {
	case <-p.ctx.Done():
	case <-pause.C:
	}
	p.since = time.Now()
	return p.ctx.Err()
}

// walks lets walks over many records begin: of each workspace one at a time, and of
// all workspaces as many as leave half of the processors to requests.
type walks struct {
	all chan struct{}

	mu sync.Mutex
	of map[string]*lane
}

type lane struct {
	free  chan struct{} // holds an element while no walk of the workspace is under way
	users int
}

func newWalks() *walks {
	return &walks{all: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)), of: make(map[string]*lane)}
}

// enter waits for its turn. leave is to be called at the end of the walk.
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
