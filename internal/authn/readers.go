package authn

import (
	"context"
	"errors"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// How long a check waits for the source, and how many may wait at once. Beyond
// either it answers that it cannot tell, rather than pile up behind a disk that
// hangs.
const (
	lookupTimeout = 2 * time.Second
	maxReaders    = 1024
)

// maxIdle is how many readers stay when they have nothing to do. A new one costs
// a look-up several times what it needs itself: its stack has to grow.
const maxIdle = 32

var (
	errSlow = errors.New("the key store did not answer in time")
	errBusy = errors.New("too many requests wait for the key store")
)

// readers ask the source in goroutines of their own, because a disk cannot be
// interrupted: whoever waits for an answer can go, and the reader stays behind.
type readers struct {
	read      func(apikey.Digest) (*entry, error)
	questions chan question // to a reader that is idle
	busy      chan struct{} // holds one for each reader
	idle      chan struct{} // holds one for each that is idle
	closed    chan struct{}
	timeout   time.Duration
}

type question struct {
	digest apikey.Digest
	answer chan<- answer // takes one without waiting
}

type answer struct {
	found *entry
	err   error
}

func newReaders(read func(apikey.Digest) (*entry, error)) *readers {
	return &readers{
		read:      read,
		questions: make(chan question),
		busy:      make(chan struct{}, maxReaders),
		idle:      make(chan struct{}, maxIdle),
		closed:    make(chan struct{}),
		timeout:   lookupTimeout,
	}
}

// ask returns what the source says of a digest.
func (r *readers) ask(ctx context.Context, digest apikey.Digest) (*entry, error) {
	answers := make(chan answer, 1)
	if !r.take(question{digest, answers}) {
		return nil, errBusy
	}
	timer := time.NewTimer(r.timeout)
	defer timer.Stop()
	select {
	case a := <-answers:
		return a.found, a.err
	case <-timer.C:
		return nil, errSlow
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// take hands a question to an idle reader, or else to a new one.
func (r *readers) take(q question) bool {
	select {
	case r.questions <- q:
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

// run answers one question, and more if there are any.
func (r *readers) run(q question) {
	defer func() { <-r.busy }()
	for {
		found, err := r.read(q.digest)
		q.answer <- answer{found, err}
		select {
		case r.idle <- struct{}{}:
		default:
			return
		}
		select {
		case q = <-r.questions:
			<-r.idle
		case <-r.closed:
			return
		}
	}
}

// close lets the idle readers go, and the others once they have answered.
func (r *readers) close() { close(r.closed) }
