package test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// socket is a WebSocket, opened over one version of HTTP. What is sent on it
// comes back: the frames mean nothing to the gateway, so they are any bytes.
type socket struct {
	status   int
	refusal  gatewaytest.Answer // if status says so
	write    func(string) error
	read     func([]byte) (int, error)
	deadline func(time.Time) error
	close    func()
}

// opener opens a WebSocket over one version of HTTP.
type opener struct {
	name string
	open func(t *testing.T, s *server, token string) *socket
}

var openers = []opener{{"HTTP/1.1", openH1}, {"HTTP/2", openH2}, {"HTTP/3", openH3}}

func openH1(t *testing.T, s *server, token string) *socket {
	t.Helper()
	conn, err := net.DialTimeout("tcp", s.Plain, 5*time.Second)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, err = io.WriteString(conn, "GET "+contacts+" HTTP/1.1\r\nHost: "+s.Plain+"\r\nAuthorization: Bearer "+token+
		"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	must(t, err)
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil)
	must(t, err)
	got := &socket{
		status: response.StatusCode,
		write:  func(text string) error { _, err := io.WriteString(conn, text); return err },
		read:   reader.Read, deadline: conn.SetReadDeadline, close: func() { conn.Close() },
	}
	if got.status != http.StatusSwitchingProtocols {
		body, err := io.ReadAll(response.Body)
		must(t, err)
		got.refusal = gatewaytest.Answer{Status: response.StatusCode, Proto: 1, Header: response.Header, Body: string(body), Closes: response.Close}
	}
	return got
}

func openH2(t *testing.T, s *server, token string) *socket {
	t.Helper()
	f := dialFrames(t, s.Secure)
	if f.settings[http2.SettingEnableConnectProtocol] != 1 {
		t.Fatal("the server does not serve extended CONNECT")
	}
	stream := f.open(false, extendedConnect(s, "websocket", token)...)
	frame, err := f.read(stream)
	must(t, err)
	head, ok := frame.(*http2.MetaHeadersFrame)
	if !ok {
		t.Fatalf("got %v first, want headers", frame)
	}
	var (
		rest  []byte
		ended = head.StreamEnded()
	)
	got := &socket{
		write:    func(text string) error { return f.framer.WriteData(stream, false, []byte(text)) },
		deadline: f.conn.SetReadDeadline,
		close:    func() { f.conn.Close() },
		read: func(into []byte) (int, error) {
			for len(rest) == 0 {
				if ended {
					return 0, io.EOF
				}
				frame, err := f.read(stream)
				if err != nil {
					return 0, err
				}
				if data, ok := frame.(*http2.DataFrame); ok {
					rest = append(rest, data.Data()...)
				}
				ended = frame.Header().Flags.Has(http2.FlagDataEndStream)
			}
			n := copy(into, rest)
			rest = rest[n:]
			return n, nil
		},
	}
	if head.PseudoValue("status") == "200" {
		got.status = 200
		return got
	}
	got.refusal = gatewaytest.Answer{Proto: 2, Header: make(http.Header)}
	for _, field := range head.RegularFields() {
		got.refusal.Header.Add(field.Name, field.Value)
	}
	body, err := io.ReadAll(readerFunc(got.read))
	must(t, err)
	got.refusal.Body = string(body)
	got.status, err = strconv.Atoi(head.PseudoValue("status"))
	must(t, err)
	got.refusal.Status = got.status
	return got
}

func openH3(t *testing.T, s *server, token string) *socket {
	t.Helper()
	stream := dialStream(t, s)
	must(t, stream.SendRequestHeader(connect(s, "websocket", token)))
	response, err := stream.ReadResponse()
	must(t, err)
	got := &socket{
		status: response.StatusCode,
		write:  func(text string) error { _, err := io.WriteString(stream, text); return err },
		read:   response.Body.Read, deadline: stream.SetReadDeadline,
		close: func() { stream.CancelRead(0x10c); stream.CancelWrite(0x10c) }, // H3_REQUEST_CANCELLED
	}
	if got.status != 200 {
		body, err := io.ReadAll(response.Body)
		must(t, err)
		got.refusal = gatewaytest.Answer{Status: response.StatusCode, Proto: 3, Header: response.Header, Body: string(body), Closes: response.Close}
	}
	return got
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// wantOpen sends something, and checks that it comes back.
func (k *socket) wantOpen(t *testing.T) {
	t.Helper()
	const text = "are you there?"
	must(t, k.deadline(time.Now().Add(10*time.Second)))
	if err := k.write(text); err != nil {
		t.Fatalf("got %v, want an open socket", err)
	}
	back := make([]byte, len(text))
	if _, err := io.ReadFull(readerFunc(k.read), back); err != nil || string(back) != text {
		t.Fatalf("got %q (%v) back, want %q", back, err, text)
	}
}

// wantClosed waits until the other side closes the socket.
func (k *socket) wantClosed(t *testing.T, within time.Duration) {
	t.Helper()
	must(t, k.deadline(time.Now().Add(within)))
	if _, err := io.Copy(io.Discard, readerFunc(k.read)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got a socket still open after %s, want it closed", within)
	}
}
