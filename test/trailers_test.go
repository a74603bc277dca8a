package test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// trailerNames speak of a key's end, which is the gateway's to say.
var trailerNames = []string{"Deprecation", "Sunset", "X-API-Key-Expires"}

// TestTrailers has an upstream speak of the key's end in the trailers of its
// answer, whether it has declared them or not, and whether the gateway says
// something itself. None of that reaches the client; other trailers do.
func TestTrailers(t *testing.T) {
	t.Parallel()
	upstream := newTrailing(t)
	const trailers = "deprecation: @1\r\nSunset: never\r\nX-API-KEY-EXPIRES: never\r\nX-Sum: 1\r\n\r\n"
	const body = "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n" + trailers
	for _, from := range []struct{ name, proxy, answer string }{
		{"HTTP/1.1, declared", "{{.Upstream}}", "HTTP/1.1 200 OK\r\nTrailer: Deprecation, Sunset,x-api-key-expires, X-Sum\r\n" + body},
		{"HTTP/1.1, declared on two lines", "{{.Upstream}}", "HTTP/1.1 200 OK\r\nTrailer: Deprecation, X-Sum\r\nTrailer: Sunset, X-API-Key-Expires\r\n" + body},
		{"HTTP/1.1, declared in part", "{{.Upstream}}", "HTTP/1.1 200 OK\r\nTrailer: X-Sum, Sunset\r\n" + body},
		{"HTTP/1.1, not declared", "{{.Upstream}}", "HTTP/1.1 200 OK\r\n" + body},
		{"HTTP/2, declared", "h2c://" + upstream, "declared"},
		{"HTTP/2, not declared", "h2c://" + upstream, ""},
	} {
		t.Run(from.name, func(t *testing.T) {
			s := start(t, strings.Replace(gatewayConfig, "reverse_proxy {{.Upstream}}", "reverse_proxy "+from.proxy, 1))
			s.Upstream.AnswerWith(from.answer)
			ending := createEnding(t, s)
			_, quiet := s.Create("acme", "Nothing to say", "full_access")
			for _, c := range s.Clients(t) {
				for name, test := range map[string]struct {
					token string
					says  int
				}{"the gateway says something": {ending, 1}, "it says nothing": {quiet, 0}} {
					t.Run(c.Name+"/"+name, func(t *testing.T) {
						wantKeyEndHeaders(t, c, from.answer, test.token, test.says)
					})
				}
			}
		})
	}
}

// wantKeyEndHeaders checks that an answer has the headers about the key's end so many
// times in its header, and never in its trailers.
func wantKeyEndHeaders(t *testing.T, c gatewaytest.Client, asks, token string, times int) {
	t.Helper()
	request, err := http.NewRequest("GET", c.Base+contacts, nil)
	must(t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	if asks == "declared" {
		request.Header.Set("X-Declared", "yes")
	}
	response, err := c.Do(request)
	must(t, err)
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); response.StatusCode != 200 || string(body) != "ok" {
		t.Fatalf("got %d %q (%v), want the upstream's answer", response.StatusCode, body, err)
	}
	if got := response.Trailer.Get("X-Sum"); got != "1" {
		t.Errorf("got the trailer X-Sum %q, want the upstream's: the trailers are %q", got, response.Trailer)
	}
	for _, name := range trailerNames {
		if got, ok := response.Trailer[http.CanonicalHeaderKey(name)]; ok {
			t.Errorf("got %s %q as a trailer, want none", name, got)
		}
		if got := response.Header.Values(name); len(got) != times {
			t.Errorf("got %s %q in the header, want it %d times", name, got, times)
		}
	}
}

// newTrailing returns the address of an upstream that speaks HTTP/2 without TLS,
// and ends its answers with trailers.
func newTrailing(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	server := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		prefix := http.TrailerPrefix
		if r.Header.Get("X-Declared") != "" {
			prefix = ""
			w.Header().Set("Trailer", "X-Sum, "+strings.Join(trailerNames, ", "))
		}
		_, _ = io.WriteString(w, "ok")
		_ = http.NewResponseController(w).Flush()
		for _, name := range trailerNames {
			w.Header().Set(prefix+name, "never")
		}
		w.Header().Set(prefix+"X-Sum", "1")
	})}
	server.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return listener.Addr().String()
}
