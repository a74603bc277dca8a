// Package unread answers a request whose body nobody wants.
//
// It promises that the answer waits for no body, and that the client reads it
// however much it is still sending. On HTTP/1 both take some care: net/http
// would read the body before the answer, and a connection that is closed with
// bytes unread is reset, which makes the client's kernel drop the answer
// (RFC 9112, section 9.6). HTTP/2 and HTTP/3 end the stream alone, but some
// clients lose an answer that comes together with that end.
package unread

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// maxDrain is how much of a body is read to keep the connection. It is the
	// limit of net/http.
	maxDrain = 256 << 10
	// drainTime is how long that may take.
	drainTime = 5 * time.Second
	// streamTime is how long the body of an HTTP/2 request is read after the
	// answer, and streamQuiet how long without a byte.
	streamTime  = time.Second
	streamQuiet = 250 * time.Millisecond
)

// Answer has write send the answer to r, and then sees to the rest of its body:
// a short one is read and dropped, and the connection lives on; a longer one
// costs the connection, which is closed when the client has had time to read the
// answer. The handler must return after it, and write nothing more.
func Answer(w http.ResponseWriter, r *http.Request, write func(http.ResponseWriter)) {
	switch {
	case r.ContentLength == 0, r.ProtoMajor == 3, r.ProtoMajor == 2 && withheld(r):
		write(w)
	case r.ProtoMajor == 2:
		answerStream(w, r, write)
	default:
		answerConnection(w, r, write)
	}
}

// answerStream answers on HTTP/2. A server that ends a stream asks the client to
// send no more, but curl drops what it has not read by then, and Java's
// HttpClient waits for ever to send the rest: so the body is read for a moment.
func answerStream(w http.ResponseWriter, r *http.Request, write func(http.ResponseWriter)) {
	a := &answer{ResponseWriter: w, head: r.Method == http.MethodHead}
	write(a)
	if !a.send(http.NewResponseController(w)) {
		return
	}
	// While the client sends, the body is not closed, nor given a deadline: what
	// arrives after that would reset the stream before its end.
	quiet := time.AfterFunc(streamQuiet, func() { _ = r.Body.Close() })
	defer quiet.Stop()
	var err error
	buffer := make([]byte, 4<<10)
	for end := time.Now().Add(streamTime); err == nil && time.Now().Before(end); {
		_, err = r.Body.Read(buffer)
		quiet.Reset(streamQuiet)
	}
}

// answerConnection answers on HTTP/1.
func answerConnection(w http.ResponseWriter, r *http.Request, write func(http.ResponseWriter)) {
	control := http.NewResponseController(w)
	// Without it, net/http reads up to maxDrain bytes before it sends the answer.
	err := control.EnableFullDuplex()
	large := r.ContentLength > maxDrain || withheld(r)
	if large || err != nil {
		w.Header().Set("Connection", "close")
	}
	if err != nil {
		write(w)
		return
	}
	a := &answer{ResponseWriter: w, head: r.Method == http.MethodHead, costly: true}
	write(a)
	sent := a.send(control)
	if sent && !large && drained(control, r.Body) {
		return
	}
	server := innermost(w)
	if closeAfter(server) && sent {
		linger(server, r)
	}
}

// withheld reports whether the client waits for a word before it sends the body.
// net/http closes the connection of one that was not given.
func withheld(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Expect"), "100-continue")
}

// drained reads the rest of a short body, and reports whether it came to its end.
func drained(control *http.ResponseController, body io.Reader) bool {
	if err := control.SetReadDeadline(time.Now().Add(drainTime)); err != nil {
		return false
	}
	if _, err := io.CopyN(io.Discard, body, maxDrain+1); !errors.Is(err, io.EOF) {
		return false
	}
	// An old deadline must not cut a body that somebody put in front of this one:
	// net/http would take what is left of it for the next request.
	return control.SetReadDeadline(time.Time{}) == nil
}
