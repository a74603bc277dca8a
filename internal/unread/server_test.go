package unread

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

const no = "no, and this is why\n"

// refuser answers every request with "no".
func refuser(w http.ResponseWriter, r *http.Request) {
	Answer(w, r, func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, no)
	})
}

// serve runs a handler on a net/http server until the test ends.
func serve(t *testing.T, secure bool, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Listener = watchedListener{server.Listener}
	if secure {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return server
}

// connections holds a channel per connection that the test servers have accepted,
// by the client's address. It is closed with the connection.
var connections sync.Map

type watchedListener struct{ net.Listener }

func (l watchedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	closed := make(chan struct{})
	connections.Store(conn.RemoteAddr().String(), closed)
	return &watchedConn{conn.(*net.TCPConn), sync.OnceFunc(func() { close(closed) })}, nil
}

// watchedConn has every method of the connection.
type watchedConn struct {
	*net.TCPConn
	closed func()
}

func (c *watchedConn) Close() error {
	c.closed()
	return c.TCPConn.Close()
}

// dial opens a connection to a server.
func dial(t *testing.T, server *httptest.Server) net.Conn {
	t.Helper()
	address := server.Listener.Addr().String()
	var conn net.Conn
	var err error
	if server.TLS != nil {
		conn, err = tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	} else {
		conn, err = net.Dial("tcp", address)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	return conn
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatalf("sending: %v", err)
	}
}

// wantNo reads a response and checks it.
func wantNo(t *testing.T, reader *bufio.Reader) *http.Response {
	t.Helper()
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatalf("reading the answer: %v", err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusForbidden || string(body) != no {
		t.Fatalf("got %d %q (%v), want 403 %q", response.StatusCode, body, err, no)
	}
	return response
}

// wantEnd checks that the server closes the connection without a reset.
func wantEnd(t *testing.T, reader *bufio.Reader) {
	t.Helper()
	if rest, err := io.ReadAll(reader); err != nil || len(rest) > 0 {
		t.Errorf("got %q (%v) after the answer, want the end of the connection", rest, err)
	}
}

const head = "POST / HTTP/1.1\r\nHost: x\r\n"
