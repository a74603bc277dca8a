package test

import (
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

const (
	needsWrite       = challenge + `, error="insufficient_scope", scope="write"`
	methodNotAllowed = `{"error":"Method Not Allowed."}`
	contacts         = "/public/v1/contacts"
)

func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

// wantRefused checks a refusal, and that the upstream saw nothing of it.
func (s *server) wantRefused(t *testing.T, got gatewaytest.Answer, status int, body, challenge string) {
	t.Helper()
	if got.Status != status || got.Body != body {
		t.Errorf("got %d %q, want %d %q", got.Status, got.Body, status, body)
	}
	if got := got.Header.Get("WWW-Authenticate"); got != challenge {
		t.Errorf("got WWW-Authenticate %q, want %q", got, challenge)
	}
	wantRefusal(t, got, s.Upstream.Take())
}

// wantNothing checks that nothing reached the upstream.
func (s *server) wantNothing(t *testing.T) {
	t.Helper()
	for _, received := range s.Upstream.Take() {
		t.Errorf("the upstream received a request that should not have passed:\n%s", received.Head)
	}
}

// wantPassed checks an answer of the upstream, and returns the one request that
// it received.
func (s *server) wantPassed(t *testing.T, got gatewaytest.Answer) gatewaytest.Received {
	t.Helper()
	if got.Status != 200 {
		t.Fatalf("got %d %q, want 200 from the upstream", got.Status, got.Body)
	}
	received := s.Upstream.Take()
	if len(received) != 1 {
		t.Fatalf("the upstream received %d requests, want 1", len(received))
	}
	return received[0]
}

// TestMethods_readOnlyNeverWrites sends with a read-only key every method that
// could change something: known ones, those that look like a read and are none,
// and those that nobody has thought of.
func TestMethods_readOnlyNeverWrites(t *testing.T) {
	t.Parallel()
	s := start(t, gatewayConfig)
	_, full := s.Create("acme", "Warehouse sync", "full_access")
	_, readOnly := s.Create("acme", "Zapier production", "read_only")
	methods := []string{
		"POST", "PUT", "PATCH", "DELETE", "PROPPATCH", "MKCOL", "MOVE", "QUERY", "SEARCH", "LINK",
		"get", "Get", "head", "GETT", "XGET", "INVENTED", "G-E-T",
	}
	for _, c := range s.Clients(t) {
		for _, method := range methods {
			t.Run(c.Name+"/"+method, func(t *testing.T) {
				s.wantRefused(t, c.Send(t, method, contacts, nil, bearer(readOnly)...), 403, forbidden, needsWrite)
				got := s.wantPassed(t, c.Send(t, method, contacts, nil, bearer(full)...))
				if want := method + " " + contacts + " HTTP/1.1"; got.Line() != want {
					t.Errorf("with full access: got %q upstream, want %q", got.Line(), want)
				}
			})
		}
	}
}

// TestMethods_reads verifies what a read-only key may do.
func TestMethods_reads(t *testing.T) {
	t.Parallel()
	s := start(t, gatewayConfig)
	_, readOnly := s.Create("acme", "Zapier production", "read_only")
	for _, c := range s.Clients(t) {
		for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
			t.Run(c.Name+"/"+method, func(t *testing.T) {
				s.wantPassed(t, c.Send(t, method, contacts, nil, bearer(readOnly)...))
			})
		}
		t.Run(c.Name+"/a GET with a body is a read", func(t *testing.T) {
			got := s.wantPassed(t, c.Send(t, "GET", contacts, strings.NewReader(`{"delete":true}`), bearer(readOnly)...))
			if want := `{"delete":true}`; got.Body != want {
				t.Errorf("got the body %q upstream, want %q", got.Body, want)
			}
		})
		t.Run(c.Name+"/a remembered read lets no write through", func(t *testing.T) {
			for range 3 {
				s.wantPassed(t, c.Send(t, "GET", contacts, nil, bearer(readOnly)...))
				s.wantRefused(t, c.Send(t, "POST", contacts, nil, bearer(readOnly)...), 403, forbidden, needsWrite)
			}
		})
	}
}

// TestMethods_override asks for another method in a header, as frameworks
// offer it: a read that an upstream would take for a write.
func TestMethods_override(t *testing.T) {
	t.Parallel()
	s := start(t, gatewayConfig)
	_, full := s.Create("acme", "Warehouse sync", "full_access")
	_, readOnly := s.Create("acme", "Zapier production", "read_only")
	names := []string{
		"X-Http-Method-Override", "X-HTTP-Method-Override", "x-http-method-override", "X-HTTP-METHOD-OVERRIDE",
		"X-Http-Method", "x-http-method", "X-Method-Override", "x-METHOD-override",
		"X-HTTP-Verb-Override", "X-Forwarded-Method", "X-Original-Method",
		"X-Method", "X-REST-Method", "X-Override-Method", "X-Requested-Method", "Method-Override", "X~HTTP-Verb~Override", "x-original~method",
	}
	for _, c := range s.Clients(t) {
		for _, name := range names {
			for _, value := range []string{"DELETE", "delete", "GET", "", "\t POST", "POST, GET"} {
				t.Run(c.Name+"/"+name+"="+value, func(t *testing.T) {
					fields := []string{name, value}
					s.wantRefused(t, c.Send(t, "GET", contacts, nil, append(fields, bearer(readOnly)...)...), 403, forbidden, needsWrite)
					s.wantNoOverride(t, s.wantPassed(t, c.Send(t, "GET", contacts, nil, append(fields, bearer(full)...)...)))
				})
			}
		}
	}
}

