package unread

import (
	"context"
	"crypto/tls"
	"io"
	"iter"
	"net"
	"net/http"
	"strings"
	"time"
)

// How long a connection is read after the response that ended it, similar to nginx's
// lingering_close. An attacker gains nothing: an idle connection costs the same, and may
// stay open longer.
const (
	lingerTime = 20 * time.Second
	quietTime  = 5 * time.Second // without a byte
)

// closeAfter makes net/http close the connection after the response, and reports whether
// the response's header has been written. net/http then stops sending, and waits half a
// second before it closes.
func closeAfter(server http.ResponseWriter) bool {
	header := server.Header()
	header.Del("Connection")
	// MaxBytesReader is the only way to tell net/http so late. It sets Connection
	// again if the header has not been written.
	_, _ = http.MaxBytesReader(server, io.NopCloser(strings.NewReader("-")), 0).Read(make([]byte, 1))
	return header.Get("Connection") == ""
}

// linger hijacks the connection, stops sending, and continues to read in the background
// for a while. The response must have been sent.
func linger(server http.ResponseWriter, r *http.Request) {
	// Not through the wrapping writers: Caddy's recorder would count what is read while the
	// access log is being written.
	conn, _, err := http.NewResponseController(server).Hijack()
	if err != nil {
		return // net/http closes it
	}
	conn = stopSending(conn)
	// Until the handler has returned, the server may set deadlines too.
	context.AfterFunc(r.Context(), func() {
		defer conn.Close()
		discard(conn)
	})
}

// stopSending tells the client that nothing more follows, and returns the connection to
// read from. TLS records are discarded without decrypting them.
func stopSending(conn net.Conn) net.Conn {
	if secure, ok := conn.(*tls.Conn); ok {
		_ = secure.CloseWrite()
		conn = secure.NetConn()
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	return conn
}

// discard reads until the client closes the connection, or time is up.
func discard(conn net.Conn) {
	end := time.Now().Add(lingerTime)
	buffer := make([]byte, 4<<10)
	for {
		deadline := time.Now().Add(quietTime)
		if deadline.After(end) {
			deadline = end
		}
		if err := conn.SetReadDeadline(deadline); err != nil {
			return
		}
		if _, err := conn.Read(buffer); err != nil {
			return
		}
	}
}

// chain returns w and the writers that it wraps.
func chain(w http.ResponseWriter) iter.Seq[http.ResponseWriter] {
	return func(yield func(http.ResponseWriter) bool) {
		for yield(w) {
			wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
			if !ok {
				return
			}
			w = wrapper.Unwrap()
		}
	}
}

// ServerWriter returns the server's own writer, which others may wrap.
func ServerWriter(w http.ResponseWriter) (server http.ResponseWriter) {
	for w := range chain(w) {
		server = w
	}
	return server
}
