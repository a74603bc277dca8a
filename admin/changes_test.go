package admin

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// limited serves a mount that is pinned to "acme" and allows a number of changes.
func limited(t *testing.T, most int, change ...func(*Config)) (a *api, counted *[]string) {
	t.Helper()
	counted = new([]string)
	pin := func(c *Config) {
		c.Rules.MaxActiveKeys = 100
		c.Workspace = func(*http.Request) string { return "acme" }
		c.CountChange = func(ws string) time.Duration {
			if len(*counted) == most {
				return 1500 * time.Millisecond
			}
			*counted = append(*counted, ws)
			return 0
		}
	}
	return newAPI(t, append(change, pin)...), counted
}

// Every call that would change something counts, with any outcome; reads do not.
func TestChanges_counted(t *testing.T) {
	a, counted := limited(t, 100)
	id, _ := a.create(t, "acme", "Zapier")
	for i, test := range []struct {
		status             int
		method, path, body string
		counts             int
	}{
		{409, "POST", keysPage, `{"name":"Zapier","preset":"read_only"}`, 1},
		{422, "POST", keysPage, `{"name":"x","preset":"read_only"}`, 1},
		{400, "POST", keysPage, `{`, 1},
		{200, "PATCH", keysPage + "/" + id, `{"owner":"Kim"}`, 1},
		{200, "POST", "/workspaces/acme/suspend", "", 1},
		{200, "POST", "/workspaces/acme/resume", "", 1},
		{201, "POST", "/workspaces/acme/calendar/feed", "", 1},
		{200, "DELETE", "/workspaces/acme/calendar/feed", "", 1},
		{201, "POST", keysPage + "/" + id + "/rotate", "", 1},
		{200, "POST", keysPage + "/" + id + "/revoke", "", 1},
		{200, "POST", "/workspaces/acme/revoke-all", `{"reason":"left"}`, 1},
		{403, "POST", "/workspaces/globex/suspend", "", 0},
		{403, "POST", "/tokens/lookup", `{"token":"x"}`, 0},
		{200, "GET", keysPage, "", 0},
		{200, "GET", "/workspaces/acme", "", 0},
		{200, "GET", "/workspaces/acme/audit", "", 0},
		{200, "GET", "/mount", "", 0},
		{405, "PUT", keysPage, "", 0},
	} {
		before := len(*counted)
		a.must(t, test.status, test.method, test.path, test.body)
		equal(t, fmt.Sprintf("%d: %s %s: changes", i, test.method, test.path), len(*counted)-before, test.counts)
	}
}

// Beyond the limit nothing can be changed, except to end access.
func TestChanges_tooMany(t *testing.T) {
	a, _ := limited(t, 2)
	id, _ := a.create(t, "acme", "Zapier")
	a.create(t, "acme", "Billing")
	events := func() int {
		return len(a.must(t, http.StatusOK, "GET", "/workspaces/acme/audit", "").body["events"].([]any))
	}
	before := events()
	for _, call := range [][3]string{
		{"POST", keysPage, zapier}, {"PATCH", keysPage + "/" + id, `{"owner":"Kim"}`}, {"POST", keysPage + "/" + id + "/rotate", ""},
		{"POST", "/workspaces/acme/suspend", ""}, {"POST", "/workspaces/acme/resume", ""},
		{"POST", "/workspaces/acme/calendar/feed", ""}, {"DELETE", "/workspaces/acme/calendar/feed", ""},
	} {
		got := a.refused(t, http.StatusTooManyRequests, "too_many_changes", "", call[0], call[1], call[2])
		equal(t, call[1]+": Retry-After", got.header.Get("Retry-After"), "2")
	}
	// Revoking what does not exist leaves no event either.
	a.refused(t, http.StatusNotFound, "not_found", "", "POST", keysPage+"/"+someKey+"/revoke", "")
	equal(t, "events", events(), before)

	a.must(t, http.StatusOK, "POST", keysPage+"/"+id+"/revoke", "")
	equal(t, "revoked", a.must(t, http.StatusOK, "POST", "/workspaces/acme/revoke-all", `{"reason":"left"}`).body, confirmed(t, object(t, `{"revoked":1}`), 4))
	equal(t, "events", events(), before+2)
}

// Mounts for all workspaces have no limit.
func TestChanges_onlyWherePinned(t *testing.T) {
	a := newAPI(t, func(c *Config) { c.CountChange = func(string) time.Duration { return time.Hour } })
	a.create(t, "acme", "Zapier")
}

// A page of another origin cannot make a browser send an expensive call.
func TestExpensive_crossSite(t *testing.T) {
	a := newAPI(t)
	for _, path := range []string{"/backup", "/doctor"} {
		get := func(fields ...string) int {
			r, _ := http.NewRequest("GET", a.URL+path, nil)
			for _, site := range fields {
				r.Header.Set("Sec-Fetch-Site", site)
			}
			response, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			return response.StatusCode
		}
		for _, site := range []string{"cross-site", "same-site", "anything"} {
			a.refused(t, http.StatusForbidden, "cross_origin", "", "GET", path, "", "Sec-Fetch-Site: "+site)
		}
		for _, site := range []string{"same-origin", "none"} {
			equal(t, path+" for "+site, get(site), http.StatusOK)
		}
		equal(t, path, get(), http.StatusOK)
	}
	a.must(t, http.StatusOK, "GET", "/audit", "", "Sec-Fetch-Site: cross-site")
	events := a.must(t, http.StatusOK, "GET", "/audit", "").body["events"].([]any)
	equal(t, "events of backups", len(events), 3)
}

// The claimed identity of an unauthorized caller is ignored, and does not hide log
// lines about others.
func TestRefusal_unauthorized(t *testing.T) {
	core, logged := observer.New(zap.InfoLevel)
	var h *Handler
	newAPI(t, func(c *Config) {
		c.Refusals = zap.New(core)
		h = New(*c)
	})
	post := func(serve http.HandlerFunc, path, body string) {
		r := httptest.NewRequest("POST", path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		serve(httptest.NewRecorder(), r)
	}
	for i := range 50 {
		post(h.Unauthorized, fmt.Sprintf("/workspaces/acme%d/keys", i), zapier)
	}
	post(h.ServeHTTP, keysPage, `{"name":"x","preset":"read_only"}`)
	of := make(map[string]int)
	for _, line := range logged.All() {
		fields := line.ContextMap()
		code := fields["refused"].(string)
		of[code]++
		if _, has := fields["actor"]; has == (code == "unauthorized") {
			t.Errorf("got %v, want an actor where one is known", fields)
		}
	}
	if of["invalid_name"] != 1 || of["unauthorized"] == 0 || of["unauthorized"] > 5 {
		t.Errorf("got lines %v, want one of invalid_name, and one of unauthorized a second", of)
	}
}
