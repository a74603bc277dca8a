package test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// target sends a request whose target is exactly the given bytes, over HTTP/1.1
// or HTTP/2. At status 0 the server took it for no request.
type target struct {
	name string
	send func(t *testing.T, s *server, method, path, token string) gatewaytest.Answer
}

var targets = []target{{"HTTP/1.1", targetH1}, {"HTTP/2", targetH2}}

func targetH1(t *testing.T, s *server, method, path, token string) gatewaytest.Answer {
	t.Helper()
	conn, err := net.DialTimeout("tcp", s.Plain, 5*time.Second)
	must(t, err)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, err = io.WriteString(conn, method+" "+path+" HTTP/1.1\r\nHost: "+s.Plain+"\r\nAuthorization: Bearer "+token+"\r\nContent-Length: 0\r\n\r\n")
	must(t, err)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	body, err := io.ReadAll(response.Body)
	must(t, err)
	return gatewaytest.Answer{Status: response.StatusCode, Proto: 1, Header: response.Header, Body: string(body), Closes: response.Close}
}

func targetH2(t *testing.T, s *server, method, path, token string) gatewaytest.Answer {
	t.Helper()
	f := dialFrames(t, s.Secure)
	got, err := f.answer(f.open(true, ":method", method, ":scheme", "https", ":path", path, ":authority", s.Secure,
		"authorization", "Bearer "+token))
	if r, ok := err.(reset); ok && r.code == http2.ErrCodeProtocol {
		return gatewaytest.Answer{Proto: 2}
	}
	must(t, err)
	return got
}

const readPaths = "read_paths /public/v1/search /public/v1/reports/* /public/v1/caf\u00e9"

// TestReadPaths_clean verifies which POSTs a read-only key may make, and that the upstream
// gets the very path that was judged.
func TestReadPaths_clean(t *testing.T) {
	t.Parallel()
	s := start(t, withOptions(readPaths))
	_, readOnly := s.Create("acme", "Zapier production", "read_only")
	for _, via := range targets {
		for _, path := range []string{
			"/public/v1/search", "/public/v1/search?q=../admin", "/public/v1/search?path=%2e%2e%2fadmin;x",
			"/public/v1/reports/", "/public/v1/reports/2026", "/public/v1/reports/2026/q1/", "/public/v1/reports/a%20b",
			"/public/v1/reports/caf%C3%A9", "/public/v1/caf%C3%A9", "/public/v1/%73earch",
		} {
			t.Run(via.name+path, func(t *testing.T) {
				got := s.wantPassed(t, via.send(t, s, "POST", path, readOnly))
				if want := "POST " + path + " HTTP/1.1"; got.Line() != want {
					t.Errorf("got %q upstream, want %q", got.Line(), want)
				}
			})
		}
	}
}

