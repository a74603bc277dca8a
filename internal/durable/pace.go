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
	end     func() error // why the work is to end although ctx is not done; may be nil
	n       int
	since   time.Time
	waited  time.Duration // of that
	unpaced bool          // never pause
}

// NewPacer returns a pacer for work that ends when ctx is done.
func NewPacer(ctx context.Context) *Pacer { return &Pacer{ctx: ctx, since: time.Now()} }

// Unpaced returns a pacer that never pauses.
func Unpaced(ctx context.Context) *Pacer { return &Pacer{ctx: ctx, unpaced: true} }

// Alone turns off pacing: there are no requests to make room for.
func (db *DB) Alone() { db.alone.Store(true) }

// Pacer returns a pacer for work that takes time in proportion to the database's
// size. The work ends when the files are rebuilt: that waits for it.
func (db *DB) Pacer(ctx context.Context) *Pacer {
	p := NewPacer(ctx)
	p.unpaced, p.end = db.alone.Load(), db.unusable.why
	return p
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

// ended returns why the work is to end, or nil.
func (p *Pacer) ended() error {
	if err := p.ctx.Err(); err != nil || p.end == nil {
		return err
	}
	return p.end()
}

// Step counts a record, and returns why the work is to end, or nil.
func (p *Pacer) Step() error {
	if p.n++; p.n%stepsPerCheck != 0 {
		return p.ended()
	}
	return p.Rest()
}

// Waited says that the work has waited for something else, such as the disk. The time
// counts as a pause.
func (p *Pacer) Waited(d time.Duration) { p.waited += d }

// Rest pauses if it is time to, and returns why the work is to end, or nil.
func (p *Pacer) Rest() error {
	elapsed := time.Since(p.since)
	if p.unpaced || elapsed-p.waited < workFor {
		return p.ended()
	}
	pause := time.NewTimer(pauseAfter(elapsed, p.waited))
	defer pause.Stop()
	select {
	case <-p.ctx.Done():
	case <-pause.C:
	}
	p.since, p.waited = time.Now(), 0
	return p.ended()
}

// pauseAfter returns for how long to pause, given the time since the last pause and how
// much of it was spent waiting.
func pauseAfter(elapsed, waited time.Duration) time.Duration {
	return max(0, min((elapsed-waited)/2, maxPause)-waited)
}
