package unread

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const no = "no, and this is why\n"

// refuser answers every request with no.
func refuser(w http.ResponseWriter, r *http.Request) {
	Answer(w, r, func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, no)
	})
}

// serve runs a handler on a server of net/http until the test ends.
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

// connections are those that the servers under test have accepted, by the address
// of the client: of each, a channel that is closed when the connection is.
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

// watchedConn can do all that the connection can.
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

// wantNo reads an answer and checks it.
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

// wantEnd checks that the server ends the connection, and does not reset it.
func wantEnd(t *testing.T, reader *bufio.Reader) {
	t.Helper()
	if rest, err := io.ReadAll(reader); err != nil || len(rest) > 0 {
		t.Errorf("got %q (%v) after the answer, want the end of the connection", rest, err)
	}
}

const head = "POST / HTTP/1.1\r\nHost: x\r\n"

// TestAnswer_longBody holds that a client that sends everything before it reads
// gets the answer, whatever it sends.
func TestAnswer_longBody(t *testing.T) {
	const mib = 1 << 20
	chunk := fmt.Sprintf("%x\r\n%s\r\n", mib, make([]byte, mib))
	for _, secure := range []bool{false, true} {
		server := serve(t, secure, refuser)
		for _, mibs := range []int{1, 3, 30} {
			t.Run(fmt.Sprintf("secure=%v/%d MiB", secure, mibs), func(t *testing.T) {
				conn := dial(t, server)
				send(t, conn, fmt.Sprintf("%sContent-Length: %d\r\n\r\n", head, mibs*mib))
				for range mibs {
					send(t, conn, string(make([]byte, mib)))
				}
				reader := bufio.NewReader(conn)
				if !wantNo(t, reader).Close {
					t.Error("got an answer without Connection: close, want it announced")
				}
				wantEnd(t, reader)
			})
			t.Run(fmt.Sprintf("secure=%v/%d MiB in chunks", secure, mibs), func(t *testing.T) {
				conn := dial(t, server)
				send(t, conn, head+"Transfer-Encoding: chunked\r\n\r\n")
				for range mibs {
					send(t, conn, chunk)
				}
				reader := bufio.NewReader(conn)
				wantNo(t, reader)
				wantEnd(t, reader)
			})
		}
	}
}

// TestAnswer_endsAtOnce holds that a client of which too much is to come has the
// answer, and the end of the connection, before it has sent anything.
func TestAnswer_endsAtOnce(t *testing.T) {
	for _, fields := range []string{"Content-Length: 262145\r\n", "Content-Length: 10\r\nExpect: 100-continue\r\n", "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n"} {
		for _, secure := range []bool{false, true} {
			conn := dial(t, serve(t, secure, refuser))
			begun := time.Now()
			send(t, conn, head+fields+"\r\n")
			reader := bufio.NewReader(conn)
			if !wantNo(t, reader).Close {
				t.Errorf("%q: got an answer without Connection: close", fields)
			}
			wantEnd(t, reader)
			if took := time.Since(begun); took > drainTime/2 {
				t.Errorf("%q: took %s, want it at once", fields, took)
			}
		}
	}
}

// TestAnswer_shortBody holds that a body of up to 256 KiB does not cost the
// connection, and that the next request is read from behind it.
func TestAnswer_shortBody(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for _, size := range []int{1, 4096, 200 << 10, maxDrain} {
			for _, body := range []string{
				fmt.Sprintf("Content-Length: %d\r\n\r\n%s", size, make([]byte, size)),
				fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\nTrailer: x\r\n\r\n", size, make([]byte, size)),
			} {
				conn := dial(t, serve(t, secure, refuser))
				reader := bufio.NewReader(conn)
				go io.WriteString(conn, head+body+head+body) // the second is pipelined
				for range 2 {
					if wantNo(t, reader).Close {
						t.Errorf("%d bytes: got Connection: close, want the connection kept", size)
					}
				}
				send(t, conn, head+"Connection: close\r\n\r\n")
				wantNo(t, reader)
				wantEnd(t, reader)
			}
		}
	}
}

// TestAnswer_keepAlive10 holds that HTTP/1.0 keeps its connections as well.
func TestAnswer_keepAlive10(t *testing.T) {
	conn := dial(t, serve(t, false, refuser))
	reader := bufio.NewReader(conn)
	request := "POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello"
	for range 3 {
		send(t, conn, request)
		wantNo(t, reader)
	}
	send(t, conn, "POST / HTTP/1.0\r\nContent-Length: 300000\r\n\r\n"+string(make([]byte, 300000)))
	wantNo(t, reader)
	wantEnd(t, reader)
}

