package test

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// TestOptions_headers holds the names that a site can choose, in odd case.
func TestOptions_headers(t *testing.T) {
	t.Parallel()
	s := start(t, withOptions("workspace_header x-TENANT-id", "key_id_header X-key", "access_header X-May", `realm "My API"`, "forward_token"))
	key, token := s.Create("acme", "Warehouse sync", "full_access")
	for _, c := range s.Clients(t) {
		t.Run(c.Name, func(t *testing.T) {
			fields := append(bearer(token), "X-Tenant-Id", "evil", "x-tenant-ID", "evil", "X_Tenant_Id", "evil", "X-Key", "evil", "X-May", "evil",
				"X-Workspace-Id", "evil", "X-Api-Key-Id", "evil", "X-Api-Key-Access", "evil")
			received := s.wantPassed(t, c.Send(t, "GET", contacts, nil, fields...))
			for name, want := range map[string][]string{
				"X-Tenant-ID": {"acme"}, "X-Key": {key.ID}, "X-May": {"full_access"}, "Authorization": {"Bearer " + token},
				"X-Workspace-ID": nil, "X-API-Key-ID": nil, "X-API-Key-Access": nil,
			} {
				if got := received.Values(name); !slices.Equal(got, want) {
					t.Errorf("got %s %q upstream, want %q", name, got, want)
				}
			}
			s.wantRefused(t, c.Send(t, "GET", contacts, nil), 401, unauthorized, `Bearer realm="My API"`)
			s.wantRefused(t, c.Send(t, "GET", contacts, nil, "Authorization", "Bearer"), 401, unauthorized, `Bearer realm="My API", error="invalid_token"`)
		})
	}
}

// TestPlaceholders verifies what other directives can say of the key.
func TestPlaceholders(t *testing.T) {
	t.Parallel()
	config := strings.Replace(gatewayConfig, "\tapi_key_auth\n", `	api_key_auth
	header {
		Seen-Id {http.api_key.id}
		Seen-Workspace {http.api_key.workspace_id}
		Seen-Name {http.api_key.name}
		Seen-Access {http.api_key.access}
		Seen-User {http.auth.user.id}
		defer
	}
`, 1)
	s := start(t, config)
	key, token := s.Create("acme", "Zapier {env.HOME} {http.api_key.id}", "read_only")
	for _, c := range s.Clients(t) {
		t.Run(c.Name, func(t *testing.T) {
			got := c.Send(t, "GET", contacts, nil, bearer(token)...)
			s.wantPassed(t, got)
			for name, want := range map[string]string{
				"Seen-Id": key.ID, "Seen-Workspace": "acme", "Seen-Name": key.Name, "Seen-Access": "read_only", "Seen-User": key.ID,
			} {
				if got := got.Header.Get(name); got != want {
					t.Errorf("got %s %q, want %q", name, got, want)
				}
			}
			refused := c.Send(t, "POST", contacts, nil, bearer(token)...)
			s.wantRefused(t, refused, 403, forbidden, needsWrite)
			if got := refused.Header.Get("Seen-Id"); got == key.ID {
				t.Errorf("got the key's id %q on a refusal, want none", got)
			}
		})
	}
}

// access is what the gateway adds to a line of the access log.
type access struct {
	Logger      string `json:"logger"`
	Result      string `json:"api_key_result"`
	KeyID       string `json:"api_key_id"`
	WorkspaceID string `json:"workspace_id"`
}

// awaitAccess returns the line of the access log for a path.
func (s *server) awaitAccess(path string) (entry access) {
	s.T.Helper()
	s.Await("the access log", func() bool {
		for line := range strings.Lines(s.Log.String()) {
			if !strings.Contains(line, `"uri":"`+path+`"`) {
				continue
			}
			entry = access{}
			if json.Unmarshal([]byte(line), &entry) == nil && strings.HasPrefix(entry.Logger, "http.log.access") {
				return true
			}
		}
		return false
	})
	return entry
}

