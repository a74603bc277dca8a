package test

import (
	"net/http"
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

// TestReentry holds that the check does not run itself without end: where it
// refuses within routes that it, or another handler, has run, it answers.
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
				wantRefusalHeaders(t, got)
			}
		})
	}
}

// TestErrorRoutes_ofOthers holds that the check judges as usual in a route for an
// error that is not its own.
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
