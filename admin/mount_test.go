package admin

import (
	"net/http"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

func TestMount(t *testing.T) {
	pinnedTo := func(ws string) func(*Config) {
		return func(c *Config) { c.Workspace = func(*http.Request) string { return ws } }
	}
	tests := []struct {
		name      string
		change    func(*Config)
		status    int
		workspace any
		testURL   string
		vague     bool
	}{
		{"all workspaces", func(*Config) {}, 200, nil, "", true},
		{"pinned", pinnedTo("acme"), 200, "acme", "", true},
		{"pinned to nothing", pinnedTo(""), 403, nil, "", false},
		{"pinned to what is no workspace", pinnedTo("a/b"), 403, nil, "", false},
		{"an API elsewhere", func(c *Config) { c.TestURL = "https://api.example.com/me" }, 200, nil, "https://api.example.com/me", true},
		{"vague names allowed", func(c *Config) { c.Rules.AllowVagueNames = true }, 200, nil, "", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := newAPI(t, test.change).send(t, "GET", "/mount", "")
			equal(t, "status", got.status, test.status)
			if test.status != http.StatusOK {
				equal(t, "code", got.body["code"], any("workspace_mismatch"))
				return
			}
			equal(t, "workspace", got.body["workspace"], test.workspace)
			equal(t, "test_url", got.body["test_url"], any(test.testURL))
			equal(t, "actor", got.body["actor"], any("tester"))
			rules := got.body["keys"].(map[string]any)
			equal(t, "expires_in_seconds", rules["expires_in_seconds"], any(90*24*3600.0))
			equal(t, "vague names", len(rules["vague_names"].([]any)) > 0, test.vague)
		})
	}
}

func TestUses(t *testing.T) {
	a := newAPI(t)
	id, _ := a.create(t, "acme", "Zapier production")
	uses := func() any { return a.send(t, "GET", keysPage+"/"+id+"/uses", "").body["uses"] }
	equal(t, "before the first use", uses(), any(map[string]any{"first_at": nil, "last_at": nil, "last_from": nil}))

	for _, at := range []time.Time{start, start.Add(time.Hour)} {
		if err := a.store.NoteUses(map[string]apikey.Use{id: {At: at, From: "203.0.113.9"}}); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, "after the second", uses(), any(map[string]any{"first_at": "2026-03-01T12:00:00Z", "last_at": "2026-03-01T13:00:00Z", "last_from": "203.0.113.9"}))

	for _, path := range []string{"/workspaces/globex/keys/" + id, keysPage + "/" + someKey} {
		equal(t, path, a.send(t, "GET", path+"/uses", "").body["code"], any(apikey.ErrNotFound.Code))
	}
}

// The reminder of one key is a calendar of its own.
func TestCalendar_oneKey(t *testing.T) {
	a := newAPI(t)
	calendar := func(id string) reply { return a.send(t, "GET", "/workspaces/acme/calendar.ics?key="+id, "") }
	id, _ := a.create(t, "acme", "Zapier production")
	a.create(t, "acme", "Warehouse sync")

	_, events := subscribe(t, calendar(id).raw)
	equal(t, "events", len(events), 1)
	equal(t, "summary", events[0].Summary, "API key expires: Zapier production")

	a.send(t, "POST", keysPage+"/"+id+"/revoke", "")
	_, events = subscribe(t, calendar(id).raw)
	equal(t, "events of a revoked key", len(events), 0)
	for _, unknown := range []string{someKey, "Zapier", "key_"} {
		equal(t, "status of "+unknown, calendar(unknown).status, http.StatusNotFound)
	}
}
