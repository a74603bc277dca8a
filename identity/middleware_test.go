package identity_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/identity"
)

// seen is what an upstream's own code finds in a request.
type seen struct {
	header  http.Header
	trailer http.Header
	claims  identity.Claims
	known   bool
}

// upstream is a server behind a verifier, which says what got through.
func upstream(t *testing.T, v *identity.Verifier) (address string, got chan seen) {
	t.Helper()
	got = make(chan seen, 1)
	server := httptest.NewServer(v.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		s := seen{header: r.Header, trailer: r.Trailer}
		s.claims, s.known = identity.FromContext(r.Context())
		got <- s
	})))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), got
}

// exchange sends a request as it stands, and returns the response.
func exchange(t *testing.T, address, request string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response
}

func (c requestCase) text() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s HTTP/1.1\r\nHost: upstream\r\n", c.Method, c.Target)
	for _, header := range c.Headers {
		fmt.Fprintf(&text, "%s: %s\r\n", header[0], header[1])
	}
	return text.String() + "\r\n"
}

func TestMiddleware(t *testing.T) {
	keys := serveKeys(t, bothKeys())
	for _, c := range requestCases() {
		t.Run(c.Name, func(t *testing.T) {
			var log bytes.Buffer
			options := []identity.Option{identity.WithLogger(slog.New(slog.NewTextHandler(&log, nil)))}
			names := [3]string{identity.WorkspaceHeader, identity.KeyIDHeader, identity.AccessHeader}
			proof := "X-Api-Key-Assertion"
			if c.Renamed {
				names, proof = renamedHeaders, renamedAssertion
				options = append(options, identity.WithHeaderNames(names[0], names[1], names[2]), identity.WithAssertionHeader(renamedAssertion))
			}
			if c.Binding {
				options = append(options, identity.WithBinding())
			}
			address, got := upstream(t, keys.verifier(t, options...))
			response := exchange(t, address, c.text())
			if strings.Contains(log.String(), "eyJ") {
				t.Errorf("the log contains a token:\n%s", &log)
			}
			if c.Refused != "" {
				wantRefusal(t, response, 401, proof, `{"error":"Unauthorized."}`)
				if !strings.Contains(log.String(), ": "+c.Refused+`"`) {
					t.Errorf("the log does not say %q:\n%s", c.Refused, &log)
				}
				select {
				case s := <-got:
					t.Errorf("it reached the upstream: %v", s)
				default:
				}
				return
			}
			if response.StatusCode != 200 || log.Len() > 0 {
				t.Fatalf("got status %d, want 200:\n%s", response.StatusCode, &log)
			}
			s := <-got
			wantIdentity(t, s, names, *c.Identity)
			if values := s.header.Values(proof); len(values) != 1 {
				t.Errorf("got the assertions %q, want one", values)
			}
		})
	}
}

// wantIdentity checks that exactly the assertion's values reached the upstream.
func wantIdentity(t *testing.T, got seen, names, want [3]string) {
	t.Helper()
	all := identity.NewHeaders(append(names[:], identity.WorkspaceHeader, identity.KeyIDHeader, identity.AccessHeader)...)
	found := 0
	for name := range got.header {
		if all.Match(name) {
			found++
		}
	}
	if found != 3 {
		t.Errorf("got %d identity headers, want 3: %v", found, got.header)
	}
	for i, name := range names {
		if values := got.header.Values(name); !slices.Equal(values, want[i:i+1]) {
			t.Errorf("%s: got %q, want %q", name, values, want[i])
		}
	}
	if says := [3]string{got.claims.WorkspaceID, got.claims.KeyID, got.claims.Access}; !got.known || says != want {
		t.Errorf("the context says %q, want %q", says, want)
	}
	for _, value := range got.header["Connection"] {
		if strings.Contains(value, "Workspace") {
			t.Errorf("the upstream received Connection: %s", value)
		}
	}
}

func wantRefusal(t *testing.T, response *http.Response, status int, scheme, body string) {
	t.Helper()
	got, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != status || string(got) != body {
		t.Errorf("got status %d and %s (%v), want %d and %s", response.StatusCode, got, err, status, body)
	}
	want := map[string]string{"Content-Type": "application/json", "Cache-Control": "no-store", "WWW-Authenticate": scheme, "Retry-After": ""}
	if status == 503 {
		want["Retry-After"] = "10"
	}
	for name, value := range want {
		if got := response.Header.Get(name); got != value {
			t.Errorf("%s: got %q, want %q", name, got, value)
		}
	}
}

