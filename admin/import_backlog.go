package admin

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// maxBacklog is how many bytes of answers a client may leave unread, about a hundred thousand
// lines: many clients read nothing before they have sent everything.
const maxBacklog = 8 << 20

// sentAtOnce is how many bytes of answers are sent between two flushes, if there are more.
const sentAtOnce = 64 << 10

// backlog sends answers in the background. It is safe for concurrent use.
type backlog struct {
	w       http.ResponseWriter
	control *http.ResponseController
	stop    func() // called when the client cannot be reached any more
	sent    chan struct{}

	mu      sync.Mutex
	changed sync.Cond
	waiting [][]byte
	unsent  int // bytes, with those that are being sent
	closed  bool
	err     error
}

func newBacklog(w http.ResponseWriter, control *http.ResponseController, stop func()) *backlog {
	b := &backlog{w: w, control: control, stop: stop, sent: make(chan struct{})}
	b.changed.L = &b.mu
	go b.send()
	return b
}

// add adds answers. It waits while too much of what was added before has not been sent.
func (b *backlog) add(answers []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.unsent > maxBacklog && b.err == nil {
		b.changed.Wait()
	}
	if b.err != nil {
		return
	}
	b.waiting = append(b.waiting, answers)
	b.unsent += len(answers)
	b.changed.Broadcast()
}

// close waits until everything is sent, and returns why it was not.
func (b *backlog) close() error {
	b.mu.Lock()
	b.closed = true
	b.changed.Broadcast()
	b.mu.Unlock()
	<-b.sent
	return b.err
}

// send sends what is added, until the backlog is closed. It begins with the header.
func (b *backlog) send() {
	defer close(b.sent)
	_ = b.control.Flush()
	for {
		some := net.Buffers(b.take())
		if len(some) == 0 {
			return
		}
		_ = b.control.SetWriteDeadline(time.Now().Add(sendTimeout))
		n, err := some.WriteTo(b.w)
		if err == nil {
			err = b.control.Flush()
		}
		_ = b.control.SetWriteDeadline(time.Time{}) // over HTTP/2, it ends a response that waits for more
		if err != nil {
			b.fail(err)
			return
		}
		b.mu.Lock()
		b.unsent -= int(n)
		b.changed.Broadcast()
		b.mu.Unlock()
	}
}

// take waits for answers to send, and returns none if there are none to come.
func (b *backlog) take() (some [][]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.waiting) == 0 && !b.closed && b.err == nil {
		b.changed.Wait()
	}
	size := 0
	for len(b.waiting) > 0 && size < sentAtOnce {
		size += len(b.waiting[0])
		some = append(some, b.waiting[0])
		b.waiting = b.waiting[1:]
	}
	return some
}

// fail gives the client up, and drops what it has not been sent.
func (b *backlog) fail(err error) {
	b.mu.Lock()
	b.err, b.waiting = err, nil
	b.changed.Broadcast()
	b.mu.Unlock()
	b.stop()
}
