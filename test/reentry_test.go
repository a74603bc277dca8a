package test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// reentryGlobal begins the configurations of TestReentry.
const reentryGlobal = `{
	admin {{.Admin}}
	api_keys {
		store badger {
			path {{.Store}}
		}
	}
}
`

// TestReentry verifies that the check does not run itself without end: where it refuses
// within routes that it, or another handler, has run, it answers.
func TestReentry(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, config string }{
		{"error routes", `http://{{.Plain}} {
	api_key_auth
	respond inside
	handle_errors {
		api_key_auth
		respond errors
	}
}`},
		{"error routes that are invoked", `&(guarded) {
	api_key_auth
	respond inside
}
http://{{.Plain}} {
	invoke guarded
	handle_errors {
		invoke guarded
	}
}`},
		{"error routes with an error of their own", `http://{{.Plain}} {
	api_key_auth
	respond inside
	handle_errors {
		route {
			error 500
			api_key_auth
		}
	}
}`},
		{"an upstream's answer", `http://{{.Plain}} {
	reverse_proxy {{.Upstream}} {
		handle_response {
			api_key_auth
			respond inside
		}
	}
	handle_errors {
		api_key_auth
	}
}`},
		{"an intercepted answer", `http://{{.Plain}} {
	intercept {
		handle_response {
			api_key_auth
			respond inside
		}
	}
	api_key_auth
	respond inside
	handle_errors {
		api_key_auth
	}
}`},
		{"the admin API in error routes", `http://{{.Plain}} {
	api_key_auth
	respond inside
	handle_errors {
		api_key_auth
		api_key_admin {
			token only-a-test-would-use-this-token
		}
	}
}`},
		{"error routes within routes", `{"admin":{"listen":"{{.Admin}}"},"apps":{
	"api_keys":{"store":{"module":"badger","path":"{{.Store}}"}},
	"http":{"servers":{"s":{"listen":["{{.Plain}}"],
		"routes":[{"handle":[{"handler":"subroute",
			"routes":[{"handle":[{"handler":"error","status_code":404}]}],
			"errors":{"routes":[{"handle":[{"handler":"subroute",
				"routes":[{"handle":[{"handler":"error","status_code":500}]}],
				"errors":{"routes":[{"handle":[{"handler":"api_key_auth"}]}]}}]}]}}]}],
		"errors":{"routes":[{"handle":[{"handler":"api_key_auth"}]}]}}}}}}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			if strings.HasPrefix(test.config, "{") {
				s.Cmd = s.Command("run", "--config", s.Write("caddy.json", test.config))
				s.Launch()
			} else {
				s.Run(reentryGlobal + test.config)
			}
			s.AwaitReady()
			c := gatewaytest.Client{Name: "HTTP/1.1", Base: "http://" + s.Plain, Client: &http.Client{Timeout: 10 * time.Second}}
			for _, body := range []string{"", "hello", strings.Repeat("x", 300000)} {
				got := c.Send(t, "POST", "/", strings.NewReader(body))
				if got.Status != 401 || got.Body != unauthorized {
					t.Errorf("got %d %q to a body of %d bytes, want 401 %q", got.Status, got.Body, len(body), unauthorized)
				}
				wantRefusal(t, got, nil)
			}
		})
	}
}

// TestErrorRoutes_ofOthers verifies that the check judges as usual in a route for an error
// that is not its own.
func TestErrorRoutes_ofOthers(t *testing.T) {
	t.Parallel()
	s := start(t, reentryGlobal+`http://{{.Plain}} {
	reverse_proxy 127.0.0.1:1
	handle_errors {
		api_key_auth
		respond "{err.status_code} for {http.api_key.workspace_id}" {err.status_code}
	}
}`)
	_, token := s.Create("acme", "Warehouse sync", "full_access")
	c := s.Clients(t)[0]
	got := c.Send(t, "GET", contacts, nil)
	s.wantRefused(t, got, 401, unauthorized, challenge)
	if got := c.Send(t, "GET", contacts, nil, bearer(token)...); got.Status != 502 || got.Body != "502 for acme" {
		t.Errorf("got %d %q with a good key, want 502 for its workspace", got.Status, got.Body)
	}
}

// TestErrorRoutes_identity verifies that error routes send an upstream no identity: what
// they answer does not end with the key. It does where they have an api_key_auth, which
// identifies the key again.
func TestErrorRoutes_identity(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, check string
		want        []string
	}{
		{"unchecked", "", nil},
		{"checked", "api_key_auth", []string{"acme"}},
	} {
		fallback := "reverse_proxy 127.0.0.1:1\n\thandle_errors {\n\t\t" + tt.check + "\n\t\treverse_proxy {{.Upstream}}\n\t}"
		s := start(t, strings.Replace(gatewayConfig, "reverse_proxy {{.Upstream}}", fallback, 1))
		_, token := s.Create("acme", "Zapier production", "full_access")
		for _, c := range s.Clients(t) {
			t.Run(tt.name+"/"+c.Name, func(t *testing.T) {
				received := s.wantPassed(t, c.Send(t, "DELETE", contacts, nil, append(bearer(token), "X-Workspace-ID", "evil")...))
				if got := received.Values("X-Workspace-ID"); !slices.Equal(got, tt.want) {
					t.Errorf("got the workspace %q upstream, want %q", got, tt.want)
				}
				for _, name := range []string{"X-API-Key-ID", "X-API-Key-Access"} {
					if got := received.Values(name); len(got) != len(tt.want) {
						t.Errorf("got %s %q upstream, want %d", name, got, len(tt.want))
					}
				}
			})
		}
	}
}
