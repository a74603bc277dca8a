package durable

import (
	"context"
	"time"
)

// Pacer keeps work on many records from taking a processor away from requests: after
// a while it pauses for half as long as that took. A goroutine that computes would keep a
// processor for ten milliseconds before Go takes it away.
type Pacer struct {
	ctx     context.Context
	n       int
	since   time.Time
	unpaced bool // it never pauses, for there are no requests
}

// NewPacer returns a pacer for work that ends when ctx does.
func NewPacer(ctx context.Context) *Pacer { return &Pacer{ctx: ctx, since: time.Now()} }

// Unpaced returns a pacer that never pauses.
func Unpaced(ctx context.Context) *Pacer { return &Pacer{ctx: ctx, unpaced: true} }

// Alone says that nobody sends requests meanwhile: work that takes long need not
// leave room for any.
func (db *DB) Alone() { db.alone.Store(true) }

// Pacer returns the pacer for work that takes as long as the database is large.
func (db *DB) Pacer(ctx context.Context) *Pacer {
	if db.alone.Load() {
		return Unpaced(ctx)
	}
	return NewPacer(ctx)
}

const (
	// workFor is how long a pacer lets work go on at least.
	workFor = 2 * time.Millisecond
	// maxPause is how long it pauses at most, whatever the machine was busy with.
	maxPause = 10 * time.Millisecond
	// stepsAtOnce is how many records pass before it looks at the time.
	stepsAtOnce = 16
)

// Step counts a record, and returns an error once nobody waits for the work.
func (p *Pacer) Step() error {
	if p.n++; p.n%stepsAtOnce != 0 {
		return p.ctx.Err()
	}
	return p.Rest()
}

// Rest pauses if it is time to, and returns an error once nobody waits for the work.
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
