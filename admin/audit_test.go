package admin

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// Pages show the trail as of the first request, even if events are added meanwhile.
func TestAudit_pages(t *testing.T) {
	a := newAPI(t, func(c *Config) { c.Rules.MaxActiveKeys = 100 })
	for i := range 7 {
		a.create(t, "acme", fmt.Sprintf("Number %d", i))
		a.create(t, "other", fmt.Sprintf("Number %d", i))
	}
	for _, path := range []string{"/workspaces/acme/audit", "/audit"} {
		t.Run(path, func(t *testing.T) {
			want := a.trail(t, path)
			var got []map[string]any
			for cursor, more := "", true; more; {
				page := a.must(t, http.StatusOK, "GET", path+"?limit=3"+cursor, "")
				for _, event := range page.body["events"].([]any) {
					got = append(got, event.(map[string]any))
				}
				var next string
				next, more = page.body["next_cursor"].(string)
				cursor = "&cursor=" + next
				a.must(t, http.StatusOK, "POST", "/workspaces/acme/suspend", "")
				a.must(t, http.StatusOK, "POST", "/workspaces/acme/resume", "")
			}
			equal(t, "events", got, want)
			newestFirst := slices.IsSortedFunc(got, func(x, y map[string]any) int { return strings.Compare(y["id"].(string), x["id"].(string)) })
			equal(t, "newest first", newestFirst, true)
		})
	}
}

// The trail has refused changes, with the actor and what they requested.
func TestAudit_refused(t *testing.T) {
	a := newAPI(t, func(c *Config) {
		c.Rules.MaxActiveKeys = 2
		c.Actor = func(r *http.Request) string { return r.Header.Get("X-Actor") }
	})
	id, _ := a.create(t, "acme", "Zapier")
	a.create(t, "acme", "Billing")
	path := keysPage + "/" + id
	for _, test := range []struct {
		status             int
		method, path, body string
		operation, ws, key string
		details            string
	}{
		{409, "POST", keysPage, zapier, "create", "acme", "", `{"name":"Zapier production","refused":"too_many_keys"}`},
		{409, "POST", keysPage, `{"name":"ZAPIER","preset":"read_only"}`, "create", "acme", "", `{"name":"ZAPIER","refused":"name_taken"}`},
		{409, "PATCH", path, `{"name":"billing"}`, "update", "acme", id, `{"name":"billing","refused":"name_taken"}`},
		{409, "POST", path + "/rotate", `{"name":"billing"}`, "rotate", "acme", id, `{"name":"billing","refused":"name_taken"}`},
		{404, "PATCH", keysPage + "/" + someKey, `{"owner":"Kim"}`, "update", "acme", someKey, `{"refused":"not_found"}`},
		{404, "POST", keysPage + "/" + someKey + "/rotate", ``, "rotate", "acme", someKey, `{"refused":"not_found"}`},
		{404, "POST", keysPage + "/" + someKey + "/revoke", ``, "revoke", "acme", someKey, `{"refused":"not_found"}`},
		{404, "POST", "/workspaces/other/keys/" + id + "/revoke", ``, "revoke", "other", id, `{"refused":"not_found"}`},
		{404, "POST", "/tokens/lookup", `{"token":"` + someToken + `"}`, "lookup", "", "", `{"refused":"not_found"}`},
	} {
		a.must(t, test.status, test.method, test.path, test.body, "X-Actor: mallory")
		newest := a.trail(t, "/audit")[0]
		what := test.method + " " + test.path + " " + test.body
		delete(newest, "id")
		want := map[string]any{"at": "2026-03-01T12:00:00Z", "actor": "mallory", "remote_ip": "192.0.2.1",
			"operation": test.operation, "workspace_id": test.ws, "key_id": test.key, "details": object(t, test.details)}
		equal(t, what, newest, want)
		if test.ws != "" {
			own := a.trail(t, "/workspaces/"+test.ws+"/audit")[0]
			delete(own, "id")
			equal(t, what+": in the workspace's own trail", own, want)
		}
	}
	equal(t, "changes", a.events(t), 2)
}
