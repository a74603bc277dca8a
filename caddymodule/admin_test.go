package caddymodule

import (
	"strconv"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

const adminToken = "admin-token-for-tests"

func adminMount(lines string) string {
	return "\tapi_key_admin {\n\t\tbase_path /settings/api\n" + lines + "\n\t}\n\treverse_proxy {{.Upstream}}\n"
}

func TestAdmin_credentials(t *testing.T) {
	t.Setenv("ADMIN_TOKEN", adminToken)
	s := serve(t, adminMount("token {env.ADMIN_TOKEN}"))
	k := s.create(apikey.FullAccess)
	for _, test := range []struct {
		name, header string
		status       int
	}{
		{"none", "", 401},
		{"wrong", "Authorization: Bearer wrong\r\n", 401},
		{"a key of the data plane", k.bearer(), 401},
		{"placeholder", "Authorization: Bearer {env.ADMIN_TOKEN}\r\n", 401},
		{"empty", "Authorization: Bearer \r\n", 401},
		{"prefix", "Authorization: Bearer " + adminToken[:10] + "\r\n", 401},
		{"longer", "Authorization: Bearer " + adminToken + "x\r\n", 401},
		{"two spaces", "Authorization: Bearer  " + adminToken + "\r\n", 401},
		{"another scheme", "Authorization: Basic " + adminToken + "\r\n", 401},
		{"twice", strings.Repeat("Authorization: Bearer "+adminToken+"\r\n", 2), 401},
		{"in a query", "X: " + adminToken + "\r\n", 401},
		{"right", "Authorization: Bearer " + adminToken + "\r\n", 200},
		{"right, scheme in any case", "Authorization: bEARER " + adminToken + "\r\n", 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := s.send("GET /settings/api/healthz?token="+adminToken, test.header)
			if got.Status != test.status {
				t.Errorf("got %d %s, want %d", got.Status, got.Body, test.status)
			}
			got.mustHave(t, "Cache-Control", "no-store")
			if test.status == 401 {
				got.mustHave(t, "WWW-Authenticate", `Bearer realm="api-keys-admin"`)
			}
			s.Upstream.WantNothing(t)
		})
	}
}

func TestAdmin_paths(t *testing.T) {
	s := serve(t, adminMount("trust_upstream_auth"))
	for _, test := range []struct {
		path     string
		status   int
		upstream bool
	}{
		{"/settings/api/healthz", 200, false},
		{"/settings/ap%69/healthz", 404, false},
		{"/settings/ap%69/workspaces/a%2Fkeys", 404, false},
		{"/settings/api", 308, false},
		{"/settings/api/", 200, false},
		{"/settings/api//healthz", 404, false},
		{"/settings/api/../api/healthz", 404, false},
		{"/settings/api/workspaces/a%2Fb/keys", 422, false},
		{"/settings/apix/healthz", 200, true},
		{"/settings", 200, true},
		{"/healthz", 200, true},
	} {
		got := s.send("GET "+test.path, "")
		if got.Status != test.status {
			t.Errorf("%s: got %d %s, want %d", test.path, got.Status, got.Body, test.status)
		}
		if there := len(s.Upstream.Take()) > 0; there != test.upstream {
			t.Errorf("%s: got upstream=%v, want %v", test.path, there, test.upstream)
		}
	}
}

func TestAdmin_pinnedWorkspace(t *testing.T) {
	s := serve(t, adminMount("trust_upstream_auth\n\t\tworkspace {http.request.header.X-Team}"))
	for _, test := range []struct {
		team, workspace string
		status          int
	}{
		{"acme", "acme", 200},
		{"acme", "globex", 403},
		{"", "acme", 403},
		{"{http.request.header.X-Other}", "acme", 403},
	} {
		header := "X-Other: acme\r\n"
		if test.team != "" {
			header += "X-Team: " + test.team + "\r\n"
		}
		if got := s.send("GET /settings/api/workspaces/"+test.workspace+"/keys", header); got.Status != test.status {
			t.Errorf("%q asks for %s: got %d %s, want %d", test.team, test.workspace, got.Status, got.Body, test.status)
		}
	}
	if got := s.send("GET /settings/api/audit", "X-Team: acme\r\n"); got.Status != 403 {
		t.Errorf("all events: got %d, want 403", got.Status)
	}
}

