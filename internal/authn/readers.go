package authn

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// How long a check waits for the source, at most, and how many keys may be looked up at a
// time. Beyond either limit a check returns Unavailable, rather than pile up behind a disk
// that hangs.
const (
	lookupTimeout = 2 * time.Second
	maxReaders    = 1024
)

// maxIdle is how many idle readers are kept. Starting a new one costs several times as
// much as a look-up, because its stack has to grow.
const maxIdle = 32

// tick is how often to look for checks that have waited too long. A timer for each would
// cost more than its share of a look-up.
const tick = 50 * time.Millisecond

var (
	errSlow = errors.New("the key store did not answer in time")
	errBusy = errors.New("too many requests are waiting for the key store")
)

// readers ask the source in their own goroutines, because disk I/O cannot be
// interrupted: a check can stop waiting, and the reader stays behind. Concurrent checks of
// one key share one answer.
type readers struct {
	read    func(apikey.Digest) (*entry, error)
	keep    func(*entry)   // called with mu held
	unasked chan *question // to be reused

	mu      sync.Mutex
	all     []*reader
	idle    []*reader                 // the one that has answered last comes last
	open    map[apikey.Digest]*reader // who reads a key, unless that has changed since
	watch   *time.Timer               // calls giveUp; nil until it is needed
	watched bool                      // it is running
	ticks   int                       // how often it has run out
	closed  bool
}

// reader reads one key after another.
type reader struct {
	at      int           // where in all it is
	asked   chan struct{} // has an element once there is a digest
	digest  apikey.Digest
	waiting *question // guarded by mu
}

// question is what a check asks, and the answer.
type question struct {
	ctx   context.Context
	asked int // at which tick
	found *entry
	err   error
	done  chan struct{} // has an element once there is an answer
	next  *question     // another check that waits for the same answer; guarded by mu
}

func newReaders(read func(apikey.Digest) (*entry, error), keep func(*entry)) *readers {
	return &readers{
		read:    read,
		keep:    keep,
		unasked: make(chan *question, maxIdle),
		open:    make(map[apikey.Digest]*reader),
	}
}

// ask returns the source's answer for a digest.
func (r *readers) ask(ctx context.Context, digest apikey.Digest) (*entry, error) {
	q := r.question(ctx)
	if !r.wait(q, digest) {
		return nil, errBusy
	}
	<-q.done
	found, err := q.found, q.err
	r.reuse(q)
	return found, err
}

func (r *readers) question(ctx context.Context) (q *question) {
	select {
	case q = <-r.unasked:
	default:
		q = &question{done: make(chan struct{}, 1)}
	}
	q.ctx = ctx
	return q
}

// reuse makes a question whose answer has been taken available again.
func (r *readers) reuse(q *question) {
	q.ctx, q.found, q.err = nil, nil, nil
	select {
	case r.unasked <- q:
	default:
	}
}

// wait has a question answered by the reader that already reads the key, or else by an idle
// or a new one. It reports whether there is one.
func (r *readers) wait(q *question, digest apikey.Digest) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	by := r.open[digest]
	if by == nil {
		if by = r.reader(); by == nil {
			return false
		}
		by.digest = digest
		r.open[digest] = by
		by.asked <- struct{}{}
	}
	q.asked, q.next, by.waiting = r.ticks, by.waiting, q
	if !r.watched {
		r.watched = true
		if r.watch == nil {
			r.watch = time.AfterFunc(tick, r.giveUp)
		} else {
			r.watch.Reset(tick)
		}
	}
	return true
}

// reader returns a reader that does not read, or nil if there are too many. mu is held.
func (r *readers) reader() *reader {
	if last := len(r.idle) - 1; last >= 0 {
		by := r.idle[last]
		r.idle = r.idle[:last]
		return by
	}
	if len(r.all) == maxReaders {
		return nil
	}
	by := &reader{at: len(r.all), asked: make(chan struct{}, 1)}
	r.all = append(r.all, by)
	go r.run(by)
	return by
}

// run answers what a reader is asked.
func (r *readers) run(by *reader) {
	for range by.asked {
		found, err := r.read(by.digest)
		if !r.answer(by, found, err) {
			return
		}
	}
}

// answer gives an answer to all that wait for it. It is kept if the key has not changed
// meanwhile. It reports whether the reader will be asked again.
func (r *readers) answer(by *reader, found *entry, err error) bool {
	r.mu.Lock()
	if r.open[by.digest] == by {
		delete(r.open, by.digest)
		if err == nil {
			r.keep(found)
		}
	}
	first := by.waiting
	by.waiting = nil
	stays := !r.closed && len(r.idle) < maxIdle
	if stays {
		r.idle = append(r.idle, by)
	} else {
		last := r.all[len(r.all)-1]
		last.at, r.all[by.at] = by.at, last
		r.all = r.all[:len(r.all)-1]
	}
	r.mu.Unlock()
	for q := first; q != nil; {
		next := q.next
		q.answer(found, err)
		q = next
	}
	return stays
}

// answer answers a question that nothing else refers to any more. After that, it may be
// reused.
func (q *question) answer(found *entry, err error) {
	q.next, q.found, q.err = nil, found, err
	q.done <- struct{}{}
}

// giveUp ends the waiting of checks that have waited for too long, or whose clients have
// gone.
func (r *readers) giveUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ticks++
	r.watched = false
	for _, by := range r.all {
		for at := &by.waiting; *at != nil; {
			q := *at
			switch {
			case q.ctx.Err() != nil:
				*at = q.next
				q.answer(nil, q.ctx.Err())
			case r.ticks-q.asked >= int(lookupTimeout/tick):
				*at = q.next
				q.answer(nil, errSlow)
			default:
				at, r.watched = &q.next, true
			}
		}
	}
	if r.watched {
		r.watch.Reset(tick)
	}
}

// overtake makes a look-up of a key that has changed one that is out of date: its answer
// is not kept, and nothing else waits for it.
func (r *readers) overtake(digest apikey.Digest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, digest)
}

// overtakeAll is overtake for all keys.
func (r *readers) overtakeAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.open)
}

// close stops the idle readers, and the others once they have answered.
func (r *readers) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, by := range r.idle {
		close(by.asked)
	}
	r.idle = nil
}
