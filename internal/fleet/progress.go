package fleet

import (
	"bytes"
	"context"
	"sync"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// progress is how far this gateway's replica has followed the changes. It is safe for
// concurrent use.
type progress struct {
	mu        sync.Mutex
	at        apikey.Position
	sealed    []byte // the head at that position as it is in etcd; nil if it is not known
	upTo      int64  // the latest revision of etcd at which there was no later change
	following bool   // the position is the replica's, and changes are being applied
	changed   chan struct{}
	sums      map[uint64][]byte // of the changes that were applied last, by number
}

// maxSums is the number of recent changes whose sums are remembered.
const maxSums = 1024

func newProgress() *progress {
	return &progress{changed: make(chan struct{}), sums: make(map[uint64][]byte)}
}

// point is a position with what etcd has there.
type point struct {
	apikey.Position
	sealed    []byte
	following bool
}

// has reports whether the point is that of a head that was read, or a later one. A head
// that was sealed again is later than before.
func (p point) has(head point) bool {
	return p.Seq > head.Seq || p.Seq == head.Seq && p.Revision >= head.Revision
}

// current reports whether changes can be planned on the point.
func (p point) current() bool { return p.following && p.sealed != nil }

// now returns the position, and a channel that is closed when it changes.
func (p *progress) now() (point, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return point{p.at, p.sealed, p.following}, p.changed
}

// note notes a change that is being applied.
func (p *progress) note(head apikey.Head) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sums[head.Seq] = head.Sum
	delete(p.sums, head.Seq-maxSums)
}

// has reports whether the replica has applied the change with a number and the beginning
// of its sum. It knows that of the latest change that takes access away, and of those that
// were applied not long ago.
func (p *progress) has(change uint64, begins []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	end, sum := p.at.End()
	if change != end {
		sum = p.sums[change]
	}
	return change <= p.at.Seq && sum != nil && bytes.Equal(beginning(sum), begins)
}

// sum returns the sum of a change that was applied not long ago.
func (p *progress) sum(change uint64) (sum []byte, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum, known = p.sums[change]
	return sum, known
}

// latest notes that a head that was read at a revision is the position's. Changes are
// watched from there on: etcd may have compacted the revision of the position itself. The
// head may have been sealed again since.
func (p *progress) latest(head point, revision int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !sameChange(head.Head, p.at.Head) {
		return
	}
	p.upTo = max(p.upTo, revision)
	if head.Revision > p.at.Revision {
		p.at.Revision, p.sealed = head.Revision, head.sealed
		close(p.changed)
		p.changed = make(chan struct{})
	}
}

// watchFrom returns the revision from which on changes have to be watched.
func (p *progress) watchFrom() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(p.upTo, p.at.Revision) + 1
}

// set sets the position.
func (p *progress) set(at apikey.Position, sealed []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !bytes.Equal(p.sums[at.Seq], at.Sum) { // no change that was noted led here: the history may be another one
		clear(p.sums)
		p.sums[at.Seq] = at.Sum
	}
	p.at, p.sealed, p.following, p.upTo = at, sealed, true, at.Revision
	close(p.changed)
	p.changed = make(chan struct{})
}

// stop says that no changes are being applied.
func (p *progress) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.following = false
	close(p.changed)
	p.changed = make(chan struct{})
}

// reach waits until the position satisfies a condition.
func (p *progress) reach(ctx context.Context, reached func(point) bool) (point, error) {
	for {
		at, changed := p.now()
		if reached(at) {
			return at, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return at, ctx.Err()
		}
	}
}