// Text around an empty placeholder is not a workspace.
func TestAdmin_pinnedWithPrefix(t *testing.T) {
	s := serve(t, adminMount("trust_upstream_auth\n\t\tworkspace tenant-{http.request.header.X-Team}"))
	for _, test := range []struct {
		headers, workspace string
		status             int
	}{
		{"X-Team: acme\r\n", "tenant-acme", 200},
		{"X-Team: acme\r\n", "tenant-", 403},
		{"X-Team: \r\n", "tenant-", 403},
		{"", "tenant-", 403},
	} {
		if got := s.send("GET /settings/api/workspaces/"+test.workspace+"/keys", test.headers); got.Status != test.status {
			t.Errorf("%q asks for %s: got %d %s, want %d", test.headers, test.workspace, got.Status, got.Body, test.status)
		}
	}
}

func TestAdmin_actor(t *testing.T) {
	const named = "trust_upstream_auth\n\t\tactor {http.request.header.X-User}"
	for _, test := range []struct{ lines, user, want string }{
		{"trust_upstream_auth", "ada", "upstream_auth"},
		{"token " + adminToken, "ada", "admin_token"},
		{named, "ada", "ada"},
		{named, "{env.HOME}", "{env.HOME}"},
		{named, "gateway", `\"gateway\"`},
		{named, "admin_endpoint", `\"admin_endpoint\"`},
		{named, " admin_token ", `\"admin_token\"`},
		{named, "unknown", `\"unknown\"`},
		{named, "", "unknown"},
	} {
		s := serve(t, adminMount(test.lines))
		body := `{"name":"Zapier production","preset":"read_only"}`
		got := s.sendBody("POST /settings/api/workspaces/acme/keys", "Authorization: Bearer "+adminToken+
			"\r\nX-User: "+test.user+"\r\nContent-Type: application/json\r\nContent-Length: "+strconv.Itoa(len(body))+"\r\n", body)
		if got.Status != 201 || !strings.Contains(got.Body, `"created_by":"`+test.want+`"`) {
			t.Errorf("%s, %q: got %d %s, want it created by %s", test.lines, test.user, got.Status, got.Body, test.want)
		}
	}
}

// TestAdminEndpoint_withoutApp: the endpoint responds even if no configuration uses
// keys.
func TestAdminEndpoint_withoutApp(t *testing.T) {
	s := newServer(t)
	if err := load([]byte(`{"admin":{"listen":"` + s.Admin + `","config":{"persist":false}}}`)); err != nil {
		t.Fatal(err)
	}
	got := s.call("GET", "/api-keys/healthz", "")
	if got.Status != 503 || !strings.Contains(got.Body, `"store_unavailable"`) {
		t.Errorf("got %d %s, want 503 store_unavailable", got.Status, got.Body)
	}
}

// The page's files need no credentials, because they are the same for everybody;
// its calls do.
func TestAdmin_page(t *testing.T) {
	s := serve(t, adminMount("token "+adminToken))
	for _, test := range []struct {
		request string
		status  int
		kind    string
	}{
		{"GET /settings/api/", 200, "text/html; charset=utf-8"},
		{"HEAD /settings/api/", 200, "text/html; charset=utf-8"},
		{"GET /settings/api/page/main.js", 200, "text/javascript; charset=utf-8"},
		{"GET /settings/api", 308, ""},
		{"POST /settings/api/", 405, "application/json"},
		{"GET /settings/api/page/index.html", 401, "application/json"},
		{"GET /settings/api/page/main.js/", 401, "application/json"},
		{"GET /settings/api//", 401, "application/json"},
		{"GET /settings/api/mount", 401, "application/json"},
	} {
		got := s.send(test.request, "")
		if kind := got.Header.Get("Content-Type"); got.Status != test.status || kind != test.kind {
			t.Errorf("%s: got %d as %q, want %d as %q", test.request, got.Status, kind, test.status, test.kind)
		}
		s.Upstream.WantNothing(t)
	}
}

// A mount whose path was stripped before is also reachable with a trailing slash.
func TestAdmin_pageBelowHandlePath(t *testing.T) {
	s := serve(t, "\thandle_path /stripped* {\n\t\tapi_key_admin {\n\t\t\ttoken "+adminToken+"\n\t\t}\n\t}\n")
	for _, test := range []struct {
		path, location string
		status         int
	}{
		{"/stripped", "./stripped/", 308},
		{"/stripped/", "", 200},
		{"/stripped/page/main.js", "", 200},
	} {
		got := s.send("GET "+test.path, "")
		if location := got.Header.Get("Location"); got.Status != test.status || location != test.location {
			t.Errorf("%s: got %d to %q, want %d to %q", test.path, got.Status, location, test.status, test.location)
		}
	}
}
