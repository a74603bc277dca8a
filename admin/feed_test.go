package admin

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/store"
)

const acmeFeed = "/workspaces/acme/calendar/feed"

// feed creates a calendar feed and returns its path.
func (a *api) feed(t testing.TB, ws string, fields ...string) string {
	t.Helper()
	got := a.must(t, http.StatusCreated, "POST", "/workspaces/"+ws+"/calendar/feed", "", fields...)
	path, _ := got.body["path"].(string)
	token, ok := strings.CutSuffix(strings.TrimPrefix(path, "/calendar/"), ".ics")
	if _, wellFormed := apikey.ParseFeedToken(token); !ok || !wellFormed || len(got.body) != 1 {
		t.Fatalf("got %s, want a feed's path alone", got.raw)
	}
	return path
}

func TestFeed(t *testing.T) {
	a := newAPI(t)
	id, _ := a.create(t, "acme", "Zapier")
	a.create(t, "other", "Billing")
	first := a.feed(t, "acme")
	_, events := subscribe(t, a.must(t, http.StatusOK, "GET", first, "").raw)
	equal(t, "events", len(events), 1)
	equal(t, "uid", events[0].UID, id+"@caddy-api-keys.invalid")

	// The feed shows changes of keys.
	a.at(start.Add(time.Hour))
	a.must(t, http.StatusCreated, "POST", keysPage+"/"+id+"/rotate", `{"revoke_old_in":"1h"}`)
	_, events = subscribe(t, a.must(t, http.StatusOK, "GET", first, "").raw)
	equal(t, "events", len(events), 2)
	equal(t, "start", events[0].Start, start.Add(2*time.Hour))
	a.must(t, http.StatusOK, "POST", keysPage+"/"+id+"/revoke", "")
	_, events = subscribe(t, a.must(t, http.StatusOK, "GET", first, "").raw)
	equal(t, "events", len(events), 1)

	// A new feed revokes the old one of this workspace only.
	others := a.feed(t, "other")
	second := a.feed(t, "acme")
	a.refused(t, http.StatusNotFound, "not_found", "", "GET", first, "")
	a.must(t, http.StatusOK, "GET", second, "")
	equal(t, "revoked", a.must(t, http.StatusOK, "DELETE", acmeFeed, "").body, object(t, `{"revoked":true}`))
	a.refused(t, http.StatusNotFound, "not_found", "", "GET", second, "")
	equal(t, "revoked", a.must(t, http.StatusOK, "DELETE", acmeFeed, "").body, object(t, `{"revoked":false}`))
	a.must(t, http.StatusOK, "HEAD", others, "")
}

// Each change of a feed is in the audit trail, but its token is not.
func TestFeed_audit(t *testing.T) {
	a := newAPI(t)
	paths := []string{a.feed(t, "acme"), a.feed(t, "acme")}
	a.must(t, http.StatusOK, "DELETE", acmeFeed, "")
	a.must(t, http.StatusOK, "DELETE", acmeFeed, "")
	trail := a.must(t, http.StatusOK, "GET", "/workspaces/acme/audit", "")
	var got []any
	for _, event := range trail.body["events"].([]any) {
		event := event.(map[string]any)
		equal(t, "actor", event["actor"], "tester")
		got = append(got, event["operation"], event["details"])
	}
	equal(t, "events", got, []any{
		"calendar_feed_revoke", map[string]any{},
		"calendar_feed", map[string]any{"replaced": true},
		"calendar_feed", map[string]any{"replaced": false},
	})
	for _, path := range paths {
		if strings.Contains(trail.raw, path[len("/calendar/cal_"):len(path)-len(".ics")]) {
			t.Errorf("got a feed's token in %s", trail.raw)
		}
	}
}

func TestFeed_refused(t *testing.T) {
	a := newAPI(t)
	path := a.feed(t, "acme")
	unknown := a.refused(t, http.StatusNotFound, "not_found", "", "GET", "/calendar/"+apikey.NewFeedToken().Reveal()+".ics", "")
	token := strings.TrimSuffix(strings.TrimPrefix(path, "/calendar/"), ".ics")
	for _, name := range []string{
		"x", "cal_.ics", token, token + ".ICS", token + ".ics.ics", token + "x.ics", token[:46] + ".ics", strings.ToUpper(token) + ".ics",
		"agk_" + token[4:] + ".ics", apikey.NewToken("cal").Reveal() + ".ics", token + "%2eics%00", token + "%0a.ics", "%20" + token + ".ics",
	} {
		got := a.refused(t, http.StatusNotFound, "not_found", "", "GET", "/calendar/"+name, "")
		equal(t, name, got.raw, unknown.raw)
	}
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
		a.refused(t, http.StatusMethodNotAllowed, "method_not_allowed", "", method, path, "")
	}
	for _, method := range []string{"POST", "DELETE"} {
		a.unchanged(t, func() {
			a.refused(t, http.StatusBadRequest, "invalid_json", "", method, acmeFeed, `{"token":"mine"}`)
			a.refused(t, http.StatusUnprocessableEntity, "invalid_workspace", "workspace", method, "/workspaces/.acme/calendar/feed", "")
			a.refused(t, http.StatusForbidden, "cross_origin", "", method, acmeFeed, "", "Sec-Fetch-Site: cross-site")
		})
	}
	a.must(t, http.StatusOK, "GET", path, "")
}

