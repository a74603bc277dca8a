package test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// wantNobody checks that requests which error routes have passed on say nothing about whose
// key they had. (Each block that ends a request runs the error routes.)
func wantNobody(t *testing.T, s *server, token string) {
	t.Helper()
	all := s.Upstream.Take()
	if len(all) == 0 {
		t.Fatal("the upstream of the error routes received nothing, want a request")
	}
	for _, received := range all {
		head := strings.ToLower(received.Head)
		for _, part := range []string{"workspace", "api-key", "x-outer", "acme", strings.ToLower(token)} {
			if strings.Contains(head, part) {
				t.Errorf("got %q in what they received, want no identity and no token:\n%s", part, received.Head)
			}
		}
	}
}

// withErrorRoutes returns gatewayConfig with other handlers, and error routes that ask the
// upstream.
func withErrorRoutes(handlers string) string {
	return strings.Replace(gatewayConfig, "api_key_auth\n\treverse_proxy {{.Upstream}}", handlers+"\nhandle_errors {\nreverse_proxy {{.Upstream}}\n}", 1)
}

// TestErrorRoutes_ended verifies that error routes which answer for a request whose key has
// ended meanwhile do so in nobody's name.
func TestErrorRoutes_ended(t *testing.T) {
	t.Parallel()
	asked, late := make(chan struct{}), make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-late
	}))
	defer upstream.Close()
	proxy := "reverse_proxy " + upstream.Listener.Addr().String()
	for _, tt := range []struct{ name, handlers string }{
		{"one block", "api_key_auth\n" + proxy},
		{"two blocks", "route {\napi_key_auth {\nworkspace_header X-Outer\n}\napi_key_auth\n" + proxy + "\n}"},
	} {
		s := startRaced(t, withErrorRoutes(tt.handlers))
		for _, c := range s.Clients(t) {
			for _, method := range []string{"GET", "DELETE"} {
				t.Run(tt.name+"/"+c.Name+"/"+method, func(t *testing.T) {
					key, token := s.Create("acme", method+" over "+c.Name, "full_access")
					answers := make(chan gatewaytest.Answer, 1)
					go func() { answers <- c.Send(t, method, contacts, nil, bearer(token)...) }()
					<-asked
					s.Revoke(key)
					time.Sleep(promised)
					late <- struct{}{}
					if got := <-answers; got.Status != 401 {
						t.Errorf("got %d %q, want the 401 of a revoked key", got.Status, got.Body)
					}
					wantNobody(t, s, token)
				})
			}
		}
	}
}

// TestErrorRoutes_refusedLater verifies that error routes which answer for a refusal by the
// second block do not see what the first one said of the key, nor the token.
func TestErrorRoutes_refusedLater(t *testing.T) {
	t.Parallel()
	s := start(t, withErrorRoutes(`route {
		api_key_auth {
			workspace_header X-Outer-Workspace
			key_id_header X-Outer-Key
			access_header X-Outer-Access
			forward_token
			assertion {
				issuer https://outer.example
				audience outer
				header X-Outer-Assertion
			}
		}
		api_key_auth {
			forward_token
			rate_limit write 1 1h
		}
		reverse_proxy {{.Upstream}}
	}`))
	for _, c := range s.Clients(t) {
		_, token := s.Create("acme", "Writes twice over "+c.Name, "full_access")
		s.wantPassed(t, c.Send(t, "DELETE", contacts, nil, bearer(token)...))
		if got := c.Send(t, "DELETE", contacts, nil, bearer(token)...); got.Status != 429 {
			t.Errorf("%s: got %d %q, want the 429 of the second block", c.Name, got.Status, got.Body)
		}
		wantNobody(t, s, token)
	}
}