// TestMethods_overrideInDisguise spells such a header with "_" or ".". Caddy
// drops it; where a site has it kept, the gateway sees it.
func TestMethods_overrideInDisguise(t *testing.T) {
	t.Parallel()
	names := []string{"X_HTTP_Method_Override", "X-Http_Method-Override", "X.Http.Method", "X_Method_Override", "X_HTTP_Verb_Override"}
	kept := strings.Replace(gatewayConfig, "\tdebug\n", `	debug
	servers {
		expected_underscore_headers X_HTTP_Method_Override X-Http_Method-Override X_Method_Override X_HTTP_Verb_Override
		expected_dot_headers X.Http.Method
	}
`, 1)
	for _, site := range []struct {
		name, config string
		dropped      bool
	}{{"dropped", gatewayConfig, true}, {"kept", kept, false}} {
		s := start(t, site.config)
		_, full := s.Create("acme", "Warehouse sync", "full_access")
		_, readOnly := s.Create("acme", "Zapier production", "read_only")
		for _, c := range s.Clients(t) {
			for _, name := range names {
				t.Run(site.name+"/"+c.Name+"/"+name, func(t *testing.T) {
					fields := []string{name, "DELETE"}
					got := c.Send(t, "GET", contacts, nil, append(fields, bearer(readOnly)...)...)
					if site.dropped {
						s.wantNoOverride(t, s.wantPassed(t, got))
					} else {
						s.wantRefused(t, got, 403, forbidden, needsWrite)
					}
					s.wantNoOverride(t, s.wantPassed(t, c.Send(t, "GET", contacts, nil, append(fields, bearer(full)...)...)))
				})
			}
		}
	}
}

// wantNoOverride checks that the upstream got a plain GET.
func (s *server) wantNoOverride(t *testing.T, got gatewaytest.Received) {
	t.Helper()
	if want := "GET " + contacts + " HTTP/1.1"; got.Line() != want {
		t.Errorf("got %q upstream, want %q", got.Line(), want)
	}
	for _, word := range []string{"override", "method"} {
		if strings.Contains(strings.ToLower(got.Head), word) {
			t.Errorf("got %q upstream, want no override", got.Head)
		}
	}
}

// TestMethods_custom verifies that read_methods are compared exactly, and replace the
// default.
func TestMethods_custom(t *testing.T) {
	t.Parallel()
	s := start(t, withOptions("read_methods GET QUERY PROPFIND"))
	_, readOnly := s.Create("acme", "Zapier production", "read_only")
	for _, c := range s.Clients(t) {
		for method, passes := range map[string]bool{
			"GET": true, "QUERY": true, "PROPFIND": true,
			"HEAD": false, "OPTIONS": false, "query": false, "PROPFINDX": false, "POST": false,
		} {
			t.Run(c.Name+"/"+method, func(t *testing.T) {
				got := c.Send(t, method, contacts, nil, bearer(readOnly)...)
				if passes {
					s.wantPassed(t, got)
					return
				}
				body := forbidden
				if method == "HEAD" {
					body = ""
				}
				s.wantRefused(t, got, 403, body, needsWrite)
			})
		}
	}
}

// TestMethods_asterisk pins that Go answers OPTIONS * itself: with or without
// credentials, with nothing, and without the upstream. Any other method is
// judged as with any other target.
func TestMethods_asterisk(t *testing.T) {
	t.Parallel()
	s := start(t, gatewayConfig)
	_, readOnly := s.Create("acme", "Zapier production", "read_only")
	for _, via := range targets {
		t.Run(via.name, func(t *testing.T) {
			for _, token := range []string{readOnly, gatewaytest.OtherToken(readOnly)} {
				if got := via.send(t, s, "OPTIONS", "*", token); got.Status != 200 || got.Body != "" {
					t.Errorf("got %d %q for OPTIONS *, want 200 and nothing", got.Status, got.Body)
				}
				s.wantNothing(t)
			}
			s.wantRefused(t, via.send(t, s, "POST", "*", readOnly), 403, forbidden, needsWrite)
			s.wantRefused(t, via.send(t, s, "GET", "*", gatewaytest.OtherToken(readOnly)), 401, unauthorized, invalidToken)
			if got, want := s.wantPassed(t, via.send(t, s, "GET", "*", readOnly)).Line(), "GET * HTTP/1.1"; got != want {
				t.Errorf("got %q upstream, want %q", got, want)
			}
		})
	}
}
