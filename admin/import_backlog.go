package admin

import (
	"net/http"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxBacklog is how many bytes of answers may wait to be read by a client, about two
// hundred thousand lines: many clients read nothing before they have sent everything.
const maxBacklog = 16 << 20

// backlog sends answers, a JSON object a line, in the background. It is safe for
// concurrent use.
type backlog struct {
	w       http.ResponseWriter
	control *http.ResponseController
	stop    func() // called when the client cannot be reached any more
	sent    chan struct{}

	mu      sync.Mutex
	changed sync.Cond
	waiting []byte
	closed  bool
	err     error
}

func newBacklog(w http.ResponseWriter, control *http.ResponseController, stop func()) *backlog {
	b := &backlog{w: w, control: control, stop: stop, sent: make(chan struct{})}
	b.changed.L = &b.mu
	go b.send()
	return b
}

// add adds an answer. It waits while too much of what was added before has not been sent.
func (b *backlog) add(answer any) {
	encoded, err := json.Marshal(answer, jsontext.EscapeForHTML(true))
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.waiting) > maxBacklog && b.err == nil {
		b.changed.Wait()
	}
	if b.err == nil {
		b.err = err
	}
	b.waiting = append(append(b.waiting, encoded...), '\n')
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
		some, more := b.take()
		if !more {
			return
		}
		_ = b.control.SetWriteDeadline(time.Now().Add(sendTimeout))
		_, err := b.w.Write(some)
		if err == nil {
			err = b.control.Flush()
		}
		_ = b.control.SetWriteDeadline(time.Time{}) // over HTTP/2, it ends a response that waits for more
		if err != nil {
			b.fail(err)
			return
		}
	}
}

// take waits for answers to send, and returns false if there are none to come.
func (b *backlog) take() (some []byte, more bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.waiting) == 0 && !b.closed && b.err == nil {
		b.changed.Wait()
	}
	some, b.waiting = b.waiting, nil
	b.changed.Broadcast()
	return some, len(some) > 0
}

func (b *backlog) fail(err error) {
	b.mu.Lock()
	b.err = err
	b.changed.Broadcast()
	b.mu.Unlock()
	b.stop()
}
