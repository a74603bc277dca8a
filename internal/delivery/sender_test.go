package delivery

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/agiled/caddy-api-keys/internal/testenv/bubble"
)

// senderTo returns a sender to a test's own receiver, and the text of its secret.
func senderTo(t testing.TB, address string) (*Sender, string) {
	t.Helper()
	u, err := ParseAddress(address)
	if err != nil {
		t.Fatal(err)
	}
	text := secretOf(32, 's')
	s := NewSender(u, mustParse(t, text))
	t.Cleanup(s.Close)
	return s, text
}

func receiver(t testing.TB, handle http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	return server.URL
}

func TestSend_signs(t *testing.T) {
	var failed atomic.Value
	var secret string
	address := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		verifier, err := standardwebhooks.NewWebhook(secret)
		if err == nil {
			err = verifier.Verify(body, r.Header)
		}
		if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("webhook-id") != "msg_1" || r.URL.RawQuery != "a=b" {
			failed.Store(fmt.Sprintf("%v: %s %s %v", err, r.Method, r.URL, r.Header))
		}
		if _, sent := r.Header["Idempotency-Key"]; sent {
			failed.Store("Idempotency-Key is sent")
		}
		w.WriteHeader(http.StatusNoContent)
	})
	s, text := senderTo(t, address+"/keys?a=b")
	secret = text
	got := s.Send(t.Context(), "msg_1", []byte(`{"type":"key.created"}`))
	if !got.Received() || got.Status != http.StatusNoContent || got.Failure != "" || got.Took <= 0 {
		t.Errorf("got %+v, want it received", got)
	}
	if why := failed.Load(); why != nil {
		t.Error(why)
	}
}

func TestSend_answers(t *testing.T) {
	for _, test := range []struct {
		status                    int
		retryAfter                string
		received, gone            bool
		wantFailure               string
		wantWaitFrom, wantWaitMax time.Duration
	}{
		{status: 200, received: true},
		{status: 202, received: true},
		{status: 299, received: true},
		{status: 301, wantFailure: "it answered 301 Moved Permanently: redirects are not followed"},
		{status: 307, wantFailure: "it answered 307 Temporary Redirect: redirects are not followed"},
		{status: 404, wantFailure: "it answered 404 Not Found"},
		{status: 410, gone: true, wantFailure: "it answered 410 Gone: it wants no more messages"},
		{status: 429, retryAfter: "7", wantFailure: "it answered 429 Too Many Requests", wantWaitFrom: 7 * time.Second, wantWaitMax: 7 * time.Second},
		{status: 500, wantFailure: "it answered 500 Internal Server Error"},
		{status: 503, retryAfter: time.Now().Add(time.Minute).UTC().Format(http.TimeFormat), wantFailure: "it answered 503 Service Unavailable", wantWaitFrom: time.Second, wantWaitMax: time.Minute},
		{status: 503, retryAfter: "soon", wantFailure: "it answered 503 Service Unavailable"},
		{status: 503, retryAfter: "-5", wantFailure: "it answered 503 Service Unavailable"},
		{status: 503, retryAfter: "Mon, 01 Jan 2001 00:00:00 GMT", wantFailure: "it answered 503 Service Unavailable"},
		{status: 599, wantFailure: "it answered 599"},
	} {
		address := receiver(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/" {
				t.Errorf("%d: the redirect was followed", test.status)
			}
			w.Header().Set("Location", "/elsewhere")
			if test.retryAfter != "" {
				w.Header().Set("Retry-After", test.retryAfter)
			}
			w.WriteHeader(test.status)
			fmt.Fprint(w, "what a receiver says is for nobody")
		})
		s, _ := senderTo(t, address)
		got := s.Send(t.Context(), "msg_1", nil)
		if got.Status != test.status || got.Received() != test.received || got.gone() != test.gone || got.Failure != test.wantFailure {
			t.Errorf("%d: got %+v, want %q", test.status, got, test.wantFailure)
		}
		if got.RetryAfter < test.wantWaitFrom || got.RetryAfter > test.wantWaitMax {
			t.Errorf("%d: got to wait %v, want %v to %v", test.status, got.RetryAfter, test.wantWaitFrom, test.wantWaitMax)
		}
	}
}

