package test

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// mountConfig has the admin API on both of its mounts. {{.Dir}} is the server's
// folder.
const mountConfig = `{
	admin {{.Admin}}
	skip_install_trust
	api_keys {
		store badger {
			path {{.Store}}
		}
	}
}
http://{{.Plain}} {
	handle /token/* {
		api_key_admin {
			base_path /token
			token {env.TEST_ADMIN_TOKEN}
		}
	}
	handle /file/* {
		api_key_admin {
			base_path /file
			token_file admin-token
		}
	}
	handle /trusted/* {
		api_key_admin {
			base_path /trusted
			trust_upstream_auth
			actor {http.request.header.X-Person}
		}
	}
	handle /pinned/* {
		api_key_admin {
			base_path /pinned
			trust_upstream_auth
			workspace {http.request.header.X-Workspace}
		}
	}
	handle {
		api_key_auth
		reverse_proxy {{.Upstream}}
	}
}
`

// TestMounts verifies who may call the admin API at each of its mounts, and that all of
// them serve the same keys.
func TestMounts(t *testing.T) {
	t.Parallel()
	const token = "an-admin-token-of-the-test"
	s := newServer(t)
	s.Env = []string{"TEST_ADMIN_TOKEN=" + token}
	must(t, os.WriteFile(s.Dir+"/admin-token", []byte(token+"\n"), 0o600))
	s.Run(mountConfig)
	s.AwaitReady()
	key, dataPlane := s.Create("acme", "Warehouse sync", "full_access")
	show := "/workspaces/acme/keys/" + key.ID
	site := gatewaytest.Client{Name: "HTTP/1.1", Base: "http://" + s.Plain, Client: http.DefaultClient}
	endpoint := gatewaytest.Client{Name: "the admin endpoint", Base: "http://" + s.Admin, Client: http.DefaultClient}

	tests := []struct {
		name   string
		client gatewaytest.Client
		path   string
		fields []string
		status int
		code   string
	}{
		{"the admin endpoint", endpoint, "/api-keys" + show, nil, 200, ""},
		{"a foreign origin at the admin endpoint", endpoint, "/api-keys" + show, []string{"Origin", "http://evil.example"}, 403, ""},
		{"the token", site, "/token" + show, []string{"Authorization", "Bearer " + token}, 200, ""},
		{"the token's file", site, "/file" + show, []string{"Authorization", "Bearer " + token}, 200, ""},
		{"no token", site, "/token" + show, nil, 401, "unauthorized"},
		{"no token, for health", site, "/token/healthz", nil, 401, "unauthorized"},
		{"a wrong token", site, "/token" + show, []string{"Authorization", "Bearer " + token + "x"}, 401, "unauthorized"},
		{"the token twice", site, "/token" + show, []string{"Authorization", "Bearer " + token, "Authorization", "Bearer " + token}, 401, "unauthorized"},
		{"a data-plane key", site, "/token" + show, []string{"Authorization", "Bearer " + dataPlane}, 401, "unauthorized"},
		{"trusted", site, "/trusted" + show, nil, 200, ""},
		{"pinned to the workspace", site, "/pinned" + show, []string{"X-Workspace", "acme"}, 200, ""},
		{"pinned to another", site, "/pinned" + show, []string{"X-Workspace", "globex"}, 403, "workspace_mismatch"},
		{"pinned to none", site, "/pinned" + show, nil, 403, "workspace_mismatch"},
		{"pinned, for all", site, "/pinned/audit", []string{"X-Workspace", "acme"}, 403, "workspace_mismatch"},
		{"pinned, for health", site, "/pinned/healthz", nil, 200, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := test.client.Send(t, "GET", test.path, nil, test.fields...)
			if got.Status != test.status || !strings.Contains(got.Body, test.code) {
				t.Errorf("got %d %s, want %d with %q", got.Status, got.Body, test.status, test.code)
			}
			if test.client.Name == site.Name && got.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("got Cache-Control %q, want no-store", got.Header.Get("Cache-Control"))
			}
		})
	}

	t.Run("who did it", func(t *testing.T) {
		trusted := &client.Client{BaseURL: "http://" + s.Plain + "/trusted", HTTP: &http.Client{Transport: person{"ada@example.com"}}}
		answer, err := trusted.CreateKey(t.Context(), "acme", client.CreateRequest{Name: "Made on the page", Preset: "read_only"})
		must(t, err)
		if got := answer.Key.CreatedBy; got != "ada@example.com" {
			t.Errorf("got a key created by %q, want ada@example.com", got)
		}
	})
}

// person names itself in every request.
type person struct{ name string }

func (p person) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Person", p.name)
	return http.DefaultTransport.RoundTrip(r)
}
