package caddymodule

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/authn"
	"github.com/agiled/caddy-api-keys/internal/unread"
)

// stream passes on the body of a request and the response to it, for as long as the
// key may be used.
type stream struct {
	caddyhttp.ResponseWriterWrapper
	authn.Stream
	body streamBody

	cancel context.CancelFunc // nil for most: see cancellable
	socket bool               // the request asks for a WebSocket
	ending bool               // End was called before
	broken bool               // End has broken the connection
	begun  bool               // the response, or the socket
	wrote  bool
	flows  atomic.Bool // the response has more than one piece
	cut    atomic.Bool // something was not passed on
}

// streamBody is the body of a request that passed. Transports read it in their own
// goroutines, even after the request has ended.
type streamBody struct {
	io.ReadCloser
	stream *stream
	length int64        // negative if not known
	read   atomic.Int64 // how much of it was handed on; during a Read, with inRead
}

// inRead marks a body that a Read waits for.
const inRead = 1 << 62

// begin inserts the stream between a request and its handlers. It returns the request
// to pass on. A request that may be held back must not be sent once its key has ended.
func (s *stream) begin(w http.ResponseWriter, r *http.Request, a *authn.Authenticator, key *apikey.Grant, socket, held bool) *http.Request {
	s.ResponseWriter, s.socket, s.Endless = w, socket, socket
	s.Begin(a, key, s)
	if socket || held || cancellable(r) {
		var ctx context.Context
		ctx, s.cancel = context.WithCancel(r.Context()) // without a cause: reverse_proxy would retry GETs for it
		r = r.WithContext(ctx)
	}
	if socket || held {
		s.Watch()
	}
	if r.Body != nil && r.Body != http.NoBody {
		s.body.ReadCloser, s.body.stream, s.body.length = r.Body, s, r.ContentLength
		r.Body = &s.body
	}
	return r
}

// smallBody is the longest body that counts as sent once it has begun.
const smallBody = 64 << 10

// cancellable reports whether a request needs a context that ends with its key.
// That costs what the whole check does, and most need none: End has other means.
// But reverse_proxy still sends what it has buffered of a body (request_buffers)
// when the rest fails, and only the context stops it. And with HTTP/3 a deadline
// does not end a request.
func cancellable(r *http.Request) bool {
	return r.ContentLength < 0 || r.ContentLength > smallBody || r.ProtoMajor == 3
}

// done says that the request has ended. End is not called afterwards.
func (s *stream) done() {
	s.Done()
	if s.cancel != nil {
		s.cancel()
	}
}

// End ends a request whose key has ended, although nothing flows.
func (s *stream) End() {
	if s.cancel != nil {
		s.cancel()
	}
	if s.socket {
		return
	}
	// If something flows after all, it ends by that, and more gently.
	if !s.ending {
		s.ending = true
		return
	}
	s.broken = true
	past := time.Unix(1, 0)
	// A handler that waits for the body fails. So does net/http's own wait for the
	// client to hang up, once the body has been read: it cancels the request.
	_ = http.NewResponseController(s.ResponseWriter).SetReadDeadline(past)
	if s.flows.Load() {
		// HTTP/2 resets the stream. The writers around the server's own are for
		// one goroutine, which may be writing.
		_ = http.NewResponseController(unread.ServerWriter(s.ResponseWriter)).SetWriteDeadline(past)
	}
}

// Read passes on a piece of the body.
func (b *streamBody) Read(p []byte) (n int, err error) {
	read := b.read.Load() // only Read changes it
	if read == b.length { // the end is all that is left, unless a handler made the body longer
		if n, err = b.ReadCloser.Read(p); n == 0 || b.passes() {
			return n, err
		}
		return 0, authn.ErrEnded
	}
	if read > 0 {
		b.stream.Watch() // the next piece may be long in coming
	}
	b.read.Store(read | inRead)
	if b.passes() {
		n, err = b.ReadCloser.Read(p)
	}
	b.read.Store(read + int64(n))
	if !b.passes() { // the key may have ended while the client sent nothing
		return 0, authn.ErrEnded
	}
	return n, err
}

// rest returns the rest of a body whose key has ended, for the refusal to read. While a
// transport is reading the body, nobody else may, and reading the rest fails.
func (b *streamBody) rest() io.ReadCloser {
	if b.read.Load() >= inRead {
		return b
	}
	return b.ReadCloser
}

func (b *streamBody) passes() bool {
	if b.stream.Stands() {
		return true
	}
	b.stream.cut.Store(true)
	return false
}

// passes reports whether a piece of the response may be passed on.
func (s *stream) passes() bool {
	if s.Stands() {
		return true
	}
	s.cut.Store(true)
	if !s.begun {
		clear(s.Header()) // it describes the response that is not sent
	}
	return false
}

// beginAnswer reports whether a piece of the final response may be passed on.
func (s *stream) beginAnswer() bool {
	if !s.passes() {
		return false
	}
	s.begun = true
	return true
}

// sent returns the result of passing on a piece. One that End has interrupted is cut
// off, even if the handler ignores the error, as net/http's file server does.
func (s *stream) sent(err error) error {
	if err != nil && s.Ended() != "" {
		s.cut.Store(true)
	}
	return err
}

// flow records that the response comes in more than one piece, and may take long.
func (s *stream) flow() {
	if !s.flows.Load() {
		s.flows.Store(true)
		s.Watch()
	}
}

// WriteHeader begins the response, or sends an informational one (RFC 9110, section
// 15.2).
func (s *stream) WriteHeader(status int) {
	final := status >= 200 || status == http.StatusSwitchingProtocols
	if final && s.beginAnswer() || !final && s.passes() {
		s.ResponseWriter.WriteHeader(status)
	}
}

func (s *stream) Write(p []byte) (int, error) {
	if !s.beginAnswer() {
		return 0, authn.ErrEnded
	}
	if s.wrote {
		s.flow()
	}
	s.wrote = true
	n, err := s.ResponseWriter.Write(p)
	return n, s.sent(err)
}

// maxPiece is how much of a response is passed on before the key is checked again.
const maxPiece = 64 << 10

// ReadFrom is what io.Copy calls instead of Write. A file goes to the connection without
// being copied through memory, as it would without a stream.
func (s *stream) ReadFrom(from io.Reader) (total int64, err error) {
	source := &io.LimitedReader{R: from, N: 1<<63 - 1}
	if limited, ok := from.(*io.LimitedReader); ok {
		source = limited // net recognizes a file within one of them, not within two
	}
	for source.N > 0 {
		if !s.beginAnswer() {
			return total, authn.ErrEnded
		}
		s.flow()
		piece := &io.LimitedReader{R: source.R, N: min(source.N, maxPiece)}
		n, err := s.ResponseWriterWrapper.ReadFrom(piece)
		total += n
		source.N -= n
		if err != nil || piece.N > 0 {
			return total, s.sent(err)
		}
	}
	return total, nil
}

// FlushError is what http.ResponseController calls. A handler that flushes will write
// more later.
func (s *stream) FlushError() error {
	if !s.beginAnswer() {
		return authn.ErrEnded
	}
	s.flow()
	return s.sent(http.NewResponseController(s.ResponseWriter).Flush())
}

// Hijack is what http.ResponseController calls for a WebSocket over HTTP/1.1, whose
// response has been written by then.
func (s *stream) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !s.begun && !s.beginAnswer() {
		return nil, nil, authn.ErrEnded
	}
	return http.NewResponseController(s.ResponseWriter).Hijack()
}