// TestAnswer_stalledBody holds that a body that never comes keeps nobody waiting
// for the answer, keeps the connection for a bounded time, and that what comes
// late is not taken for a request.
func TestAnswer_stalledBody(t *testing.T) {
	t.Parallel()
	for _, fields := range []string{"Content-Length: 1000\r\n\r\nbegun", "Transfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n"} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("secure=%v/%.14s", secure, fields), func(t *testing.T) {
				t.Parallel()
				var requests atomic.Int32
				conn := dial(t, serve(t, secure, func(w http.ResponseWriter, r *http.Request) {
					requests.Add(1)
					refuser(w, r)
				}))
				begun := time.Now()
				send(t, conn, head+fields)
				reader := bufio.NewReader(conn)
				wantNo(t, reader)
				if took := time.Since(begun); took > drainTime/2 {
					t.Errorf("got the answer after %s, want it at once", took)
				}
				wantEnd(t, reader)
				if took := time.Since(begun); took > 2*drainTime {
					t.Errorf("the server stopped sending after %s, want it after %s", took, drainTime)
				}
				_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
				closed, _ := connections.Load(conn.LocalAddr().String())
				select {
				case <-closed.(chan struct{}):
				case <-time.After(drainTime + quietTime + 20*time.Second):
					t.Error("the server keeps the connection")
				}
				if n := requests.Load(); n != 1 {
					t.Errorf("the handler saw %d requests, want 1", n)
				}
			})
		}
	}
}

// TestAnswer_trickle holds that a client which sends on for ever is cut.
func TestAnswer_trickle(t *testing.T) {
	t.Parallel()
	conn := dial(t, serve(t, false, refuser))
	begun := time.Now()
	send(t, conn, head+"Content-Length: 1000000\r\n\r\n")
	wantNo(t, bufio.NewReader(conn))
	for tick := time.NewTicker(100 * time.Millisecond); ; <-tick.C {
		if _, err := conn.Write([]byte("x")); err != nil {
			break
		}
	}
	if took := time.Since(begun); took < lingerTime || took > lingerTime+20*time.Second {
		t.Errorf("the connection was cut after %s, want %s", took, lingerTime)
	}
}

// TestAnswer_shutdown holds that a client which is being read from holds up no
// server that stops.
func TestAnswer_shutdown(t *testing.T) {
	server := serve(t, false, refuser)
	conn := dial(t, server)
	send(t, conn, head+"Content-Length: 1000000\r\n\r\n")
	wantNo(t, bufio.NewReader(conn))
	begun := time.Now()
	if err := server.Config.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > quietTime/2 {
		t.Errorf("stopping took %s", took)
	}
}

// withholding is a writer that sends nothing before its handler has returned,
// unlike what its methods say.
type withholding struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (w *withholding) Unwrap() http.ResponseWriter { return w.ResponseWriter }
func (w *withholding) WriteHeader(status int)      { w.status = status }
func (w *withholding) Write(b []byte) (int, error) { return w.body.Write(b) }
func (w *withholding) FlushError() error           { return nil }
func (w *withholding) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, http.ErrNotSupported
}

// TestAnswer_withheldAnswer holds that the answer arrives also where a handler
// around this one holds it back.
func TestAnswer_withheldAnswer(t *testing.T) {
	server := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		held := &withholding{ResponseWriter: w}
		refuser(held, r)
		w.WriteHeader(held.status)
		_, _ = w.Write(held.body.Bytes())
	})
	for _, size := range []int{10, 300000} {
		conn := dial(t, server)
		send(t, conn, fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, size, make([]byte, size)))
		wantNo(t, bufio.NewReader(conn))
	}
}

// TestAnswer_longAnswer holds that an answer that is too long to be held arrives
// whole.
func TestAnswer_longAnswer(t *testing.T) {
	want := strings.Repeat("a long story\n", 20000)
	server := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		Answer(w, r, func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusForbidden)
			for line := range strings.Lines(want) {
				_, _ = io.WriteString(w, line)
			}
		})
	})
	for _, size := range []int{10, 300000} {
		response, err := http.Post(server.URL, "", bytes.NewReader(make([]byte, size)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || string(got) != want || response.StatusCode != http.StatusForbidden {
			t.Errorf("got %d with %d bytes (%v), want 403 with %d", response.StatusCode, len(got), err, len(want))
		}
	}
}

// TestAnswer_head holds that the answer to a HEAD states the length that it
// would have, and has no body.
func TestAnswer_head(t *testing.T) {
	for _, size := range []int{10, 300000} {
		conn := dial(t, serve(t, false, refuser))
		send(t, conn, fmt.Sprintf("HEAD / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", size, make([]byte, size)))
		reader := bufio.NewReader(conn)
		response, err := http.ReadResponse(reader, &http.Request{Method: http.MethodHead})
		if err != nil || response.StatusCode != http.StatusForbidden || response.ContentLength != int64(len(no)) {
			t.Fatalf("got %+v (%v), want 403 with the length %d", response, err, len(no))
		}
		if response.Close {
			wantEnd(t, reader)
		}
	}
}
