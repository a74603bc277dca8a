package caddymodule

import (
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// forgeries are requests whose clients claim to be somebody else.
var forgeries = []struct{ name, header, body string }{
	{"one header", "X-Workspace-ID: evil\r\n", ""},
	{"every header", "X-Workspace-ID: evil\r\nX-API-Key-ID: evil\r\nX-API-Key-Access: evil\r\nX-API-Key-Assertion: evil\r\n", ""},
	{"repeated", "X-Workspace-ID: evil\r\nx-workspace-id: evil\r\nX-WORKSPACE-ID: evil\r\n", ""},
	{"empty", "X-Workspace-ID:\r\n", ""},
	{"underscores", "X_Workspace_ID: evil\r\nX-Workspace_ID: evil\r\nx_api-key_id: evil\r\n", ""},
	{"dots", "X.Workspace.ID: evil\r\nx-workspace.id: evil\r\nX.API_Key-Access: evil\r\n", ""},
	{"named in Connection", "Connection: X-Workspace-ID\r\n", ""},
	{"named in Connection in odd case", "Connection: close, x-WORKSPACE-id,X-Api-Key-Id\r\n", ""},
	{"named in several Connections", "Connection: X-Workspace-ID\r\nConnection: keep-alive\r\nconnection: x-api-key-access\r\n", ""},
	{"named in Connection with Upgrade", "Connection: Upgrade, X-Workspace-ID, X-API-Key-ID\r\nUpgrade: foo\r\n", ""},
	{"declared trailer", "Transfer-Encoding: chunked\r\nTrailer: X-Workspace-ID\r\n", "1\r\na\r\n0\r\nX-Workspace-ID: evil\r\n\r\n"},
	{"undeclared trailer", "Transfer-Encoding: chunked\r\n", "1\r\na\r\n0\r\nX-Workspace-ID: evil\r\nX_API_Key_ID: evil\r\n\r\n"},
	{"trailer that te asks for", "TE: trailers\r\nTransfer-Encoding: chunked\r\nTrailer: x-api-key-access\r\n", "0\r\nx-api-key-access: evil\r\n\r\n"},
}

// TestAuth_forgedIdentity checks what the upstream receives, even if Caddy is
// configured to accept odd spellings.
func TestAuth_forgedIdentity(t *testing.T) {
	for _, mode := range []struct {
		name, proxy string
		load        func(*server, string) error
	}{
		{"streamed", "reverse_proxy {{.Upstream}}", (*server).load},
		{"odd spellings let through", "reverse_proxy {{.Upstream}}", loadTolerant},
		{"buffered", "reverse_proxy {{.Upstream}} {\n request_buffers 4KiB\n }", (*server).load},
		{"body limited", "request_body {\n max_size 1MB\n }\n reverse_proxy {{.Upstream}}", (*server).load},
	} {
		t.Run(mode.name, func(t *testing.T) {
			s := newServer(t)
			if err := mode.load(s, "\tapi_key_auth\n\t"+mode.proxy); err != nil {
				t.Fatal(err)
			}
			k := s.create(apikey.FullAccess)
			for _, forgery := range forgeries {
				t.Run(forgery.name, func(t *testing.T) {
					if got := s.sendBody("POST /", k.bearer()+forgery.header, forgery.body); got.Status != 200 {
						t.Fatalf("got %d %s, want 200", got.Status, got.Body)
					}
					received := s.received(t)
					received.mustCarry(t, k)
					received.mustNotHold(t, "evil")
				})
			}
		})
	}
}

// loadTolerant starts a site on a server that accepts header names with underscores
// and dots, and drops the same names with hyphens.
func loadTolerant(s *server, site string) error {
	s.T.Helper()
	config := string(s.config(site))
	config = strings.Replace(config, `"srv0":{`, `"srv0":{"expected_underscore_headers":["X_*","X-Workspace_*"],"expected_dot_headers":["X.*","X-Workspace.*"],`, 1)
	return load([]byte(config))
}

func (r received) mustNotHold(t *testing.T, word string) {
	t.Helper()
	for _, part := range []string{r.Head, r.Body, r.Trailer} {
		if strings.Contains(part, word) {
			t.Errorf("got this upstream, want no %q anywhere:\n%s", word, part)
		}
	}
}

// TestAuth_forgedIdentityInErrorRoutes proxies refused requests from an error
// route, to check what that route sees.
func TestAuth_forgedIdentityInErrorRoutes(t *testing.T) {
	for name, load := range map[string]func(*server, string) error{
		"as Caddy is": (*server).load, "odd spellings let through": loadTolerant,
	} {
		s := newServer(t)
		if err := load(s, proxied+"\thandle_errors {\n\t\treverse_proxy {{.Upstream}}\n\t}\n"); err != nil {
			t.Fatal(err)
		}
		unknown := key{token: apikey.NewToken("agk").Reveal()}
		for _, forgery := range forgeries {
			t.Run(name+"/"+forgery.name, func(t *testing.T) {
				s.sendBody("POST /", unknown.bearer()+forgery.header, forgery.body)
				received := s.received(t)
				received.mustNotHold(t, "evil")
				received.mustNotHold(t, unknown.token)
				for name := range received.Fields() {
					if taken := strings.ToLower(name); strings.Contains(taken, "workspace") || strings.Contains(taken, "api") {
						t.Errorf("got %s in the error route, want no identity", name)
					}
				}
			})
		}
	}
}
