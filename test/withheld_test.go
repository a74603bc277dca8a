package test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// TestWithheldBody verifies that a refusal waits for no body: not for one that the client
// keeps until it is told to send it, and not for one that trickles in.
func TestWithheldBody(t *testing.T) {
	s := start(t, gatewayConfig)
	_, readOnly := s.Create("acme", "Zapier production", "read_only")
	_, full := s.Create("acme", "Warehouse sync", "full_access")
	const line = "POST " + contacts + " HTTP/1.1\r\n"
	head := line + "Host: " + s.Plain + "\r\nAuthorization: Bearer " + readOnly + "\r\n"
	nobody := line + "Host: " + s.Plain + "\r\n"

	tests := []struct {
		name, request string
		status        int
		body          string
		challenge     string
		closes        bool // it is said that the connection ends
	}{
		{"withheld until told", head + "Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n", 403, forbidden, needsWrite, true},
		{"withheld, in chunks", head + "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n", 403, forbidden, needsWrite, true},
		{"begun and left", head + "Content-Length: 1000000\r\n\r\nbegun", 403, forbidden, needsWrite, true},
		{"begun and left, in chunks", head + "Transfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n", 403, forbidden, needsWrite, false},
		{"small and left", head + "Content-Length: 10\r\n\r\nbegun", 403, forbidden, needsWrite, false},
		{"withheld without credentials", nobody + "Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n", 401, unauthorized, challenge, true},
		{"begun and left without credentials", nobody + "Content-Length: 10\r\n\r\nbegun", 401, unauthorized, challenge, false},
		{"in early data", head + "Early-Data: 1\r\nContent-Length: 10\r\n\r\nbegun", 425, tooEarly, "", false},
	}
	for _, test := range tests {
		t.Run("HTTP/1.1/"+test.name, func(t *testing.T) {
			begun := time.Now()
			got := gatewaytest.Raw(t, s.Plain, test.request)
			s.wantRefused(t, got, test.status, test.body, test.challenge)
			if got.Closes != test.closes {
				t.Errorf("got Connection: close %v, want %v", got.Closes, test.closes)
			}
			if took := time.Since(begun); took > 4*time.Second { // not 5: see unread.drainTime
				t.Errorf("got the answer after %s, want it at once", took)
			}
		})
	}
	t.Run("HTTP/2", func(t *testing.T) {
		f := dialFrames(t, s.Secure)
		stream := f.open(false, ":method", "POST", ":scheme", "https", ":path", contacts, ":authority", s.Secure,
			"authorization", "Bearer "+readOnly, "content-length", "1000000", "expect", "100-continue")
		got, err := f.answer(stream)
		must(t, err)
		s.wantRefused(t, got, 403, forbidden, needsWrite)
	})
	t.Run("HTTP/3", func(t *testing.T) {
		body, sender := io.Pipe()
		defer sender.Close()
		got := s.Clients(t)[2].Send(t, "POST", contacts, body, bearer(readOnly)...)
		s.wantRefused(t, got, 403, forbidden, needsWrite)
	})
	t.Run("told to send it with full access", func(t *testing.T) {
		conn, err := net.Dial("tcp", s.Plain)
		must(t, err)
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		_, err = io.WriteString(conn, strings.Replace(head, readOnly, full, 1)+"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
		must(t, err)
		reader := bufio.NewReader(conn)
		response, err := http.ReadResponse(reader, nil)
		must(t, err)
		if response.StatusCode != 100 {
			t.Fatalf("got status %d first, want 100", response.StatusCode)
		}
		_, err = io.WriteString(conn, "hello")
		must(t, err)
		response, err = http.ReadResponse(reader, nil)
		must(t, err)
		if got := s.wantPassed(t, gatewaytest.Answer{Status: response.StatusCode}); got.Body != "hello" {
			t.Errorf("got the body %q upstream, want hello", got.Body)
		}
	})
}
