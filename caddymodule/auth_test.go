package caddymodule

import (
	"strings"
	"sync"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

const (
	proxied = "\tapi_key_auth\n\treverse_proxy {{.Upstream}}\n"

	unauthorized     = `{"error":"Unauthorized."}`
	forbidden        = `{"error":"Forbidden."}`
	basicChallenge   = `Bearer realm="api"`
	invalidChallenge = `Bearer realm="api", error="invalid_token"`
)

// bodies are the bodies of the gateway's own responses.
var bodies = map[int]string{
	401: unauthorized,
	403: forbidden,
	405: `{"error":"Method Not Allowed."}`,
	500: `{"error":"Internal Server Error."}`,
	503: `{"error":"Service Unavailable."}`,
}

// TestAuth_storeClosed checks the response while the store is closed.
func TestAuth_storeClosed(t *testing.T) {
	s := serve(t, proxied)
	if err := s.instance().store.Close(); err != nil {
		t.Fatal(err)
	}
	got := s.send("GET /", key{token: apikey.NewToken("agk").Reveal()}.bearer())
	got.mustBe(t, 503, bodies[503])
	got.mustHave(t, "WWW-Authenticate", "")
	got.mustHave(t, "Content-Type", "application/json")
	got.mustHave(t, "Cache-Control", "no-store")
	got.mustHave(t, "Retry-After", "1")
	s.Upstream.WantNothing(t)
}

func (a answer) mustBe(t *testing.T, status int, body string) {
	t.Helper()
	if a.Status != status || a.Body != body {
		t.Errorf("got %d %q, want %d %q", a.Status, a.Body, status, body)
	}
}

// mustHave checks for exactly one value of a header, or none if it is "".
func (a answer) mustHave(t *testing.T, name, want string) {
	t.Helper()
	got := a.Header.Values(name)
	if want == "" && len(got) == 0 || len(got) == 1 && got[0] == want && want != "" {
		return
	}
	t.Errorf("got %s %q, want %q", name, got, want)
}

// TestAuth_oddOverrides: an override header counts in any spelling that Caddy is
// configured to accept.
func TestAuth_oddOverrides(t *testing.T) {
	s := newServer(t)
	if err := loadTolerant(s, proxied); err != nil {
		t.Fatal(err)
	}
	full, readOnly := s.create(apikey.FullAccess), s.create(apikey.ReadOnly)
	for _, override := range []string{"x_http_method_override: DELETE\r\n", "X.HTTP.Method:\r\n", "X_METHOD-OVERRIDE: GET\r\n"} {
		s.send("GET /", readOnly.bearer()+override).mustBe(t, 403, forbidden)
		s.Upstream.WantNothing(t)
		if got := s.send("GET /", full.bearer()+override); got.Status != 200 {
			t.Errorf("%q: got %d, want 200", override, got.Status)
		}
		for name := range s.received(t).Fields() {
			if strings.Contains(strings.ToLower(name), "method") {
				t.Errorf("%q: got %s upstream, want no override", override, name)
			}
		}
	}
}

// mustCarry checks for the identity of a key, exactly once, and no credentials.
func (r received) mustCarry(t *testing.T, k key) {
	t.Helper()
	r.mustCarryAs(t, "X-Workspace-Id", k.WorkspaceID)
	r.mustCarryAs(t, "X-Api-Key-Id", k.ID)
	r.mustCarryAs(t, "X-Api-Key-Access", string(k.Preset))
	if got := r.Values("Authorization"); len(got) > 0 {
		t.Error("got an Authorization header upstream, want none")
	}
}

// mustCarryAs checks for one value of a header over all spellings of its name.
func (r received) mustCarryAs(t *testing.T, name, want string) {
	t.Helper()
	if got := r.Values(name); len(got) != 1 || got[0] != want {
		t.Errorf("got %s %q upstream, want only %q", name, got, want)
	}
}

// TestAuth_unreadBody: a refusal does not wait for a body that is never sent.
func TestAuth_unreadBody(t *testing.T) {
	s := serve(t, proxied)
	for header, closes := range map[string]bool{ // whether the response announces it
		"Content-Length: 1000000\r\n":                    true,
		"Content-Length: 10\r\n":                         false,
		"Transfer-Encoding: chunked\r\n":                 false,
		"Content-Length: 10\r\nExpect: 100-continue\r\n": true,
	} {
		got := s.send("POST /", header)
		got.mustBe(t, 401, unauthorized)
		if got.Closes != closes {
			t.Errorf("%q: got Connection: close %v, want %v", header, got.Closes, closes)
		}
	}
	s.Upstream.WantNothing(t)
}

func TestAuth_placeholders(t *testing.T) {
	s := serve(t, "\tapi_key_auth\n\trespond \"{http.api_key.id} {http.api_key.workspace_id} {http.api_key.name} {http.api_key.access} {http.auth.user.id}.\"\n")
	k := s.create(apikey.ReadOnly, func(k *apikey.Key) { k.Name = "{env.HOME} {http.api_key.id}" })
	want := k.ID + " acme {env.HOME} {http.api_key.id} read_only " + k.ID + "."
	s.send("GET /", k.bearer()).mustBe(t, 200, want)
}

func TestAuth_configuredHeaders(t *testing.T) {
	s := newServer(t)
	if err := loadTolerant(s, "\tapi_key_auth {\n\t\tworkspace_header x-TENANT\n\t\tkey_id_header x-kEY\n\t\taccess_header acCESS\n\t}\n\treverse_proxy {{.Upstream}}"); err != nil {
		t.Fatal(err)
	}
	k := s.create(apikey.FullAccess)
	if got := s.send("GET /", k.bearer()+"X-Tenant: evil\r\nx-tenant: evil\r\nX_TENANT: evil\r\nX.Key: evil\r\nAccess: evil\r\nX-Workspace-ID: evil\r\nX_API_Key_ID: evil\r\nConnection: X-Tenant, access\r\n"); got.Status != 200 {
		t.Fatalf("got %d, want 200", got.Status)
	}
	received := s.received(t)
	received.mustNotHold(t, "evil")
	received.mustCarryAs(t, "X-Tenant", "acme")
	received.mustCarryAs(t, "X-Key", k.ID)
	received.mustCarryAs(t, "Access", "full_access")
}

func TestAuth_forwardToken(t *testing.T) {
	s := serve(t, "\tapi_key_auth {\n\t\tforward_token\n\t}\n\treverse_proxy {{.Upstream}}\n")
	k := s.create(apikey.FullAccess)
	if got := s.send("GET /", k.bearer()); got.Status != 200 {
		t.Fatalf("got %d, want 200", got.Status)
	}
	s.received(t).mustCarryAs(t, "Authorization", "Bearer "+k.token)
}

func TestAuth_options(t *testing.T) {
	s := serve(t, "\tapi_key_auth {\n\t\trealm \"the API\"\n\t\tread_methods GET PROPFIND\n\t\tbrowsers allow\n\t}\n\treverse_proxy {{.Upstream}}\n")
	k := s.create(apikey.ReadOnly)
	s.send("GET /", "").mustHave(t, "WWW-Authenticate", `Bearer realm="the API"`)
	for line, status := range map[string]int{"PROPFIND /": 200, "GET /": 200, "HEAD /": 403, "OPTIONS /": 403} {
		if got := s.send(line, k.bearer()+"Sec-Fetch-Site: same-origin\r\n"); got.Status != status {
			t.Errorf("%s: got %d %s, want %d", line, got.Status, got.Body, status)
		}
	}
	got := s.send("OPTIONS /", "Origin: https://a.test\r\nAccess-Control-Request-Method: GET\r\n")
	got.mustBe(t, 401, unauthorized)
}

// TestAuth_log: the access log says who and why, and no log at any level contains a
// token that was sent in a header that Caddy redacts.
func TestAuth_log(t *testing.T) {
	s := serve(t, "\tapi_key_auth {\n\t\tforward_token\n\t}\n\treverse_proxy {{.Upstream}}\n\thandle_errors 5xx {\n\t\trespond oops\n\t}\n")
	full, readOnly := s.create(apikey.FullAccess), s.create(apikey.ReadOnly)
	unknown := key{token: apikey.NewToken("agk").Reveal()}
	for i, test := range []struct {
		line, header string
		want         map[string]any
	}{
		{"GET /", full.bearer(), map[string]any{"api_key_result": "allowed", "api_key_id": full.ID, "workspace_id": "acme", "user_id": full.ID}},
		{"POST /", readOnly.bearer(), map[string]any{"api_key_result": "read_only", "api_key_id": readOnly.ID, "workspace_id": "acme"}},
		{"GET /", unknown.bearer(), map[string]any{"api_key_result": "unknown", "api_key_id": nil, "workspace_id": nil}},
		{"GET /", "", map[string]any{"api_key_result": "missing", "api_key_id": nil}},
		{"GET /", full.bearer() + full.bearer(), map[string]any{"api_key_result": "malformed", "api_key_id": nil}},
	} {
		s.send(test.line, test.header)
		line := s.accessLog(i + 1)[i]
		for field, want := range test.want {
			if line[field] != want {
				t.Errorf("%s: got %s %v in the log, want %v", test.line, field, line[field], want)
			}
		}
	}
	if err := s.instance().store.Close(); err != nil {
		t.Fatal(err)
	}
	s.send("GET /", unknown.bearer())
	if got := s.accessLog(6)[5]["api_key_result"]; got != "unavailable" {
		t.Errorf("got result %v, want unavailable", got)
	}
	log := string(s.logged())
	if !strings.Contains(log, `"level":"debug"`) {
		t.Error("got no debug line in the log: this proves nothing")
	}
	for _, k := range []key{full, readOnly, unknown} {
		if strings.Contains(log, k.token) || strings.Contains(log, k.token[4:40]) {
			t.Errorf("got a token in the log, want none")
		}
	}
}

// TestAuth_editedHeaders: a later handler may edit the identity headers, which
// Caddy does in place, without affecting other requests.
func TestAuth_editedHeaders(t *testing.T) {
	s := serve(t, "\troute {\n\t\tapi_key_auth\n\t\trequest_header X-Workspace-ID acme edited\n\t\trequest_header X-API-Key-Access full edited\n\t\treverse_proxy {{.Upstream}}\n\t}\n")
	k := s.create(apikey.FullAccess)
	const clients, each = 8, 20
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range each {
				if got := s.send("GET /", k.bearer()); got.Status != 200 {
					t.Errorf("got %d, want 200", got.Status)
				}
			}
		})
	}
	wg.Wait()
	all := s.Upstream.Take()
	if len(all) != clients*each {
		t.Errorf("got %d requests upstream, want %d", len(all), clients*each)
	}
	for _, one := range all {
		received := received{one}
		received.mustCarryAs(t, "X-Workspace-Id", "edited")
		received.mustCarryAs(t, "X-Api-Key-Access", "edited_access")
		received.mustCarryAs(t, "X-Api-Key-Id", k.ID)
	}
}
