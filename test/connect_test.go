package test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// TestConnect_tunnel sends CONNECT, which asks for a tunnel to another host, and TRACE,
// which asks for an echo of the credentials. Both are refused, even with a valid key.
func TestConnect_tunnel(t *testing.T) {
	t.Parallel()
	s := startRaced(t, gatewayConfig)
	_, full := s.Create("acme", "Warehouse sync", "full_access")
	_, readOnly := s.Create("acme", "Zapier production", "read_only")
	for name, token := range map[string]string{"full access": full, "read only": readOnly, "unknown": gatewaytest.OtherToken(full)} {
		t.Run(name, func(t *testing.T) {
			auth := "Host: " + s.Plain + "\r\nAuthorization: Bearer " + token + "\r\n\r\n"
			t.Run("TRACE", func(t *testing.T) {
				for _, c := range s.Clients(t) {
					s.wantMethodRefused(t, c.Send(t, "TRACE", contacts, nil, bearer(token)...))
				}
			})
			t.Run("CONNECT over HTTP/1.1", func(t *testing.T) {
				s.wantMethodRefused(t, gatewaytest.Raw(t, s.Plain, "CONNECT "+s.Plain+" HTTP/1.1\r\n"+auth))
				s.wantMethodRefused(t, gatewaytest.Raw(t, s.Plain, "CONNECT "+contacts+" HTTP/1.1\r\n"+auth))
			})
			t.Run("CONNECT over HTTP/2", func(t *testing.T) {
				f := dialFrames(t, s.Secure)
				got, err := f.answer(f.open(true, ":method", "CONNECT", ":authority", s.Secure, "authorization", "Bearer "+token))
				must(t, err)
				s.wantMethodRefused(t, got)
			})
			t.Run("CONNECT over HTTP/3", func(t *testing.T) {
				stream := dialStream(t, s)
				must(t, stream.SendRequestHeader(connect(s, "", token)))
				s.wantMethodRefused(t, readStream(t, stream))
			})
		})
	}
}

// wantMethodRefused checks a 405.
func (s *server) wantMethodRefused(t *testing.T, got gatewaytest.Answer) {
	t.Helper()
	s.wantRefused(t, got, 405, methodNotAllowed, "")
	if got, want := got.Header.Get("Allow"), "GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE"; got != want {
		t.Errorf("got Allow %q, want %q", got, want)
	}
}

// TestConnect_notEnabled checks that Go does not serve extended CONNECT over HTTP/2
// unless it is told to: the server does not announce it, and refuses one that is sent
// anyway as malformed.
func TestConnect_notEnabled(t *testing.T) {
	t.Parallel()
	s := startRaced(t, gatewayConfig)
	_, full := s.Create("acme", "Warehouse sync", "full_access")
	f := dialFrames(t, s.Secure)
	if got := f.settings[http2.SettingEnableConnectProtocol]; got != 0 {
		t.Errorf("got SETTINGS_ENABLE_CONNECT_PROTOCOL = %d, want 0", got)
	}
	got, err := f.answer(f.open(false, extendedConnect(s, "websocket", full)...))
	if want := (reset{http2.ErrCodeProtocol}); !errors.Is(err, want) {
		t.Errorf("got %d %v, want %v", got.Status, err, want)
	}
	s.wantNothing(t)
}

// TestConnect_otherProtocols names a protocol that cannot be passed on. Caddy would turn
// the request into a CONNECT without a protocol, which asks for a tunnel.
func TestConnect_otherProtocols(t *testing.T) {
	t.Parallel()
	s := startWithConnect(t, gatewayConfig)
	_, full := s.Create("acme", "Warehouse sync", "full_access")
	_, readOnly := s.Create("acme", "Zapier production", "read_only")
	for _, protocol := range []string{"connect-udp", "connect-ip", "WebSocket", "webtransport", "h2c"} {
		for name, token := range map[string]string{"full access": full, "read only": readOnly} {
			t.Run(protocol+"/"+name, func(t *testing.T) {
				f := dialFrames(t, s.Secure)
				got, err := f.answer(f.open(true, extendedConnect(s, protocol, token)...))
				must(t, err)
				s.wantMethodRefused(t, got)

				stream := dialStream(t, s)
				must(t, stream.SendRequestHeader(connect(s, protocol, token)))
				s.wantMethodRefused(t, readStream(t, stream))
			})
		}
	}
}

// withConnect has a server serve extended CONNECT over HTTP/2.
var withConnect = []string{"GODEBUG=http2xconnect=1"}

// startWithConnect starts a server that serves extended CONNECT over HTTP/2.
func startWithConnect(t *testing.T, config string) *server {
	t.Helper()
	return startRaced(t, config, withConnect...)
}

// extendedConnect returns the fields of a CONNECT that names a protocol.
func extendedConnect(s *server, protocol, token string) []string {
	return []string{
		":method", "CONNECT", ":protocol", protocol, ":scheme", "https", ":path", contacts, ":authority", s.Secure,
		"sec-websocket-version", "13", "authorization", "Bearer " + token,
	}
}

// connect returns a CONNECT for HTTP/3. Without a protocol, it asks for a tunnel.
func connect(s *server, protocol, token string) *http.Request {
	path := contacts
	if protocol == "" {
		path = ""
	}
	return &http.Request{
		Method: http.MethodConnect, Proto: protocol, Host: s.Secure,
		URL:    &url.URL{Scheme: "https", Host: s.Secure, Path: path},
		Header: http.Header{"Authorization": {"Bearer " + token}, "Sec-Websocket-Version": {"13"}},
	}
}

// dialStream returns a stream for one request on an HTTP/3 connection of its
// own.
func dialStream(t *testing.T, s *server) *http3.RequestStream {
	t.Helper()
	_, client := dialHTTP3(t, s)
	stream, err := client.OpenRequestStream(t.Context())
	must(t, err)
	_ = stream.SetDeadline(time.Now().Add(20 * time.Second))
	return stream
}

// dialHTTP3 returns a connection, and HTTP/3 on it.
func dialHTTP3(t *testing.T, s *server) (*quic.Conn, *http3.ClientConn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	config := gatewaytest.Insecure.Clone()
	config.NextProtos = []string{http3.NextProtoH3}
	conn, err := quic.DialAddr(ctx, s.Secure, config, nil)
	must(t, err)
	t.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	return conn, (&http3.Transport{}).NewClientConn(conn)
}

// readStream reads the answer on a stream to its end.
func readStream(t *testing.T, stream *http3.RequestStream) gatewaytest.Answer {
	t.Helper()
	response, err := stream.ReadResponse()
	must(t, err)
	body, err := io.ReadAll(response.Body)
	must(t, err)
	return gatewaytest.Answer{Status: response.StatusCode, Proto: 3, Header: response.Header, Body: string(body), Closes: response.Close}
}