// A mount for one workspace creates, revokes and shows only that workspace's feed.
func TestFeed_pinned(t *testing.T) {
	a := newAPI(t, func(c *Config) { c.Workspace = func(r *http.Request) string { return r.Header.Get("X-Workspace") } })
	const acme, other = "X-Workspace: acme", "X-Workspace: other"
	path := a.feed(t, "acme", acme)
	a.must(t, http.StatusOK, "GET", path, "", acme)
	for _, pin := range []string{other, "X-Workspace: "} {
		a.refused(t, http.StatusNotFound, "not_found", "", "GET", path, "", pin)
		a.refused(t, http.StatusForbidden, "workspace_mismatch", "", "POST", acmeFeed, "", pin)
		a.refused(t, http.StatusForbidden, "workspace_mismatch", "", "DELETE", acmeFeed, "", pin)
		a.refused(t, http.StatusForbidden, "workspace_mismatch", "", "GET", "/workspaces/acme/calendar.ics", "", pin)
	}
	a.must(t, http.StatusOK, "GET", path, "", acme)
	a.must(t, http.StatusOK, "DELETE", acmeFeed, "", acme)
}

// The feed is the only call that needs no credentials of the mount.
func TestIsOpen(t *testing.T) {
	h := New(Config{})
	for _, test := range []struct {
		method, target string
		open           bool
	}{
		{"GET", "/calendar/x.ics", true},
		{"HEAD", "/calendar/x.ics", true},
		{"POST", "/calendar/x.ics", false},
		{"OPTIONS", "/calendar/x.ics", false},
		{"get", "/calendar/x.ics", false},
		{"GET", "/calendar/x.ics/", false},
		{"GET", "/calendar/", false},
		{"GET", "/calendar", false},
		{"GET", "/Calendar/x.ics", false},
		{"GET", "/calendar/x/../../audit", false},
		{"GET", "/calendar%2fx.ics", false},
		{"GET", "//calendar/x.ics/../../audit", false},
		{"GET", "/", false},
		{"GET", "/nothing", false},
		{"POST", acmeFeed, false},
		{"DELETE", acmeFeed, false},
		{"GET", "/workspaces/acme/calendar.ics", false},
		{"GET", keysPage, false},
		{"GET", "/audit", false},
		{"GET", "/healthz", false},
	} {
		r := httptest.NewRequest(test.method, "http://localhost"+test.target, nil)
		if got := h.IsOpen(r); got != test.open {
			t.Errorf("%s %s: got %v, want %v", test.method, test.target, got, test.open)
		}
	}
	for pattern, calls := range h.calls {
		for method, call := range calls {
			if call.open && (method != "GET" || pattern != "/calendar/{feed}") {
				t.Errorf("%s %s is open, want the calendar feed alone", method, pattern)
			}
		}
	}
}

// A feed with a closed store gets the same response as other calls, and the log has
// no token.
func TestFeed_storeFails(t *testing.T) {
	core, logged := observer.New(zap.DebugLevel)
	var path string
	for _, fails := range []error{apikey.ErrStoreUnavailable, errors.New("no such block on /dev/sda")} {
		a := newAPI(t, func(c *Config) {
			s := c.Keys().(*store.Store)
			c.Log = zap.New(core)
			c.Keys = func() Keys { return failing{s, fails} }
		})
		path = "/calendar/" + apikey.NewFeedToken().Reveal() + ".ics"
		got := a.send(t, "GET", path, "")
		equal(t, "status", got.status, http.StatusServiceUnavailable)
		equal(t, "code", got.body["code"], any("store_unavailable"))
	}
	equal(t, "lines in the log", logged.Len(), 1)
	for _, entry := range logged.All() {
		if line := fmt.Sprint(entry.Message, entry.ContextMap()); strings.Contains(line, "cal_") {
			t.Errorf("got a feed's token in the log: %s", line)
		}
	}
	none := newAPI(t, func(c *Config) { c.Keys = func() Keys { return nil } })
	equal(t, "status", none.send(t, "GET", path, "").status, http.StatusServiceUnavailable)
}