// TestSend_connections: answers are read, up to a bound, and connections used again.
func TestSend_connections(t *testing.T) {
	for _, test := range []struct {
		length int
		want   int32 // connections for three messages
	}{{0, 1}, {maxAnswer / 2, 1}, {100 * maxAnswer, 3}} {
		var connections atomic.Int32
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(bytes.Repeat([]byte("x"), test.length))
		}))
		server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				connections.Add(1)
			}
		}
		server.Start()
		t.Cleanup(server.Close)
		s, _ := senderTo(t, server.URL)
		for range 3 {
			if got := s.Send(t.Context(), "msg_1", nil); !got.Received() {
				t.Fatalf("got %+v, want it received", got)
			}
		}
		if got := connections.Load(); got != test.want {
			t.Errorf("answers of %d bytes: got %d connections, want %d", test.length, got, test.want)
		}
	}
}

// TestSend_noAnswer: each failure is a line without the address.
func TestSend_noAnswer(t *testing.T) {
	hangUp := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		panic(http.ErrAbortHandler)
	})
	nobody := receiver(t, nil)
	closed := httptest.NewServer(nil)
	closed.Close()
	for _, test := range []struct{ address, want string }{
		{hangUp, "EOF"},
		{closed.URL, "refused"},
		{strings.Replace(nobody, "http://", "https://", 1), "HTTP response to HTTPS client"},
	} {
		s, _ := senderTo(t, test.address+"/?token=hunter2")
		got := s.Send(t.Context(), "msg_1", nil)
		if got.Status != 0 || !strings.Contains(got.Failure, test.want) || strings.Contains(got.Failure, "hunter2") || strings.ContainsAny(got.Failure, "\n\x00") {
			t.Errorf("%s: got %+v, want %q", test.address, got, test.want)
		}
	}
}

// TestSend_encrypted: certificates are checked, and old versions of TLS refused.
func TestSend_encrypted(t *testing.T) {
	for _, test := range []struct {
		latest  uint16
		trusted bool
		want    string
	}{
		{tls.VersionTLS13, true, ""}, {tls.VersionTLS12, true, ""}, {tls.VersionTLS11, true, "protocol version"}, {tls.VersionTLS13, false, "certificate"},
	} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: test.latest}
		server.StartTLS()
		t.Cleanup(server.Close)
		s, _ := senderTo(t, server.URL)
		if test.trusted {
			s.client.Transport.(*http.Transport).TLSClientConfig.RootCAs = server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
		}
		if got := s.Send(t.Context(), "msg_1", nil); got.Received() != (test.want == "") || !strings.Contains(got.Failure, test.want) {
			t.Errorf("%s: got %+v, want %q", tls.VersionName(test.latest), got, test.want)
		}
	}
}

// TestSend_garbage: of what a receiver says that does not speak HTTP, little is repeated.
func TestSend_garbage(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("\x1b[2J" + strings.Repeat("ü", 4000) + "\r\n"))
			_ = conn.Close()
		}
	}()
	s, _ := senderTo(t, "http://"+listener.Addr().String())
	got := s.Send(t.Context(), "msg_1", nil)
	if got.Failure == "" || len(got.Failure) > maxReason+len("…") || strings.Contains(got.Failure, "\x1b") {
		t.Errorf("got %q, want a short line", got.Failure)
	}
}

// TestSend_hangs: a try ends after ten seconds, or with its context.
func TestSend_hangs(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := hanging(t)
		got := s.Send(t.Context(), "msg_1", nil)
		if got.Took != tryTimeout || got.Failure != "no answer within 10s" {
			t.Errorf("got %+v, want no answer within %v", got, tryTimeout)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if got := s.Send(ctx, "msg_1", nil); got.Took != time.Second || got.Failure == "" {
			t.Errorf("got %+v, want it to end with its context", got)
		}
	})
}

// hanging returns a sender to a receiver that takes everything, and says nothing.
func hanging(t *testing.T) *Sender {
	t.Helper()
	s, _ := senderTo(t, "http://127.0.0.1/")
	s.client.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		return ours, nil
	}
	return s
}
