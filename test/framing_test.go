package test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// rawAll sends bytes on one connection, and returns the statuses of all
// answers. The last request of the bytes must be one that ends the connection.
func rawAll(t *testing.T, address, requests string) []int {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	must(t, err)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(conn, requests) // the server may hang up before it has read all
	reader := bufio.NewReader(conn)
	var statuses []int
	for {
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
				t.Fatalf("got %v and then nothing more to %q", statuses, requests)
			}
			return statuses
		}
		_, _ = io.Copy(io.Discard, response.Body)
		statuses = append(statuses, response.StatusCode)
	}
}

// lines returns the request lines that reached the upstream since the last
// time.
func (s *server) lines() []string {
	var lines []string
	for _, received := range s.Upstream.Take() {
		lines = append(lines, strings.TrimSuffix(received.Line(), " HTTP/1.1"))
	}
	return lines
}

// TestFraming_smuggling hides a request in another one by framing that two
// servers read differently. The first is a write that is refused, or a read
// that passes; the hidden one is a write by the same read-only key. Go and Caddy
// decide what of it is a request; whatever they decide, the upstream gets only
// what was judged.
func TestFraming_smuggling(t *testing.T) {
	t.Parallel()
	s := start(t, gatewayConfig)
	_, readOnly := s.Create("acme", "Zapier production", "read_only")
	_, full := s.Create("acme", "Warehouse sync", "full_access")
	with := func(token string) string { return "Host: " + s.Plain + "\r\nAuthorization: Bearer " + token + "\r\n" }
	auth := with(readOnly)
	hidden := "DELETE /hidden HTTP/1.1\r\n" + auth + "Content-Length: 0\r\n\r\n"
	last := "GET /last HTTP/1.1\r\n" + auth + "Connection: close\r\n\r\n"

	// What Go makes of it: the statuses, and what reaches the upstream of a first
	// and a last request that may pass.
	type want struct {
		statuses []int
		upstream []string
	}
	var (
		closed  = want{[]int{400}, nil} // and nothing after it is read
		unknown = want{[]int{501}, nil}
		broken  = want{[]int{502}, nil} // reverse_proxy finds out while it reads
		apart   = want{[]int{200, 403, 200}, []string{"/first", "/last"}}
	)
	tests := []struct {
		name, fields, body string
		want               want
	}{
		{"Content-Length with chunked", "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", apart},
		{"chunked with Content-Length", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n", apart},
		{"two lengths", "Content-Length: 0\r\nContent-Length: 5\r\n", "", closed},
		{"two lengths on one line", "Content-Length: 0, 5\r\n", "", closed},
		{"the same length twice", "Content-Length: 0\r\nContent-Length: 0\r\n", "", apart},
		{"a signed length", "Content-Length: +3\r\n", "abc", closed},
		{"a negative length", "Content-Length: -1\r\n", "", closed},
		{"a length in hex", "Content-Length: 0x3\r\n", "abc", closed},
		{"a length with an underscore", "Content-Length: 1_0\r\n", "", closed},
		{"an empty length", "Content-Length: \r\n", "", closed},
		{"a huge length", "Content-Length: 99999999999999999999\r\n", "", closed},
		{"a length in other digits", "Content-Length: \u0663\r\n", "abc", closed},
		{"chunked twice", "Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n", unknown},
		{"chunked on two lines", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", unknown},
		{"chunked, then identity", "Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n", unknown},
		{"identity", "Transfer-Encoding: identity\r\n", "", unknown},
		{"gzip, then chunked", "Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n", unknown},
		{"chunked misspelt", "Transfer-Encoding: xchunked\r\n", "0\r\n\r\n", unknown},
		{"chunked with a vertical tab", "Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n", closed},
		{"chunked in quotes", "Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n", unknown},
		{"an empty encoding", "Transfer-Encoding: \r\n", "", unknown},
		{"space before the colon", "Transfer-Encoding : chunked\r\n", "0\r\n\r\n", closed},
		{"tab before the colon", "Content-Length\t: 5\r\n", "", closed},
		{"a name with a space", "Content Length: 5\r\n", "", closed},
		{"a line ended by a bare LF", "X-Lf: a\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", apart},
		{"a folded line", "X-Folded: a\r\n Transfer-Encoding: chunked\r\n", "", apart},
		{"a line folded into the token", " Transfer-Encoding: chunked\r\n", "", want{[]int{401, 403, 200}, []string{"/last"}}},
		{"NUL in a value", "X-Nul: a\x00b\r\n", "", closed},
		{"NUL in a name", "X-N\x00ul: a\r\n", "", closed},
		{"a lone CR in a value", "X-Cr: a\rTransfer-Encoding: chunked\r\n", "", closed},
		{"a field without a colon", "Nonsense\r\n", "", closed},
		{"a field without a name", ": value\r\n", "", closed},
		{"non-ASCII in a name", "X-\u00e9: a\r\n", "", closed},
		{"two hosts", "Host: evil.example\r\n", "", closed},
		{"a bad chunk size", "Transfer-Encoding: chunked\r\n", "+0\r\n\r\n", broken},
		{"a chunk size too large", "Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n\r\n", broken},
		{"an underscore in a chunk size", "Transfer-Encoding: chunked\r\n", "0_0\r\n\r\n", broken},
		{"a chunk that ends by a bare LF", "Transfer-Encoding: chunked\r\n", "3\nabc\n0\n\n", broken},
		{"a chunk extension with a bare LF", "Transfer-Encoding: chunked\r\n", "0;a\nb\r\n\r\n", broken},
		{"a chunk that is longer than it says", "Transfer-Encoding: chunked\r\n", "1\r\nabc\r\n0\r\n\r\n", want{[]int{502, 400}, nil}},
		{"a chunk that ends where a request begins", "Transfer-Encoding: chunked\r\n", "1\r\naXX", want{[]int{502, 403, 200}, []string{"/last"}}},
	}
	for _, test := range tests {
		for _, first := range []struct{ method, token string }{{"GET", readOnly}, {"POST", full}} {
			t.Run(test.name+"/after a "+first.method, func(t *testing.T) {
				got := rawAll(t, s.Plain, first.method+" /first HTTP/1.1\r\n"+with(first.token)+test.fields+"\r\n"+test.body+hidden+last)
				if !slices.Equal(got, test.want.statuses) {
					t.Errorf("got the statuses %v, want %v", got, test.want.statuses)
				}
				var want []string
				for _, path := range test.want.upstream {
					want = append(want, map[string]string{"/first": first.method, "/last": "GET"}[path]+" "+path)
				}
				if got := s.lines(); !slices.Equal(got, want) {
					t.Errorf("got %q upstream, want %q", got, want)
				}
			})
		}
	}
}

// TestFraming_target names the target in ways that another server reads
// differently. None of them decides whether a request passes.
func TestFraming_target(t *testing.T) {
	t.Parallel()
	s := start(t, strings.Replace(gatewayConfig, "http://{{.Plain}}, https://{{.Secure}}", "http://:{{.Port}}", 1))
	_, readOnly := s.Create("acme", "Zapier production", "read_only")
	_, full := s.Create("acme", "Warehouse sync", "full_access")
	tests := []struct {
		name, target, host string
		status             int    // of what may pass
		upstream           string // target
	}{
		{"plain", contacts, s.Plain, 200, contacts},
		{"absolute form", "http://" + s.Plain + contacts, s.Plain, 200, contacts},
		{"absolute form of another host", "http://evil.example" + contacts, s.Plain, 200, contacts},
		{"absolute form with a user", "http://user:secret@" + s.Plain + contacts, s.Plain, 200, contacts},
		{"absolute form of another scheme", "ftp://evil.example" + contacts, s.Plain, 200, contacts},
		{"absolute form without a path", "http://evil.example", s.Plain, 200, "/"},
		{"another host", contacts, "evil.example", 200, contacts},
		{"a host with a user", contacts, "user@" + s.Plain, 400, ""},
		{"a host with a path", contacts, s.Plain + "/public", 400, ""},
		{"an encoded host", contacts, "loc%61lhost", 200, contacts},
		{"a host with a space", contacts, "local host", 400, ""},
		{"an empty host", contacts, "", 400, ""},
		{"number sign", contacts + "#/admin", s.Plain, 200, contacts + "%23/admin"},
		{"two slashes and a host", "//evil.example" + contacts, s.Plain, 200, "//evil.example" + contacts},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			request := func(method, token string) string {
				return method + " " + test.target + " HTTP/1.1\r\nHost: " + test.host + "\r\nAuthorization: Bearer " + token +
					"\r\nX-Forwarded-Host: " + s.Admin + "\r\nX-Original-URL: /admin\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
			}
			for _, one := range []struct {
				method, token string
				refused       int
			}{{"GET", readOnly, 0}, {"POST", full, 0}, {"POST", readOnly, 403}, {"GET", gatewaytest.OtherToken(full), 401}, {"GET", "", 401}} {
				status, want := test.status, []string{one.method + " " + test.upstream}
				if one.refused != 0 || status != 200 {
					want = nil
				}
				if one.refused != 0 && status == 200 {
					status = one.refused
				}
				if got := rawAll(t, s.Plain, request(one.method, one.token)); !slices.Equal(got, []int{status}) {
					t.Errorf("%s: got the statuses %v, want %d", one.method, got, status)
				}
				if got := s.lines(); !slices.Equal(got, want) {
					t.Errorf("%s: got %q upstream, want %q", one.method, got, want)
				}
			}
		})
	}
}
