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

func TestAuth_errorRoutes(t *testing.T) {
	const echo = `respond "{err.status_code} {err.message} [{http.request.header.X-Workspace-ID}{http.request.header.Authorization}]"`
	own := func(body string) string { return "401 " + body + " []" }
	for _, test := range []struct {
		name, sites, host string
		want              string // the body
		contentType       string
	}{
		{"own route", "http://a.test:{{.Port}} {\n api_key_auth\n handle_errors {\n " + echo + " 401\n }\n}", "a.test", own("no credentials"), "text/plain; charset=utf-8"},
		{"own route for this status", "http://a.test:{{.Port}} {\n api_key_auth\n handle_errors 401 {\n " + echo + " 401\n }\n}", "a.test", own("no credentials"), "text/plain; charset=utf-8"},
		{"own route for a range", "http://a.test:{{.Port}} {\n api_key_auth\n handle_errors 4xx {\n " + echo + " 401\n }\n}", "a.test", own("no credentials"), "text/plain; charset=utf-8"},
		{"own route for another status", "http://a.test:{{.Port}} {\n api_key_auth\n handle_errors 404 5xx {\n " + echo + " 401\n }\n}", "a.test", unauthorized, "application/json"},
		{"own route for another path", "http://a.test:{{.Port}} {\n api_key_auth\n handle_errors {\n @p path /other\n handle @p {\n " + echo + " 401\n }\n }\n}", "a.test", unauthorized, "application/json"},
		{"route of another site", "http://a.test:{{.Port}} {\n api_key_auth\n}\nhttp://b.test:{{.Port}} {\n handle_errors {\n " + echo + " 401\n }\n}", "a.test", unauthorized, "application/json"},
		{"route of this site, not of the other", "http://a.test:{{.Port}} {\n api_key_auth\n handle_errors {\n " + echo + " 401\n }\n}\nhttp://b.test:{{.Port}} {\n handle_errors {\n respond other\n }\n}", "a.test", own("no credentials"), "text/plain; charset=utf-8"},
		{"no route", "http://a.test:{{.Port}} {\n api_key_auth\n}", "a.test", unauthorized, "application/json"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newServer(t)
			if err := load(s.adapt(strings.ReplaceAll(test.sites, "\n api_key_auth", "\n bind 127.0.0.1\n api_key_auth"))); err != nil {
				t.Fatal(err)
			}
			got := s.send("GET /", "Host: "+test.host+"\r\nX-Workspace-ID: evil\r\n")
			got.mustBe(t, 401, test.want)
			got.mustHave(t, "Content-Type", test.contentType)
			got.mustHave(t, "WWW-Authenticate", basicChallenge)
			got.mustHave(t, "Cache-Control", "no-store")
		})
	}
}

// TestAuth_errorRoutesKeepTheRefusal: an error route can word a refusal, but
// neither turn it into a success nor pass on the request.
func TestAuth_errorRoutesKeepTheRefusal(t *testing.T) {
	const toUpstream = "\thandle_errors {\n\t\treverse_proxy {{.Upstream}}\n\t}\n"
	t.Run("the status", func(t *testing.T) {
		s := serve(t, proxied+"\thandle_errors {\n\t\theader Cache-Control public\n\t\trespond fine 200\n\t}\n")
		got := s.send("GET /", "")
		got.mustBe(t, 401, "fine")
		got.mustHave(t, "WWW-Authenticate", basicChallenge)
		got.mustHave(t, "Cache-Control", "no-store")
	})
	t.Run("the status of another server", func(t *testing.T) {
		s := serve(t, proxied+toUpstream)
		s.send("GET /", "").mustBe(t, 401, "ok")
	})
	t.Run("the body", func(t *testing.T) {
		s := serve(t, proxied+toUpstream)
		s.sendBody("POST /", "Content-Length: 4\r\n", "evil").mustBe(t, 401, "ok")
		s.received(t).mustNotHold(t, "evil")
	})
	t.Run("an upgrade", func(t *testing.T) {
		s := serve(t, proxied+toUpstream)
		s.send("GET /", "Connection: Upgrade\r\nUpgrade: websocket\r\n").mustBe(t, 401, "ok")
		if got := s.received(t).Values("Upgrade"); got != nil {
			t.Errorf("got Upgrade %q upstream, want none", got)
		}
	})
	t.Run("trailers of a request that was copied before", func(t *testing.T) {
		s := serve(t, "\ttracing\n"+proxied+toUpstream)
		s.sendBody("POST /", "Transfer-Encoding: chunked\r\nTrailer: X-Workspace-ID\r\n", "1\r\na\r\n0\r\nX-Workspace-ID: evil\r\n\r\n")
		s.received(t).mustNotHold(t, "evil")
	})
}

