// Package unread responds to a request without reading its body first.
//
// It promises that the response does not wait for the body, and that the client can read
// it however much it is still sending. Both need care on HTTP/1: net/http would read the
// body before it sends the response, and a connection that is closed with bytes unread is
// reset, which makes the client's kernel drop the response (RFC 9112, section 9.6). HTTP/2
// and HTTP/3 only end the stream, but some clients lose a response that arrives together
// with that end.
package unread

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// maxDrain is how much of a body is read to keep the connection alive. It is the
	// limit of net/http.
	maxDrain = 256 << 10
	// drainTime is how long that may take.
	drainTime = 5 * time.Second
	// streamTime is how long the body of an HTTP/2 request is read after the response,
	// and streamQuiet how long if nothing arrives.
	streamTime  = time.Second
	streamQuiet = 250 * time.Millisecond
)

// Answer sends the response that write writes, and then handles the rest of the request's
// body. A short one is read and discarded, and the connection stays open. With a longer
// one, the connection is closed after the client has had time to read the response. The
// handler must write nothing more, and return.
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

// answerStream responds on HTTP/2. A server that ends a stream asks the client to stop
// sending, but curl drops what it has not read by then, and Java's HttpClient waits
// forever to send the rest. So the body is read for a moment.
func answerStream(w http.ResponseWriter, r *http.Request, write func(http.ResponseWriter)) {
	a := &answer{ResponseWriter: w, head: r.Method == http.MethodHead}
	write(a)
	if !a.send(http.NewResponseController(w)) {
		return
	}
	// While the client sends, the body is neither closed nor given a deadline: anything
	// that arrives after that would reset the stream early.
	quiet := time.AfterFunc(streamQuiet, func() { _ = r.Body.Close() })
	defer quiet.Stop()
	var err error
	buffer := make([]byte, 4<<10)
	for end := time.Now().Add(streamTime); err == nil && time.Now().Before(end); {
		_, err = r.Body.Read(buffer)
		quiet.Reset(streamQuiet)
	}
}

// answerConnection responds on HTTP/1.
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
	server := ServerWriter(w)
	if closeAfter(server) && sent {
		linger(server, r)
	}
}

// withheld reports whether the client waits for permission before it sends the body. If
// none is given, net/http closes the connection.
func withheld(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Expect"), "100-continue")
}

// drained reads the rest of a short body, and reports whether it reached the end.
func drained(control *http.ResponseController, body io.Reader) bool {
	if err := control.SetReadDeadline(time.Now().Add(drainTime)); err != nil {
		return false
	}
	if _, err := io.CopyN(io.Discard, body, maxDrain+1); !errors.Is(err, io.EOF) {
		return false
	}
	// An old deadline must not cut off a body that wraps this one: net/http would take the
	// rest of it for the next request.
	return control.SetReadDeadline(time.Time{}) == nil
}