// TestReadPaths_writes posts with a read-only key to paths that some server
// could take for a read path, or leave it by: they are all writes.
func TestReadPaths_writes(t *testing.T) {
	t.Parallel()
	s := start(t, withOptions(readPaths))
	_, readOnly := s.Create("acme", "Zapier production", "read_only")
	_, full := s.Create("acme", "Warehouse sync", "full_access")
	paths := []struct{ name, path string }{
		{"another path", "/public/v1/contacts"},
		{"the start of one", "/public/v1/searc"},
		{"more than one", "/public/v1/searches"},
		{"below one", "/public/v1/search/x"},
		{"the prefix without its slash", "/public/v1/reports"},
		{"not quite the prefix", "/public/v1/reportsx/1"},
		{"trailing slash", "/public/v1/search/"},
		{"trailing dot", "/public/v1/search/."},
		{"double slash", "/public/v1//search"},
		{"double slash first", "//public/v1/search"},
		{"double slash in the prefix", "/public/v1/reports//x"},
		{"double slash last", "/public/v1/reports/x//"},
		{"dot", "/public/v1/./search"},
		{"out and in", "/public/v1/x/../search"},
		{"out of the prefix", "/public/v1/reports/../contacts"},
		{"out of the prefix at its end", "/public/v1/reports/.."},
		{"out and in again", "/public/v1/reports/../reports/x"},
		{"encoded dots", "/public/v1/reports/%2e%2e/contacts"},
		{"encoded dots, upper case", "/public/v1/reports/%2E%2E/contacts"},
		{"one encoded dot", "/public/v1/reports/.%2e/contacts"},
		{"an encoded dot in a name", "/public/v1/reports/a%2ejson"},
		{"full-width dots", "/public/v1/reports/%EF%BC%8E%EF%BC%8E/contacts"},
		{"small dots", "/public/v1/reports/%EF%B9%92%EF%B9%92/contacts"},
		{"full-width slashes", "/public/v1/reports/%EF%BC%8F..%EF%BC%8Fcontacts"},
		{"full-width backslash", "/public/v1/reports/x%EF%BC%BCy"},
		{"full-width semicolon", "/public/v1/reports/x%EF%BC%9By"},
		{"full-width percent", "/public/v1/reports/x%EF%BC%852e"},
		{"division slash", "/public/v1/reports/..%E2%88%95contacts"},
		{"a fraction", "/public/v1/reports/%C2%BD"},
		{"dots before a space", "/public/v1/reports/..%20/contacts"},
		{"dots after a space", "/public/v1/reports/%20../contacts"},
		{"three dots", "/public/v1/reports/.../contacts"},
		{"a dot at the end of a name", "/public/v1/search."},
		{"encoded slash", "/public/v1/reports/..%2fcontacts"},
		{"encoded slash, upper case", "/public/v1/reports/x%2Fy"},
		{"encoded slash in the read path", "/public/v1%2fsearch"},
		{"encoded backslash", "/public/v1/reports/..%5ccontacts"},
		{"encoded backslash, upper case", "/public/v1/reports/x%5Cy"},
		{"backslash", `/public/v1/reports/..\contacts`},
		{"backslash in the read path", `/public/v1\search`},
		{"path parameter", "/public/v1/search;x"},
		{"path parameter in the prefix", "/public/v1/reports/..;/contacts"},
		{"encoded path parameter", "/public/v1/reports/..%3b/contacts"},
		{"upper case", "/public/v1/SEARCH"},
		{"upper case in the prefix", "/Public/v1/reports/x"},
		{"encoded twice", "/public/v1/reports/%252e%252e/contacts"},
		{"encoded twice, slash", "/public/v1/reports/..%252fcontacts"},
		{"encoded percent", "/public/v1/reports/100%25"},
		{"encoded NUL", "/public/v1/search%00"},
		{"encoded NUL in the prefix", "/public/v1/reports/x%00.json"},
		{"encoded line feed", "/public/v1/reports/x%0aDELETE"},
		{"encoded space", "/public/v1/search%20"},
		{"encoded tab", "/public/v1/reports/x%09"},
		{"encoded DEL", "/public/v1/reports/x%7f"},
		{"overlong dot", "/public/v1/reports/%c0%ae%c0%ae/contacts"},
		{"overlong slash", "/public/v1/reports/..%c0%afcontacts"},
		{"not UTF-8", "/public/v1/reports/caf%e9"},
		{"encoded question mark", "/public/v1/search%3fx"},
		{"encoded number sign", "/public/v1/search%23"},
	}
	for _, via := range targets {
		for _, test := range paths {
			t.Run(via.name+"/"+test.name, func(t *testing.T) {
				s.wantRefused(t, via.send(t, s, "POST", test.path, readOnly), 403, forbidden, needsWrite)
				if got := via.send(t, s, "GET", test.path, readOnly); got.Status != 200 {
					t.Errorf("got status %d for a GET, want 200", got.Status)
				}
				if got := via.send(t, s, "POST", test.path, full); got.Status != 200 {
					t.Errorf("got status %d with full access, want 200", got.Status)
				}
				received := s.Upstream.Take()
				if len(received) != 2 {
					t.Errorf("got %d requests upstream, want the GET and the POST with full access", len(received))
				}
				for _, got := range received {
					if !strings.Contains(got.Line(), strings.ReplaceAll(test.path, `\`, "%5C")) {
						t.Errorf("got %q upstream, want the path %q", got.Line(), test.path)
					}
				}
			})
		}
		for _, path := range []string{"/public/v1/search\x00", "/public/v1/reports/\x00", "/public/v1/search\x7f", "/public/v1/%zz", "/public/v1/search%", "public/v1/search"} {
			t.Run(via.name+"/no target at all: "+path, func(t *testing.T) {
				got := via.send(t, s, "POST", path, readOnly)
				if got.Status != 400 && got.Status != 0 {
					t.Errorf("got status %d, want 400 or no answer", got.Status)
				}
				s.wantNothing(t)
			})
		}
	}
}

// TestReadPaths_otherPath names another path in a header, as some frameworks
// obey it: what was judged as a search could be anything. Such a POST is a write,
// and the header stays behind, even from a key and in a request that may write.
func TestReadPaths_otherPath(t *testing.T) {
	t.Parallel()
	plain := withOptions(readPaths)
	// Where a site has Caddy let such spellings through, it drops those with "-".
	tolerant := strings.Replace(plain, "\tdebug\n", `	debug
	servers {
		expected_underscore_headers X_* X-Original_* Path_Info SCRIPT_NAME
		expected_dot_headers X.*
	}
`, 1)
	for _, test := range []struct {
		config  string
		arrives bool
		names   []string
	}{
		{plain, false, []string{
			"X-Original-URL", "X-Rewrite-URL", "X-Original-URI", "X-Forwarded-Uri", "X-Forwarded-Path", "X-Forwarded-URL",
			"X-Original-Path", "X-Request-URI", "X-Override-URL", "X-HTTP-Path-Override", "Path-Info", "x-original-uri", "X~Original~URI",
			"X-Astro-Path", "X-MS-Original-URL", "X-WAWS-Unencoded-URL", "X-Now-Route-Matches", "X-Matched-Path", "X-Invoke-Path", "X-Envoy-Original-Path",
		}},
		{tolerant, false, []string{"X_Original_URI", "X.Original.URI", "X-Original_Uri", "X_Forwarded~Uri", "Path_Info"}},
		{plain, true, []string{"X-Forwarded-Prefix", "X-Script-Name", "X~Script~Name", "X-Forwarded-Script-Name", "X-Traversal-Path"}},
		{tolerant, true, []string{"X_Forwarded_Prefix", "SCRIPT_NAME"}},
	} {
		s := start(t, test.config)
		_, full := s.Create("acme", "Warehouse sync", "full_access")
		_, readOnly := s.Create("acme", "Zapier production", "read_only")
		for _, name := range test.names {
			for _, c := range s.Clients(t) {
				t.Run(c.Name+"/"+name, func(t *testing.T) {
					s.wantOtherPath(t, c, name, test.arrives, full, readOnly)
				})
			}
		}
	}
}

// wantOtherPath sends a header that names another path.
func (s *server) wantOtherPath(t *testing.T, c gatewaytest.Client, name string, arrives bool, full, readOnly string) {
	t.Helper()
	const search = "/public/v1/search"
	send := func(method, token string) gatewaytest.Answer {
		return c.Send(t, method, search, strings.NewReader("{}"), append(bearer(token), name, "/evil")...)
	}
	s.wantRefused(t, send("POST", readOnly), 403, forbidden, needsWrite)
	for token, method := range map[string]string{full: "POST", readOnly: "GET"} {
		got := s.wantPassed(t, send(method, token))
		if want := method + " " + search + " HTTP/1.1"; got.Line() != want {
			t.Errorf("got %q upstream, want %q", got.Line(), want)
		}
		if arrived := strings.Contains(got.Head, "/evil"); arrived != arrives {
			t.Errorf("got %q upstream, want %s there: %t", got.Head, name, arrives)
		}
	}
}

// TestReadPaths_onlyPost verifies that a read path makes reads of POSTs alone.
func TestReadPaths_onlyPost(t *testing.T) {
	t.Parallel()
	s := start(t, withOptions(readPaths))
	_, readOnly := s.Create("acme", "Zapier production", "read_only")
	for _, via := range targets {
		for _, method := range []string{"PUT", "PATCH", "DELETE", "post", "QUERY"} {
			for _, path := range []string{"/public/v1/search", "/public/v1/reports/x"} {
				s.wantRefused(t, via.send(t, s, method, path, readOnly), 403, forbidden, needsWrite)
			}
		}
	}
	for _, c := range s.Clients(t) {
		fields := append(bearer(readOnly), "X-Http-Method-Override", "DELETE")
		s.wantRefused(t, c.Send(t, "POST", "/public/v1/search", nil, fields...), 403, forbidden, needsWrite)
		s.wantPassed(t, c.Send(t, "POST", "/public/v1/search", strings.NewReader("q=x"), bearer(readOnly)...))
	}
}