// TestAuth_failover: an error route can send a request that passed to another server,
// with its body and without the client's trailers.
func TestAuth_failover(t *testing.T) {
	const failing = "\tapi_key_auth\n\treverse_proxy 127.0.0.1:1\n\thandle_errors {\n\t\treverse_proxy {{.Upstream}}\n\t}\n"
	s := serve(t, failing)
	full := s.create(apikey.FullAccess)
	for _, test := range []struct{ name, header, body string }{
		{"no body", "Content-Length: 0\r\n", ""},
		{"a length", "Content-Length: 4\r\n", "body"},
		{"chunks", "Transfer-Encoding: chunked\r\n", "4\r\nbody\r\n0\r\n\r\n"},
		{"declared trailers", "Transfer-Encoding: chunked\r\nTrailer: X-Workspace-ID, X-Sum\r\n", "4\r\nbody\r\n0\r\nX-Workspace-ID: evil\r\nX-Sum: evil\r\n\r\n"},
		{"undeclared trailers", "Transfer-Encoding: chunked\r\n", "4\r\nbody\r\n0\r\nX-Workspace-ID: evil\r\n\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.sendBody("POST /", full.bearer()+test.header, test.body).mustBe(t, 200, "ok")
			got := s.received(t)
			got.mustNotHold(t, "evil")
			if body := test.body != ""; strings.Contains(got.Body, "body") != body {
				t.Errorf("got the body %q upstream, want the client's: %t", got.Body, body)
			}
		})
	}
	t.Run("trailers of a request that was copied before", func(t *testing.T) {
		s := serve(t, "\ttracing\n"+failing)
		s.sendBody("POST /", s.create(apikey.FullAccess).bearer()+"Transfer-Encoding: chunked\r\nTrailer: X-Workspace-ID\r\n", "1\r\na\r\n0\r\nX-Workspace-ID: evil\r\n\r\n").mustBe(t, 502, "")
	})
}

// TestAuth_errorMessages: {err.message} is one of a few sentences, for any request.
func TestAuth_errorMessages(t *testing.T) {
	s := serve(t, "\tapi_key_auth\n\treverse_proxy {{.Upstream}}\n\thandle_errors {\n\t\trespond \"{err.message}\" {err.status_code}\n\t}\n")
	readOnly, old := s.create(apikey.ReadOnly), s.create(apikey.ReadOnly, expired)
	for _, test := range []struct {
		line, header string
		status       int
		want         string
	}{
		{"GET /{env.HOME}", "", 401, "no credentials"},
		{"GET /", "Authorization: Bearer {env.HOME}\r\n", 401, "malformed credentials"},
		{"GET /", old.bearer(), 401, "the token expired"},
		{"POST /", readOnly.bearer(), 403, "the key may only read"},
		{"TRACE /", "", 405, "method not allowed"},
	} {
		got := s.send(test.line, test.header)
		got.mustBe(t, test.status, test.want)
		got.mustHave(t, "Cache-Control", "no-store")
	}
	if err := s.instance().store.Close(); err != nil {
		t.Fatal(err)
	}
	got := s.send("GET /", key{token: apikey.NewToken("agk").Reveal()}.bearer())
	got.mustBe(t, 503, "the key store cannot answer")
	got.mustHave(t, "Retry-After", "1")
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
