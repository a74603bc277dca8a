package test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

const tooEarly = `{"error":"Too Early."}`

// TestEarlyData_header sends what a TLS server in front of the gateway says of
// a request that could be a replay: a write must be sent again.
func TestEarlyData_header(t *testing.T) {
	t.Parallel()
	s := start(t, gatewayConfig)
	_, full := s.Create("acme", "Warehouse sync", "full_access")
	_, readOnly := s.Create("acme", "Zapier production", "read_only")
	for _, c := range s.Clients(t) {
		early := func(token string) []string { return append(bearer(token), "Early-Data", "1") }
		for _, method := range []string{"POST", "PUT", "DELETE", "INVENTED"} {
			t.Run(c.Name+"/"+method, func(t *testing.T) {
				for _, token := range []string{full, readOnly, gatewaytest.OtherToken(full), "nonsense"} {
					s.wantRefused(t, c.Send(t, method, contacts, nil, early(token)...), 425, tooEarly, "")
				}
			})
		}
		t.Run(c.Name+"/an override", func(t *testing.T) {
			fields := append(early(full), "X-Http-Method-Override", "DELETE")
			s.wantRefused(t, c.Send(t, "GET", contacts, nil, fields...), 425, tooEarly, "")
		})
		t.Run(c.Name+"/a read passes, and the upstream is told", func(t *testing.T) {
			got := s.wantPassed(t, c.Send(t, "GET", contacts, nil, early(readOnly)...))
			if values := got.Values("Early-Data"); !slices.Equal(values, []string{"1"}) {
				t.Errorf("got Early-Data %q upstream, want 1", values)
			}
		})
	}
}

// TestEarlyData_http3 sends requests in the first flight of a resumed QUIC
// connection, where anybody who saw it can send it again.
func TestEarlyData_http3(t *testing.T) {
	t.Parallel()
	s := start(t, gatewayConfig)
	_, full := s.Create("acme", "Warehouse sync", "full_access")
	tests := []struct {
		name, method string
		status       int
	}{{"a write", "POST", 425}, {"an invented method", "INVENTED", 425}, {"a read", "GET", 200}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := sendEarly(t, s, test.method, full)
			if test.status == 425 {
				s.wantRefused(t, got, 425, tooEarly, "")
				return
			}
			received := s.wantPassed(t, got)
			if values := received.Values("Early-Data"); !slices.Equal(values, []string{"1"}) {
				t.Errorf("got Early-Data %q upstream, want 1", values)
			}
		})
	}
	t.Run("a write after the handshake", func(t *testing.T) {
		s.wantPassed(t, s.Clients(t)[2].Send(t, "POST", contacts, nil, bearer(full)...))
	})
}

// sendEarly resumes a connection, and sends a request before the handshake is
// complete: as far as the server can tell, it never will be, because it gets
// only what somebody could replay.
func sendEarly(t *testing.T, s *server, method, token string) gatewaytest.Answer {
	t.Helper()
	config := gatewaytest.Insecure.Clone()
	config.NextProtos = []string{http3.NextProtoH3}
	tickets := &ticketCache{ClientSessionCache: tls.NewLRUClientSessionCache(1), came: make(chan struct{}, 8)}
	config.ClientSessionCache = tickets
	for range 10 {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		first, err := quic.DialAddr(ctx, s.Secure, config, nil)
		must(t, err)
		select {
		case <-tickets.came:
		case <-ctx.Done():
			t.Fatal("the server gave no session ticket")
		}
		must(t, first.CloseWithError(0, ""))
		// A request that missed the first flight is not answered.
		if got, err := tryEarly(ctx, t, s, config, method, token); err == nil {
			return got
		}
	}
	t.Fatal("the server answered no early data")
	return gatewaytest.Answer{}
}

