package test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"

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
// connection of HTTP/1.1. The servers refuse such a request as malformed, but for
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

			err = sendFields(t, s, append(getOf(s, readOnly), fields[:]...)...)
			if refused, ok := errors.AsType[*quic.StreamError](err); !ok || refused.ErrorCode != quic.StreamErrorCode(http3.ErrCodeMessageError) {
				t.Errorf("over HTTP/3: got %v, want a stream that was reset as malformed", err)
			}
			s.wantNothing(t)
		})
	}
	t.Run("none of them", func(t *testing.T) {
		must(t, sendFields(t, s, getOf(s, readOnly)...))
		s.wantPassed(t, gatewaytest.Answer{Status: 200})
	})
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

// getOf returns the fields of a GET over HTTP/2 or HTTP/3.
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

// sendFields sends a request of these fields, name and value in turn, over HTTP/3,
// and reads to the end of the answer. A library would leave some of them out.
func sendFields(t *testing.T, s *server, fields ...string) error {
	t.Helper()
	block := []byte{0, 0} // refers to no dynamic table (RFC 9204, 4.5.1)
	for i := 0; i < len(fields); i += 2 {
		block = append(appendPrefixed(block, 0x20, 3, len(fields[i])), fields[i]...) // a literal name
		block = append(appendPrefixed(block, 0, 7, len(fields[i+1])), fields[i+1]...)
	}
	const headers = 1 // the type of the frame (RFC 9114, 7.2.2)
	frame := quicvarint.Append(quicvarint.Append(nil, headers), uint64(len(block)))
	conn, _ := dialHTTP3(t, s)
	stream, err := conn.OpenStream()
	must(t, err)
	must(t, stream.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = stream.Write(append(frame, block...))
	must(t, err)
	_ = stream.Close() // fails if the server has reset it already
	_, err = io.Copy(io.Discard, stream)
	return err
}

// appendPrefixed appends an integer that begins in the last bits of a byte (RFC
// 7541, 5.1).
func appendPrefixed(to []byte, first byte, bits, n int) []byte {
	most := 1<<bits - 1
	if n < most {
		return append(to, first|byte(n))
	}
	to = append(to, first|byte(most))
	for n -= most; n >= 128; n /= 128 {
		to = append(to, byte(n%128)|128)
	}
	return append(to, byte(n))
}