func TestMiddleware_withoutKeys(t *testing.T) {
	keys := serveKeys(t, "")
	keys.status.Store(500)
	address, got := upstream(t, keys.verifier(t))
	response := exchange(t, address, requestCase{Method: "GET", Target: "/", Headers: [][2]string{{"X-API-Key-Assertion", token(nil)}}}.text())
	wantRefusal(t, response, 503, "", `{"error":"Service Unavailable."}`)
	// What is not an assertion at all needs no keys.
	response = exchange(t, address, requestCase{Method: "GET", Target: "/"}.text())
	wantRefusal(t, response, 401, "X-Api-Key-Assertion", `{"error":"Unauthorized."}`)
	if len(got) > 0 {
		t.Error("a request reached the upstream")
	}
}

func TestMiddleware_trailers(t *testing.T) {
	address, got := upstream(t, serveKeys(t, bothKeys()).verifier(t))
	exchange(t, address, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Workspace-ID\r\n"+
		"X-API-Key-Assertion: "+token(nil)+"\r\n\r\n3\r\nabc\r\n0\r\nX-Workspace-ID: globex\r\nX-API-Key-ID: key_2\r\n\r\n")
	if s := <-got; len(s.trailer) > 0 || s.header.Get("X-Workspace-ID") != "acme" {
		t.Errorf("got the trailers %v and the header %v, want no trailers", s.trailer, s.header)
	}
}

// However many requests are refused, the log has few lines, which say how many.
func TestMiddleware_logFlood(t *testing.T) {
	var log bytes.Buffer
	keys := serveKeys(t, bothKeys())
	v, clock := keys.verifier(t, identity.WithLogger(slog.New(slog.NewTextHandler(&log, nil)))), &movable{}
	v.SetClock(clock.now)
	handler := v.Middleware(http.NotFoundHandler())
	flood := func(n int, assertions ...string) {
		for range n {
			for _, a := range assertions {
				r := httptest.NewRequest("GET", "/", nil)
				r.Header.Set(identity.AssertionHeader, a)
				handler.ServeHTTP(httptest.NewRecorder(), r)
			}
		}
	}
	flood(500, "x", token(bind("POST", "/other")))
	if got := strings.Count(log.String(), "\n"); got != 2 {
		t.Errorf("got %d lines for two reasons, want one for each:\n%s", got, &log)
	}
	clock.move(identity.LogInterval)
	flood(1, "x")
	if got := strings.Count(log.String(), "\n"); got != 3 || !strings.Contains(log.String(), "more_since_last=499") {
		t.Errorf("got %d lines, want a third one that says how many more there were:\n%s", got, &log)
	}
}

// A prefix that was taken from the path before does not change what is compared.
func TestMiddleware_stripPrefix(t *testing.T) {
	v := serveKeys(t, bothKeys()).verifier(t)
	inner := v.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) }))
	server := httptest.NewServer(http.StripPrefix("/public", inner))
	defer server.Close()
	response := exchange(t, server.Listener.Addr().String(), requestCase{
		Method: "GET", Target: "/public/v1?x", Headers: [][2]string{{"X-API-Key-Assertion", token(bind("GET", "/public/v1"))}},
	}.text())
	if body, _ := io.ReadAll(response.Body); response.StatusCode != 200 || string(body) != "/v1" {
		t.Errorf("got %d and %q, want 200 and /v1", response.StatusCode, body)
	}
}

// A request that an upstream's own test has made has no request line.
func TestMiddleware_requestsOfTests(t *testing.T) {
	v := serveKeys(t, bothKeys()).verifier(t)
	r, err := http.NewRequest("GET", "http://upstream/a%2Fb?q", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(identity.AssertionHeader, token(bind("GET", "/a%2Fb")))
	w := httptest.NewRecorder()
	v.Middleware(http.NotFoundHandler()).ServeHTTP(w, r)
	if w.Code != 404 {
		t.Errorf("got %d, want the 404 of the next handler", w.Code)
	}
}

func TestFromContext_otherRequests(t *testing.T) {
	if claims, ok := identity.FromContext(t.Context()); ok || claims != (identity.Claims{}) {
		t.Errorf("got %+v from a context without an identity", claims)
	}
}