func tryEarly(ctx context.Context, t *testing.T, s *server, config *tls.Config, method, token string) (gatewaytest.Answer, error) {
	t.Helper()
	server, err := net.ResolveUDPAddr("udp", s.Secure)
	must(t, err)
	flight := newFirstFlight(t)
	conn, err := (&quic.Transport{Conn: flight}).DialEarly(ctx, server, config, nil)
	must(t, err)
	defer func() {
		flight.over.Store(true)
		_ = conn.CloseWithError(0, "")
	}()
	stream, err := (&http3.Transport{}).NewClientConn(conn).OpenRequestStream(ctx)
	must(t, err)
	<-flight.early // the settings
	must(t, stream.SendRequestHeader(&http.Request{
		Method: method, Host: s.Secure, URL: &url.URL{Scheme: "https", Host: s.Secure, Path: contacts},
		Header: http.Header{"Authorization": {"Bearer " + token}},
	}))
	<-flight.early
	must(t, stream.Close())
	<-flight.early
	close(flight.sent)
	_ = stream.SetReadDeadline(time.Now().Add(time.Second))
	response, err := stream.ReadResponse()
	if err != nil {
		return gatewaytest.Answer{}, err
	}
	body, err := io.ReadAll(response.Body)
	must(t, err)
	if !conn.ConnectionState().Used0RTT {
		t.Fatal("the server took no early data")
	}
	return gatewaytest.Answer{Status: response.StatusCode, Proto: 3, Header: response.Header, Body: string(body), Closes: false}, nil
}

// firstFlight lets only those packets of a QUIC client through that need no
// answer of the server: its first ones, and early data.
type firstFlight struct {
	net.PacketConn
	early chan struct{} // early data was written
	sent  chan struct{} // closed to let the server's packets in
	over  atomic.Bool   // lets everything through
}

func newFirstFlight(t *testing.T) *firstFlight {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	return &firstFlight{PacketConn: conn, early: make(chan struct{}, 1024), sent: make(chan struct{})}
}

func (f *firstFlight) ReadFrom(p []byte) (int, net.Addr, error) {
	<-f.sent
	return f.PacketConn.ReadFrom(p)
}

func (f *firstFlight) WriteTo(p []byte, to net.Addr) (int, error) {
	types := packetTypes(p)
	if f.over.Load() {
		return f.PacketConn.WriteTo(p, to)
	}
	if slices.Contains(types, handshakePacket) || slices.Contains(types, shortPacket) {
		return len(p), nil
	}
	n, err := f.PacketConn.WriteTo(p, to)
	for _, kind := range types {
		if kind == earlyPacket {
			f.early <- struct{}{}
		}
	}
	return n, err
}

// The types of QUIC packets (RFC 9000, section 17.2).
const (
	initialPacket   = 0
	earlyPacket     = 1
	handshakePacket = 2
	shortPacket     = 4 // has none
)

// packetTypes returns the types of the packets in one datagram.
func packetTypes(p []byte) []int {
	var types []int
	for len(p) > 6 {
		if p[0]&0x80 == 0 {
			return append(types, shortPacket)
		}
		kind, at := int(p[0]>>4&3), 5
		at += 1 + int(p[at]) // destination
		at += 1 + int(p[at]) // source
		if kind == initialPacket {
			length, n := varint(p[at:])
			at += n + length // token
		}
		length, n := varint(p[at:])
		types = append(types, kind)
		p = p[min(at+n+length, len(p)):]
	}
	return types
}

// varint returns an integer and its own length (RFC 9000, section 16).
func varint(p []byte) (value, n int) {
	n = 1 << (p[0] >> 6)
	value = int(p[0] & 0x3f)
	for _, b := range p[1:n] {
		value = value<<8 | int(b)
	}
	return value, n
}

// ticketCache says when a session ticket has come.
type ticketCache struct {
	tls.ClientSessionCache
	came chan struct{}
}

func (c *ticketCache) Put(key string, state *tls.ClientSessionState) {
	c.ClientSessionCache.Put(key, state)
	if state != nil {
		select {
		case c.came <- struct{}{}:
		default:
		}
	}
}
