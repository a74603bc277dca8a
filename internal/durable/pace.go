package durable

import (
	"context"
	"time"
)

// Pacer keeps work on many records from starving requests: after a while of work,
// it pauses for half as long. Without it, a goroutine could occupy a processor for
// ten milliseconds before Go preempts it.
type Pacer struct {
	ctx     context.Context
	n       int
	since   time.Time
	unpaced bool // never pause
}

// NewPacer returns a pacer for work that ends when ctx is done.
func NewPacer(ctx context.Context) *Pacer { return &Pacer{ctx: ctx, since: time.Now()} }

// Unpaced returns a pacer that never pauses.
func Unpaced(ctx context.Context) *Pacer { return &Pacer{ctx: ctx, unpaced: true} }

// Alone turns off pacing: there are no requests to make room for.
func (db *DB) Alone() { db.alone.Store(true) }

// Pacer returns a pacer for work that takes time in proportion to the database's
// size.
func (db *DB) Pacer(ctx context.Context) *Pacer {
	if db.alone.Load() {
		return Unpaced(ctx)
	}
	return NewPacer(ctx)
}

const (
	// workFor is the shortest time between pauses.
	workFor = 2 * time.Millisecond
	// maxPause bounds a pause, because the time before it may have been spent
	// waiting for a processor.
	maxPause = 10 * time.Millisecond
	// stepsPerCheck is how many records pass between looks at the clock.
	stepsPerCheck = 16
)

// Step counts a record, and returns the error of ctx once that is done.
func (p *Pacer) Step() error {
	if p.n++; p.n%stepsPerCheck != 0 {
		return p.ctx.Err()
	}
	return p.Rest()
}

// Rest pauses if it is time to, and returns the error of ctx once that is done.
func (p *Pacer) Rest() error {
	if p.unpaced {
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
