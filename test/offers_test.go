package test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// TestOffer_declined offers to speak another protocol than WebSocket. The offer
// is declined and the request is judged without it, so a read-only key may make
// it on a read. The upstream never sees it: nobody judges what comes after.
func TestOffer_declined(t *testing.T) {
	t.Parallel()
	s := start(t, gatewayConfig)
	_, full := s.Create("acme", "Warehouse sync", "full_access")
	_, readOnly := s.Create("acme", "Zapier production", "read_only")
	for _, upgrade := range []string{
		"Upgrade: h2c", "Upgrade: H2C", "Upgrade: TLS/1.0", "Upgrade: invented", "Upgrade:", "Upgrade: websocket/13",
		"Upgrade: websocket, h2c", "Upgrade: h2c, websocket", "Upgrade: websocket,", "Upgrade: webso\u212aet",
		"Upgrade: websocket\r\nUpgrade: h2c", "Upgrade: h2c\r\nupgrade: websocket", "Upgrade: websocket\r\nUpgrade: websocket",
	} {
		for _, connection := range []string{
			"Connection: Upgrade, HTTP2-Settings", "Connection: upgrade,http2_settings , keep-alive",
			"Connection: keep-alive\r\nConnection: HTTP2.Settings\r\nconnection: UPGRADE", "X-Nothing: 1",
		} {
			t.Run(upgrade+", "+connection, func(t *testing.T) {
				send := func(method, token string) gatewaytest.Answer {
					return gatewaytest.Raw(t, s.Plain, method+" "+contacts+" HTTP/1.1\r\nHost: "+s.Plain+"\r\nAuthorization: Bearer "+token+
						"\r\n"+connection+"\r\n"+upgrade+"\r\nHTTP2-Settings: "+someSettings+"\r\nContent-Length: 0\r\n\r\n")
				}
				s.wantNoOffer(t, s.wantPassed(t, send("GET", readOnly)))
				s.wantNoOffer(t, s.wantPassed(t, send("POST", full)))
				s.wantRefused(t, send("POST", readOnly), 403, forbidden, needsWrite)
			})
		}
	}
	t.Run("HTTP/1.0", func(t *testing.T) {
		got := gatewaytest.Raw(t, s.Plain, "GET "+contacts+" HTTP/1.0\r\nHost: "+s.Plain+"\r\nAuthorization: Bearer "+readOnly+
			"\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
		s.wantNoOffer(t, s.wantPassed(t, got))
	})
}

// someSettings are those of an HTTP/2 client, as they go with an offer of h2c.
const someSettings = "AAMAAABkAAQCAAAAAAIAAAAA"

// wantNoOffer checks that a request asks its receiver for no other protocol.
func (s *server) wantNoOffer(t *testing.T, got gatewaytest.Received) {
	t.Helper()
	for _, name := range []string{"Upgrade", "HTTP2-Settings"} {
		if values := got.Values(name); values != nil {
			t.Errorf("got %s %q upstream, want none", name, values)
		}
	}
	if connection := strings.ToLower(strings.Join(got.Values("Connection"), ",")); strings.ContainsAny(connection, "u2") {
		t.Errorf("got Connection %q upstream, want neither upgrade nor http2-settings", connection)
	}
}

// TestOffer_laterVersions sends, over HTTP/2 and HTTP/3, what belongs to a
// connection of HTTP/1.1. The libraries take such a request for none, but for
// the field that they do not know.
func TestOffer_laterVersions(t *testing.T) {
	t.Parallel()
	s := startWithConnect(t, gatewayConfig)
	_, readOnly := s.Create("acme", "Zapier production", "read_only")
	for _, fields := range [][2]string{{"upgrade", "websocket"}, {"upgrade", "h2c"}, {"connection", "upgrade"}} {
		t.Run(fields[0]+": "+fields[1], func(t *testing.T) {
			f := dialFrames(t, s.Secure)
			got, err := f.answer(f.open(true, append(getOf(s, readOnly), fields[:]...)...))
			if err == nil && got.Status < 400 {
				t.Errorf("over HTTP/2: got %d, want no answer to a request with a connection header", got.Status)
			}
			s.wantNothing(t)

			stream := dialStream(t, s)
			request := connect(s, "", readOnly)
			request.Method, request.URL.Path = http.MethodGet, contacts
			request.Header[fields[0]] = []string{fields[1]}
			if err := stream.SendRequestHeader(request); err != nil {
				return // this client sends no such thing
			}
			if response, err := stream.ReadResponse(); err == nil && response.StatusCode < 400 {
				t.Errorf("over HTTP/3: got %d, want no answer to a request with a connection header", response.StatusCode)
			}
			s.wantNothing(t)
		})
	}
	t.Run("http2-settings", func(t *testing.T) {
		for _, c := range s.Clients(t) {
			s.wantNoOffer(t, s.wantPassed(t, c.Send(t, "GET", contacts, nil, append(bearer(readOnly), "HTTP2-Settings", someSettings)...)))
		}
	})
	t.Run("a GET with :protocol", func(t *testing.T) {
		f := dialFrames(t, s.Secure)
		got, err := f.answer(f.open(true, append([]string{":protocol", "websocket"}, getOf(s, readOnly)...)...))
		if err != nil {
			s.wantNothing(t) // a stream that was reset
			return
		}
		s.wantNoOffer(t, s.wantPassed(t, got))
	})
}

// getOf returns the fields of a GET over HTTP/2.
func getOf(s *server, token string) []string {
	return []string{":method", "GET", ":scheme", "https", ":path", contacts, ":authority", s.Secure, "authorization", "Bearer " + token}
}

// TestOffer_unasked has an upstream switch protocols though nobody has asked it
// to: nothing that the client sends after its request gets there.
func TestOffer_unasked(t *testing.T) {
	t.Parallel()
	s := start(t, gatewayConfig)
	_, full := s.Create("acme", "Warehouse sync", "full_access")
	for _, answer := range []string{
		"Connection: Upgrade\r\nUpgrade: h2c\r\n", "Connection: Upgrade\r\nUpgrade: websocket\r\n",
		"Connection: Upgrade\r\n", "Upgrade: h2c\r\n", "Connection: Upgrade\r\nUpgrade:\r\n", "",
	} {
		for _, offer := range []string{"", "Connection: Upgrade\r\nUpgrade: h2c\r\n", "Connection: Upgrade\r\n"} {
			t.Run(answer+"to "+offer, func(t *testing.T) {
				s.Upstream.AnswerWith("HTTP/1.1 101 Switching Protocols\r\n" + answer + "\r\n")
				defer s.Upstream.Take()
				smuggled := "DELETE " + contacts + " HTTP/1.1\r\nHost: " + s.Plain + "\r\nX-Workspace-ID: evil\r\n\r\n"
				got := gatewaytest.Raw(t, s.Plain, "GET "+contacts+" HTTP/1.1\r\nHost: "+s.Plain+"\r\nAuthorization: Bearer "+full+"\r\n"+offer+"\r\n"+smuggled)
				if got.Status == 101 {
					t.Errorf("got status 101 to a request that did not ask for a WebSocket")
				}
				for _, received := range s.Upstream.Take() {
					if strings.Contains(received.Head, "evil") {
						t.Errorf("the upstream received what nobody had judged:\n%s", received.Head)
					}
				}
			})
		}
	}
}