// TestErrorRoutes verifies that a site can word refusals itself, and that their status and
// what a client acts on stay; and that a site whose error routes are for other errors
// answers as if it had none.
func TestErrorRoutes(t *testing.T) {
	t.Parallel()
	const page = "\n\thandle_errors%STATUS% {\n\t\theader Content-Type text/html\n\t\trespond \"<h1>{err.status_code}</h1> {err.message} {http.request.header.X-Workspace-ID}\"\n\t}\n}\n"
	sites := []struct {
		name, status string
		own          func(status int) bool
	}{
		{"all errors", "", func(int) bool { return true }},
		{"other errors", " 404 5xx", func(int) bool { return false }},
		{"some errors", " 401 429", func(status int) bool { return status == 401 || status == 429 }},
	}
	for _, site := range sites {
		config := strings.TrimSuffix(withOptions("rate_limit read 1 10m"), "\n}\n") + strings.Replace(page, "%STATUS%", site.status, 1)
		s := start(t, config)
		for _, c := range s.Clients(t) {
			_, full := s.Create("acme", "Sync over "+strings.Map(dashed, c.Name), "full_access")
			_, readOnly := s.Create("acme", "Reader over "+strings.Map(dashed, c.Name), "read_only")
			ended := "closed-" + strings.Map(dashed, c.Name)
			_, suspended := s.Create(ended, "Sync", "full_access")
			s.Post("/workspaces/" + ended + "/suspend")
			c.Send(t, "GET", contacts, nil, bearer(full)...)
			s.Upstream.Take()
			for _, test := range []struct {
				name, method string
				fields       []string
				status       int
				body         string
				challenge    string
				shown        string
			}{
				{"no credentials", "GET", nil, 401, unauthorized, challenge, "no credentials"},
				{"unknown", "GET", bearer(gatewaytest.OtherToken(full)), 401, unauthorized, invalidToken, "unknown token"},
				{"preflight", "OPTIONS", append(bearer(full), "Origin", "https://evil.example", "Access-Control-Request-Method", "POST"), 401, unauthorized, challenge, "a preflight is not answered"},
				{"suspended", "GET", bearer(suspended), 403, forbidden, "", "the workspace is suspended"},
				{"browser", "GET", append(bearer(full), "Sec-Fetch-Site", "cross-site"), 403, forbidden, "", "a key must not be used from a browser"},
				{"read only", "POST", bearer(readOnly), 403, forbidden, needsWrite, "the key may only read"},
				{"method", "TRACE", bearer(full), 405, methodNotAllowed, "", "method not allowed"},
				{"early data", "POST", append(bearer(full), "Early-Data", "1"), 425, tooEarly, "", "a write in early data"},
				{"over the limit", "GET", bearer(full), 429, tooMany, "", "over the rate limit"},
			} {
				t.Run(site.name+"/"+c.Name+"/"+test.name, func(t *testing.T) {
					got := c.Send(t, test.method, contacts, nil, append(test.fields, "X-Workspace-Id", "evil")...)
					body, kind := test.body, "application/json"
					if site.own(test.status) {
						body, kind = "<h1>"+strconv.Itoa(test.status)+"</h1> "+test.shown+" ", "text/html"
					}
					if got.Status != test.status || got.Body != body {
						t.Errorf("got %d %q, want %d %q", got.Status, got.Body, test.status, body)
					}
					for name, want := range map[string]string{"Content-Type": kind, "Cache-Control": "no-store", "WWW-Authenticate": test.challenge} {
						if got := got.Header.Get(name); got != want {
							t.Errorf("got %s %q, want %q", name, got, want)
						}
					}
					if got := got.Header.Get("Retry-After"); (got != "") != (test.status == 429) {
						t.Errorf("got Retry-After %q on a %d", got, test.status)
					}
					if got := got.Header.Get("Allow"); (got != "") != (test.status == 405) {
						t.Errorf("got Allow %q on a %d", got, test.status)
					}
					for name := range got.Header {
						if strings.HasPrefix(name, "Access-Control-") {
							t.Errorf("got %s, want no CORS headers", name)
						}
					}
					s.wantNothing(t)
				})
			}
		}
	}
}

// TestUpstreamAnswers verifies that what the upstream answers stays as it is, also where a
// refusal of the gateway would have headers of the same name.
func TestUpstreamAnswers(t *testing.T) {
	t.Parallel()
	s := start(t, withOptions("rate_limit read 1000 1m"))
	_, token := s.Create("acme", "Warehouse sync", "full_access")
	s.Upstream.SetFields("Cache-Control: max-age=60\r\nWWW-Authenticate: Basic realm=\"upstream\"\r\nRetry-After: 7\r\nAllow: GET\r\n" +
		"RateLimit: \"upstream\";r=9;t=9\r\nX-Workspace-ID: of-the-upstream\r\n")
	for _, c := range s.Clients(t) {
		t.Run(c.Name, func(t *testing.T) {
			got := c.Send(t, "GET", contacts, nil, bearer(token)...)
			s.wantPassed(t, got)
			for name, want := range map[string]string{
				"Content-Type": "text/plain", "Cache-Control": "max-age=60", "WWW-Authenticate": `Basic realm="upstream"`,
				"Retry-After": "7", "Allow": "GET", "X-Workspace-ID": "of-the-upstream", "X-API-Key-ID": "", "X-API-Key-Access": "",
			} {
				if got := strings.Join(got.Header.Values(name), ", "); got != want {
					t.Errorf("got %s %q, want %q", name, got, want)
				}
			}
			// It is a list (RFC 9651), and each has its own limit.
			if got := got.Header.Values("RateLimit"); len(got) != 2 || !strings.HasPrefix(got[0], `"read";r=`) || got[1] != `"upstream";r=9;t=9` {
				t.Errorf("got RateLimit %q, want the gateway's and the upstream's", got)
			}
		})
	}
}
