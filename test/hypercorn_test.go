package test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// TestHypercorn has an upstream that speaks HTTP/2 to anyone who offers it over HTTP/1.1.
// Once it does, requests follow that nobody judges: a DELETE with any key, and with any
// workspace. So the offer does not get there.
func TestHypercorn(t *testing.T) {
	t.Parallel()
	upstream := startHypercorn(t)
	s := newServer(t)
	s.Upstream.Address = upstream.address
	s.Run(gatewayConfig)
	s.AwaitReady()
	key, full := s.Create("acme", "Warehouse sync", "full_access")
	_, readOnly := s.Create("acme", "Zapier production", "read_only")

	// The attack works, where the gateway is not in its way.
	status, received := upstream.smuggle(t, upstream.address, "")
	if status != http.StatusSwitchingProtocols || len(received) != 2 || received[1].Method != "DELETE" {
		t.Fatalf("without the gateway: got %d, and %+v upstream, want 101 and a DELETE that was smuggled", status, received)
	}

	for name, token := range map[string]string{"full access": full, "read only": readOnly} {
		t.Run(name, func(t *testing.T) {
			status, received := upstream.smuggle(t, s.Plain, token)
			if status != http.StatusOK || len(received) != 1 {
				t.Fatalf("got %d, and %+v upstream, want 200 and one request", status, received)
			}
			if got := received[0]; got.Method != "GET" || got.Version != "1.1" {
				t.Errorf("got a %s over HTTP/%s upstream, want a GET over HTTP/1.1", got.Method, got.Version)
			}
			for _, field := range received[0].Fields {
				switch strings.ToLower(field[0]) {
				case "upgrade", "http2-settings", "connection":
					t.Errorf("got %s upstream, want no offer", field)
				}
			}
		})
	}

	t.Run("WebSocket", func(t *testing.T) {
		conn, err := net.Dial("tcp", s.Plain)
		must(t, err)
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		_, err = io.WriteString(conn, "GET "+contacts+" HTTP/1.1\r\nHost: "+s.Plain+"\r\nAuthorization: Bearer "+full+
			"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		must(t, err)
		reader := bufio.NewReader(conn)
		response, err := http.ReadResponse(reader, nil)
		must(t, err)
		if response.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("got status %d, want 101", response.StatusCode)
		}
		_, err = conn.Write([]byte{0x81, 0x82, 0, 0, 0, 0, 'h', 'i'}) // a text, with a mask that changes nothing
		must(t, err)
		frame := make([]byte, 4)
		if _, err := io.ReadFull(reader, frame); err != nil || !bytes.Equal(frame, []byte{0x81, 2, 'h', 'i'}) {
			t.Errorf("got %x (%v) back, want the text that was sent", frame, err)
		}
		received := upstream.await(t, "websocket")
		want := "x-workspace-id " + key.WorkspaceID
		if !strings.Contains(received.String(), want) {
			t.Errorf("got %s upstream, want %s", received, want)
		}
	})
}

// hypercorn is an upstream that says what it received.
type hypercorn struct {
	address  string
	received chan asgiRequest
}

// asgiRequest is a request as testdata/hypercorn/app.py prints it.
type asgiRequest struct {
	Method, Path, Version string
	Fields                [][2]string
}

func (r asgiRequest) String() string {
	fields := make([]string, 0, len(r.Fields))
	for _, field := range r.Fields {
		fields = append(fields, field[0]+" "+field[1])
	}
	return r.Method + " over " + r.Version + ": " + strings.Join(fields, ", ")
}

func startHypercorn(t *testing.T) *hypercorn {
	t.Helper()
	h := &hypercorn{address: gatewaytest.Address(t), received: make(chan asgiRequest, 100)}
	cmd := exec.Command(testenv.Tool(t, "hypercorn"), "--bind", h.address, "app:app")
	cmd.Dir = "testdata/hypercorn"
	cmd.Env = append(cmd.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // its worker is a process of its own
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	var stderr gatewaytest.Log
	cmd.Stderr = &stderr
	must(t, cmd.Start())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			var request asgiRequest
			if json.Unmarshal(lines.Bytes(), &request) == nil {
				h.received <- request
			}
		}
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-done
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("hypercorn said:\n%s", stderr.Tail(3000))
		}
	})
	deadline := time.Now().Add(60 * time.Second)
	for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
		conn, err := net.Dial("tcp", h.address)
		if err == nil {
			conn.Close()
			return h
		}
		if time.Now().After(deadline) {
			t.Fatalf("hypercorn does not listen: %v\n%s", err, stderr.Tail(3000))
		}
	}
}

// await returns the next request with a method.
func (h *hypercorn) await(t *testing.T, method string) asgiRequest {
	t.Helper()
	for {
		select {
		case request := <-h.received:
			if request.Method == method {
				return request
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("waited 20 s for a request with the method %s", method)
		}
	}
}

// smuggle offers HTTP/2 to an address with a GET, continues with a DELETE over HTTP/2
// whatever the answer was, and returns that answer's status and what the upstream received.
func (h *hypercorn) smuggle(t *testing.T, address, token string) (status int, received []asgiRequest) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	must(t, err)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, err = io.WriteString(conn, "GET "+contacts+" HTTP/1.1\r\nHost: "+address+"\r\nAuthorization: Bearer "+token+
		"\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: "+someSettings+"\r\n\r\n")
	must(t, err)
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil)
	must(t, err)
	_, _ = io.CopyN(io.Discard, response.Body, response.ContentLength)

	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range [][2]string{
		{":method", "DELETE"}, {":scheme", "http"}, {":path", contacts}, {":authority", address}, {"x-workspace-id", "evil"},
	} {
		must(t, encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}))
	}
	_, _ = io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, reader)
	_ = framer.WriteSettings()
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
	for err == nil { // until the DELETE is answered, or the connection is closed
		var frame http2.Frame
		frame, err = framer.ReadFrame()
		if err == nil && frame.Header().StreamID == 3 && frame.Header().Flags.Has(http2.FlagDataEndStream) {
			break
		}
	}
	after, err := http.Get("http://" + h.address + "/after") // which is printed after all that came before
	must(t, err)
	after.Body.Close()
	for request := range h.received {
		if request.Path == "/after" {
			break
		}
		received = append(received, request)
	}
	return response.StatusCode, received
}
