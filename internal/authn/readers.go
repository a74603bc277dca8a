package authn

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// How long a check waits for the source, and how many keys may be looked up at once.
// Beyond either limit a check returns Unavailable, rather than pile up behind a disk that
// hangs.
const (
	lookupTimeout = 2 * time.Second
	maxReaders    = 1024
)

// maxIdle is how many idle readers are kept. Starting a new one costs several times as
// much as a look-up, because its stack has to grow.
const maxIdle = 32

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
	asked   chan *question // to an idle reader
	busy    chan struct{}  // has an element for each reader
	idle    chan struct{}  // has an element for each idle reader
	closed  chan struct{}
	timeout time.Duration
	unasked chan *question // to be asked anew

	mu   sync.Mutex
	open map[apikey.Digest]*question // being answered
}

// question is what a check asks, and the answer.
type question struct {
	digest  apikey.Digest
	found   *entry
	err     error
	done    chan struct{} // has an element once there is an answer
	timeout *time.Timer   // stopped unless the check waits
	next    *question     // another check that waits for the same answer; guarded by mu
}

func newReaders(read func(apikey.Digest) (*entry, error), keep func(*entry)) *readers {
	return &readers{
		read:    read,
		keep:    keep,
		asked:   make(chan *question),
		busy:    make(chan struct{}, maxReaders),
		idle:    make(chan struct{}, maxIdle),
		closed:  make(chan struct{}),
		unasked: make(chan *question, maxIdle),
		timeout: lookupTimeout,
		open:    make(map[apikey.Digest]*question),
	}
}

// ask returns the source's answer for a digest.
func (r *readers) ask(ctx context.Context, digest apikey.Digest) (*entry, error) {
	q := r.question(digest)
	if !r.join(q) && !r.take(q) {
		r.answer(q, nil, errBusy)
	}
	select {
	case <-q.done:
		found, err := q.found, q.err
		r.reuse(q)
		return found, err
	case <-q.timeout.C:
		return nil, errSlow
	case <-ctx.Done():
		q.timeout.Stop()
		return nil, ctx.Err()
	}
}

// question returns a question whose timeout runs.
func (r *readers) question(digest apikey.Digest) (q *question) {
	select {
	case q = <-r.unasked:
		q.timeout.Reset(r.timeout)
	default:
		q = &question{done: make(chan struct{}, 1), timeout: time.NewTimer(r.timeout)}
	}
	q.digest = digest
	return q
}

// reuse lets a question be asked anew whose answer has been taken. One that a check has
// left is still to be answered.
func (r *readers) reuse(q *question) {
	q.timeout.Stop()
	q.found, q.err = nil, nil
	select {
	case r.unasked <- q:
	default:
	}
}

// join has a question answered together with an open one. If there is none, it is the
// open one itself.
func (r *readers) join(q *question) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	first, joined := r.open[q.digest]
	if joined {
		q.next, first.next = first.next, q
	} else {
		r.open[q.digest] = q
	}
	return joined
}

// take gives a question to an idle reader, or starts a new one.
func (r *readers) take(q *question) bool {
	select {
	case r.asked <- q:
		return true
	default:
	}
	select {
	case r.busy <- struct{}{}:
		go r.run(q)
		return true
	default:
		return false
	}
}

// run answers one question, and further ones if there are any.
func (r *readers) run(q *question) {
	defer func() { <-r.busy }()
	for {
		found, err := r.read(q.digest)
		r.answer(q, found, err)
		select {
		case r.idle <- struct{}{}:
		default:
			return
		}
		select {
		case q = <-r.asked:
			<-r.idle
		case <-r.closed:
			return
		}
	}
}

// answer gives an answer to a question and to those that have joined it. It is kept if
// the key has not changed meanwhile.
func (r *readers) answer(q *question, found *entry, err error) {
	r.mu.Lock()
	if r.open[q.digest] == q {
		delete(r.open, q.digest)
		if err == nil {
			r.keep(found)
		}
	}
	r.mu.Unlock() // from here on, nothing joins
	for q != nil {
		next := q.next
		q.next, q.found, q.err = nil, found, err
		q.done <- struct{}{} // after which it may be asked anew
		q = next
	}
}

// overtake makes an open question about a key one that is out of date: its answer is not
// kept, and nothing joins it any more.
func (r *readers) overtake(digest apikey.Digest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, digest)
}

// close stops the idle readers, and the others once they have answered.
func (r *readers) close() { close(r.closed) }
