package admin

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestBrowsers(t *testing.T) {
	a := newAPI(t)
	own := "Origin: " + a.URL
	for _, test := range []struct {
		fields  []string
		allowed bool
	}{
		{nil, true},
		{[]string{"Sec-Fetch-Site: same-origin", own}, true},
		{[]string{"Sec-Fetch-Site: none"}, true},
		{[]string{own}, true},
		{[]string{"Sec-Fetch-Site: cross-site"}, false},
		{[]string{"Sec-Fetch-Site: same-site"}, false},
		{[]string{"Sec-Fetch-Site: cross-site", own}, false},
		{[]string{"Sec-Fetch-Site: invented"}, false},
		{[]string{"Origin: https://evil.example"}, false},
		{[]string{"Origin: null"}, false},
		{[]string{own + ".evil.example"}, false},
		{[]string{"Host: evil.example", "Origin: https://other.example"}, false},
	} {
		title := strings.Join(test.fields, ", ")
		t.Run(title, func(t *testing.T) {
			a := a
			if test.allowed {
				a.must(t, http.StatusOK, "POST", "/workspaces/acme/resume", "", test.fields...)
			} else {
				a.unchanged(t, func() {
					for _, call := range append(changes(someKey), [2]string{"POST", "/nothing"}) {
						a.refused(t, http.StatusForbidden, "cross_origin", "", call[0], call[1], "{}", test.fields...)
						a.refused(t, http.StatusForbidden, "cross_origin", "", "DELETE", call[1], "", test.fields...)
					}
				})
			}
			// Reads are allowed: no page of another origin can see the response.
			got := a.must(t, http.StatusOK, "GET", keysPage, "", test.fields...)
			for name := range got.header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("got the header %s, want no CORS", name)
				}
			}
		})
	}
}

func TestPinnedMount(t *testing.T) {
	pin := func(c *Config) {
		c.Workspace = func(r *http.Request) string { return r.Header.Get("X-Pin") }
	}
	a := newAPI(t, pin)
	mine := "X-Pin: acme"
	made := a.must(t, http.StatusCreated, "POST", keysPage, zapier, mine)
	id, token := made.body["key"].(map[string]any)["id"].(string), made.body["token"].(string)
	everywhere := []string{"/healthz", "/openapi.json"}
	of := func(ws string) []string {
		at := "/workspaces/" + ws
		return []string{"GET " + at, "GET " + at + "/keys", "POST " + at + "/keys", "GET " + at + "/keys/" + id, "PATCH " + at + "/keys/" + id,
			"GET " + at + "/keys/" + id + "/uses", "GET " + at + "/keys/" + id + "/usage", "GET " + at + "/usage?keys=" + id, "POST " + at + "/keys/" + id + "/rotate", "POST " + at + "/keys/" + id + "/revoke",
			"POST " + at + "/suspend", "POST " + at + "/resume", "POST " + at + "/revoke-all", "GET " + at + "/audit",
			"GET " + at + "/calendar.ics", "POST " + at + "/calendar/feed", "DELETE " + at + "/calendar/feed"}
	}
	ofNone := []string{"GET /audit", "POST /tokens/lookup", "POST /tokens/revoke", "GET /backup", "POST /restore", "POST /import", "GET /doctor", "GET /fleet", "POST /fleet/rekey", "POST /fleet/reconcile", "POST /webhooks/test", "GET /clock", "POST /clock/trust", "GET /suspensions",
		"GET /workspaces", "GET /workspaces?q=acme", "GET /keys", "GET /keys?q=zapier", "GET /keys/" + id, "GET /keys/" + someKey, "GET /keys/none"}
	const variants = 4  // of the last calls
	const elsewhere = 2 // feeds, whose workspace the call looks up, and /mount; see TestFeed_pinned and TestMount
	equal(t, "calls tried", len(of("acme"))+len(ofNone)-variants+len(everywhere)+elsewhere, len(everything()))
	before := len(a.trail(t, "/workspaces/acme/audit", mine))
	for _, test := range []struct {
		pin   string
		calls []string
	}{
		{"acme", append(append(append(of("other"), of("Acme")...), of("%2e%2e")...), ofNone...)},
		{"", append(of("acme"), ofNone...)},
		{"other", append(of("acme"), ofNone...)},
		{"{http.request.header.X}", append(of("acme"), ofNone...)},
	} {
		for _, call := range test.calls {
			method, path, _ := strings.Cut(call, " ")
			// With any body, and before it is read.
			for _, body := range []string{"", `{"token":"` + token + `"}`, `{"workspace_id":"acme"}`, `{`} {
				if method != "GET" || body == "" {
					a.refused(t, http.StatusForbidden, "workspace_mismatch", "", method, path, body, "X-Pin: "+test.pin)
				}
			}
		}
		for _, path := range everywhere {
			a.must(t, http.StatusOK, "GET", path, "", "X-Pin: "+test.pin)
		}
		a.refused(t, http.StatusNotFound, "not_found", "", "GET", "/nothing", "", "X-Pin: "+test.pin)
	}
	equal(t, "events, the refused ones included", len(a.trail(t, "/workspaces/acme/audit", mine)), before)
	bodies := map[string]string{"POST " + keysPage: `{"name":"Another","preset":"read_only"}`, "POST /workspaces/acme/revoke-all": `{"reason":"left"}`}
	for _, call := range of("acme") {
		method, path, _ := strings.Cut(call, " ")
		if got := a.send(t, method, path, bodies[call], mine); got.status >= http.StatusBadRequest {
			t.Errorf("%s: got status %d and %s, want it answered", call, got.status, got.raw)
		}
	}
}

func TestUnauthorized(t *testing.T) {
	var observed []string
	h := New(Config{Observe: func(operation, outcome string) { observed = append(observed, operation+" "+outcome) }})
	unauthorized := held(t, http.HandlerFunc(h.Unauthorized))
	w := httptest.NewRecorder()
	unauthorized.ServeHTTP(w, httptest.NewRequest("GET", "/audit", nil))
	unauthorized.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/nothing", nil))
	equal(t, "observed", observed, []string{"audit unauthorized"})
	equal(t, "status", w.Code, http.StatusUnauthorized)
	equal(t, "challenge", w.Header().Get("WWW-Authenticate"), `Bearer realm="api-keys-admin"`)
	equal(t, "Cache-Control", w.Header().Get("Cache-Control"), "no-store")
	equal(t, "code", object(t, w.Body.String())["code"], "unauthorized")
}
