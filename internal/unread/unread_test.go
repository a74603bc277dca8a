package unread

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestAnswer_longBody: a client that sends its whole body before it reads gets the
// response.
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

// TestAnswer_endsAtOnce: a client that announces too long a body gets the response,
// and the end of the connection, before it has sent any of it.
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
			if took := time.Since(begun); took > drainTime*4/5 {
				t.Errorf("%q: took %s, want it at once", fields, took)
			}
		}
	}
}

// TestAnswer_shortBody: a body of up to 256 KiB leaves the connection open, and the
// next request is read after it.
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

// TestAnswer_keepAlive10: HTTP/1.0 connections stay open too.
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

// TestAnswer_stalledBody: a body that never arrives does not delay the response and
// holds the connection for a bounded time, and late bytes are not taken for a
// request.
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
				if took := time.Since(begun); took > drainTime*4/5 {
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

// TestAnswer_trickle: a client that never stops sending is cut off.
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

// TestAnswer_shutdown: a connection that is being drained does not delay the
// server's shutdown.
func TestAnswer_shutdown(t *testing.T) {
	server := serve(t, false, refuser)
	conn := dial(t, server)
	send(t, conn, head+"Content-Length: 1000000\r\n\r\n")
	wantNo(t, bufio.NewReader(conn))
	begun := time.Now()
	if err := server.Config.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > quietTime*4/5 {
		t.Errorf("stopping took %s", took)
	}
}

// withholding is a writer that sends nothing until its handler has returned,
// although its methods say otherwise.
type withholding struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (w *withholding) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *withholding) WriteHeader(status int) { w.status = status }

func (w *withholding) Write(b []byte) (int, error) { return w.body.Write(b) }

func (w *withholding) FlushError() error { return nil }

func (w *withholding) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, http.ErrNotSupported
}

// TestAnswer_withheldAnswer: the response arrives even if an outer handler holds it
// back.
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

// TestAnswer_longAnswer: a response that is too long to hold arrives complete.
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

// TestAnswer_head: the response to a HEAD states its length and has no body.
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
