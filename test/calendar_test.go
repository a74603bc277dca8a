package test

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// TestCalendarFeed verifies that a subscribing calendar, which can send nothing but a URL,
// gets the feed through a mount with an admin token, and nothing else.
func TestCalendarFeed(t *testing.T) {
	t.Parallel()
	const token = "an-admin-token-of-the-test"
	s := newServer(t)
	s.Env = []string{"TEST_ADMIN_TOKEN=" + token}
	must(t, os.WriteFile(s.Dir+"/admin-token", []byte(token), 0o600))
	s.Run(mountConfig)
	s.AwaitReady()
	key, _ := s.Create("acme", "Zapier production", "read_only")
	site := gatewaytest.Client{Name: "HTTP/1.1", Base: "http://" + s.Plain, Client: http.DefaultClient}
	bearer := []string{"Authorization", "Bearer " + token}
	feed := func() string {
		t.Helper()
		got := site.Send(t, "POST", "/token/workspaces/acme/calendar/feed", nil, bearer...)
		var answer struct{ Path string }
		if must(t, json.Unmarshal([]byte(got.Body), &answer)); got.Status != 201 || answer.Path == "" {
			t.Fatalf("got %d %s, want a feed", got.Status, got.Body)
		}
		return answer.Path
	}
	first := feed()
	wantStatus := func(status int, method, path string, fields ...string) gatewaytest.Answer {
		t.Helper()
		got := site.Send(t, method, path, nil, fields...)
		if got.Status != status {
			t.Errorf("%s %s: got %d %s, want %d", method, path, got.Status, got.Body, status)
		}
		return got
	}

	got := wantStatus(200, "GET", "/token"+first)
	if !strings.Contains(got.Body, "UID:"+key.ID+"@") {
		t.Errorf("got %s, want an event of %s", got.Body, key.ID)
	}
	for name, want := range map[string]string{"Content-Type": "text/calendar; charset=utf-8", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
		if got := got.Header.Get(name); got != want {
			t.Errorf("got %s %q, want %q", name, got, want)
		}
	}
	wantStatus(200, "HEAD", "/token"+first)
	wantStatus(200, "GET", "/file"+first)
	wantStatus(200, "GET", "/trusted"+first)
	wantStatus(200, "GET", "/pinned"+first, "X-Workspace", "acme")
	wantStatus(404, "GET", "/pinned"+first, "X-Workspace", "globex")
	wantStatus(404, "GET", "/pinned"+first)
	wantStatus(404, "GET", "/token/calendar/cal_0000000000000000000000000000000000000000000.ics")

	// The feed opens nothing else.
	for _, path := range []string{
		"/workspaces/acme/calendar.ics", "/workspaces/acme/keys", "/calendar", "/calendar/", first + "/", first + "/../../audit",
		"/calendar/../audit", "/calendar/%2e%2e/audit", "/calendar%2fx.ics", "//calendar/x.ics", "/audit",
	} {
		if got := site.Send(t, "GET", "/token"+path, nil); got.Status != 401 && got.Status != 404 {
			t.Errorf("GET %s: got %d %s, want a refusal", path, got.Status, got.Body)
		}
	}
	wantStatus(401, "GET", "/token/workspaces/acme/keys", "Authorization", "Bearer "+first[len("/calendar/"):len(first)-len(".ics")])
	for _, method := range []string{"POST", "DELETE", "PUT", "OPTIONS"} {
		wantStatus(401, method, "/token"+first)
		wantStatus(401, method, "/token/workspaces/acme/calendar/feed")
	}

	// A new feed ends the old one; revoking ends that.
	second := feed()
	wantStatus(404, "GET", "/token"+first)
	wantStatus(200, "GET", "/token"+second)
	wantStatus(200, "DELETE", "/token/workspaces/acme/calendar/feed", bearer...)
	wantStatus(404, "GET", "/token"+second)

	// Nothing that the server wrote has a feed's token.
	for _, path := range []string{first, second} {
		if strings.Contains(s.Log.String(), path[len("/calendar/cal_"):len(path)-len(".ics")]) {
			t.Error("a feed's token is in the log")
		}
	}
}
