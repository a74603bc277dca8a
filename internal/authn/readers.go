package authn

import (
	"context"
	"errors"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// How long a check waits for the source, and how many may wait at once. Beyond either
// limit a check returns Unavailable, rather than pile up behind a disk that hangs.
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
// interrupted: a check can stop waiting, and the reader stays behind.
type readers struct {
	read      func(apikey.Digest) (*entry, error)
	questions chan question // to an idle reader
	busy      chan struct{} // has an element for each reader
	idle      chan struct{} // has an element for each idle reader
	closed    chan struct{}
	timeout   time.Duration
}

type question struct {
	digest apikey.Digest
	answer chan<- answer // has room for one
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

// ask returns the source's answer for a digest.
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

// take gives a question to an idle reader, or starts a new one.
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

// run answers one question, and further ones if there are any.
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

// close stops the idle readers, and the others once they have answered.
func (r *readers) close() { close(r.closed) }
