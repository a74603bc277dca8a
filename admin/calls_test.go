package admin

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// names returns the names of the keys in a list.
func names(t testing.TB, list reply) []string {
	t.Helper()
	all := []string{}
	for _, key := range list.body["keys"].([]any) {
		all = append(all, key.(map[string]any)["name"].(string))
	}
	return all
}

func TestList(t *testing.T) {
	a := newAPI(t, func(c *Config) { c.Rules.MaxActiveKeys = 100 })
	equal(t, "no keys", a.must(t, http.StatusOK, "GET", keysPage, "").body, object(t, `{"keys":[],"next_cursor":null}`))
	want := []string{}
	for i := range 51 {
		name := fmt.Sprintf("Number %d", i)
		a.create(t, "acme", name)
		want = slices.Insert(want, 0, name)
	}
	a.create(t, "other", "Somebody else's")
	for limit, page := range map[string]int{"": 50, "limit=1": 1, "limit=20": 20, "limit=51": 51, "limit=200": 51} {
		t.Run(limit, func(t *testing.T) {
			var got []string
			for cursor := ""; ; {
				list := a.must(t, http.StatusOK, "GET", keysPage+"?"+limit+cursor, "")
				got = append(got, names(t, list)...)
				next, ok := list.body["next_cursor"].(string)
				if !ok {
					equal(t, "next_cursor of the last page", list.body["next_cursor"], nil)
					break
				}
				equal(t, "keys on a page", len(names(t, list)), page)
				cursor = "&cursor=" + next
			}
			equal(t, "names", got, want)
		})
	}
	list := a.must(t, http.StatusOK, "GET", keysPage+"?limit=1", "")
	key := list.body["keys"].([]any)[0].(map[string]any)
	equal(t, "a key in a list", any(key), a.must(t, http.StatusOK, "GET", keysPage+"/"+key["id"].(string), "").body["key"])
}

func TestList_filter(t *testing.T) {
	a := newAPI(t)
	a.must(t, http.StatusCreated, "POST", keysPage, `{"name":"Short-lived","preset":"full_access","expires_in":"1d","owner":"Kim"}`)
	id, _ := a.create(t, "acme", "Zapier production")
	a.must(t, http.StatusOK, "POST", keysPage+"/"+id+"/revoke", "")
	a.create(t, "acme", "Zapier staging")
	a.at(start.Add(day))
	for query, want := range map[string][]string{
		"":                             {"Zapier staging", "Zapier production", "Short-lived"},
		"?status=":                     {"Zapier staging", "Zapier production", "Short-lived"},
		"?status=active":               {"Zapier staging"},
		"?status=expired":              {"Short-lived"},
		"?status=revoked":              {"Zapier production"},
		"?q=ZAPIER":                    {"Zapier staging", "Zapier production"},
		"?q=kim":                       {"Short-lived"},
		"?q=zapier%20production":       {"Zapier production"},
		"?q=zapier&status=revoked":     {"Zapier production"},
		"?q=" + id:                     {"Zapier production"},
		"?q=nothing":                   {},
		"?unknown=1&status=revoked":    {"Zapier production"},
		"?q=%ff":                       {},
		"?status=active&limit=1&q=sta": {"Zapier staging"},
	} {
		equal(t, "names with "+query, names(t, a.must(t, http.StatusOK, "GET", keysPage+query, "")), want)
	}
}

func TestPages_refused(t *testing.T) {
	a := newAPI(t)
	mine, _ := a.create(t, "acme", "Mine")
	others, _ := a.create(t, "other", "Other")
	cursor := func(id string) string { return *cursorFor("keys of acme", cmp.Or(id, " ")) }
	a.must(t, http.StatusOK, "GET", keysPage+"?cursor="+cursor(mine), "")
	for _, test := range []struct{ query, code string }{
		{"limit=0", "limit"}, {"limit=201", "limit"}, {"limit=-1", "limit"}, {"limit=", "limit"}, {"limit=ten", "limit"},
		{"limit=1.5", "limit"}, {"limit=1e2", "limit"}, {"limit=99999999999999999999", "limit"}, {"limit=%201", "limit"},
		{"cursor=x", "cursor"}, {"cursor=" + mine, "cursor"}, {"cursor=" + cursor("") + "AA", "cursor"}, {"cursor=" + cursor(mine) + "%3D", "cursor"},
		{"cursor=" + cursor(others), "cursor"}, {"cursor=" + cursor(someKey), "cursor"}, {"cursor=" + cursor(apikey.NewEventID(start)), "cursor"},
		{"cursor=" + cursor("w/\x04acme"), "cursor"}, {"cursor=" + cursor("\xff"), "cursor"}, {"cursor=" + cursor(strings.ToLower(mine)), "cursor"},
		{"status=asleep", "status"}, {"status=Active", "status"}, {"status=active,revoked", "status"},
	} {
		a.refused(t, http.StatusBadRequest, "invalid_"+test.code, test.code, "GET", keysPage+"?"+test.query, "")
		if test.code == "status" {
			continue
		}
		for _, path := range []string{"/workspaces/acme/audit?", "/audit?"} {
			a.refused(t, http.StatusBadRequest, "invalid_"+test.code, test.code, "GET", path+test.query, "")
		}
	}
	a.refused(t, http.StatusBadRequest, "invalid_cursor", "cursor", "GET", "/audit?cursor="+cursor(mine), "")
}

func TestWorkspace(t *testing.T) {
	a := newAPI(t)
	id, _ := a.create(t, "acme", "Revoked")
	a.must(t, http.StatusOK, "POST", keysPage+"/"+id+"/revoke", "")
	a.must(t, http.StatusCreated, "POST", keysPage, `{"name":"Short-lived","preset":"read_only","expires_in":"1d"}`)
	a.create(t, "acme", "Active")
	a.at(start.Add(day))

	idle := object(t, `{"workspace":{"id":"acme","suspended":false,"suspended_at":null,"reason":null,"keys":{"active":1,"expired":1,"revoked":1}}}`)
	paused := object(t, `{"workspace":{"id":"acme","suspended":true,"suspended_at":"2026-03-02T12:00:00Z","reason":"unpaid","keys":{"active":1,"expired":1,"revoked":1}}}`)
	for _, step := range []struct {
		method, path, body string
		want               map[string]any
		events             int
	}{
		{"GET", "/workspaces/acme", "", idle, 4},
		{"POST", "/workspaces/acme/resume", "", idle, 4},
		{"POST", "/workspaces/acme/suspend", `{"reason":"unpaid"}`, confirmed(t, paused, 5), 5},
		{"POST", "/workspaces/acme/suspend", `{"reason":"another"}`, confirmed(t, paused, 5), 5},
		{"GET", "/workspaces/acme", "", paused, 5},
		{"GET", "/suspensions?limit=1", "", object(t, `{"suspensions":[{"workspace_id":"acme","suspended_at":"2026-03-02T12:00:00Z","reason":"unpaid"}],"next_cursor":null}`), 5},
		{"POST", "/workspaces/acme/resume", "{}", idle, 6},
		{"POST", "/workspaces/acme/resume", "", idle, 6},
		{"GET", "/workspaces/acme", "", idle, 6},
		{"GET", "/suspensions", "", object(t, `{"suspensions":[],"next_cursor":null}`), 6},
	} {
		equal(t, step.method+" "+step.path, a.must(t, http.StatusOK, step.method, step.path, step.body).body, step.want)
		equal(t, "events after "+step.method+" "+step.path, a.events(t), step.events)
	}
	never := object(t, `{"workspace":{"id":"Acme","suspended":false,"suspended_at":null,"reason":null,"keys":{"active":0,"expired":0,"revoked":0}}}`)
	equal(t, "a workspace never heard of", a.must(t, http.StatusOK, "GET", "/workspaces/Acme", "").body, never)
}

func TestAudit(t *testing.T) {
	a := newAPI(t)
	equal(t, "no events", a.must(t, http.StatusOK, "GET", "/audit", "").body, object(t, `{"events":[],"next_cursor":null}`))
	id, _ := a.create(t, "acme", "Zapier")
	a.must(t, http.StatusOK, "POST", keysPage+"/"+id+"/revoke", `{"reason":"left"}`)
	a.must(t, http.StatusOK, "POST", "/workspaces/acme/suspend", "")
	a.must(t, http.StatusOK, "POST", "/workspaces/acme/resume", "")
	a.create(t, "other", "Billing")

	common := `"at":"2026-03-01T12:00:00Z","actor":"tester","remote_ip":"192.0.2.1","workspace_id":"acme",`
	want := []string{
		common + `"operation":"resume","key_id":"","details":{"by":"operator"}`,
		common + `"operation":"suspend","key_id":"","details":{"reason":"","by":"operator"}`,
		common + `"operation":"revoke","key_id":"` + id + `","details":{"name":"Zapier","reason":"left"}`,
		common + `"operation":"create","key_id":"` + id + `","details":{"name":"Zapier","owner":"","preset":"read_only","expires_at":"2026-05-30T12:00:00Z"}`,
	}
	var got []any
	for cursor := ""; ; {
		page := a.must(t, http.StatusOK, "GET", "/workspaces/acme/audit?limit=1"+cursor, "")
		got = append(got, page.body["events"].([]any)...)
		next, ok := page.body["next_cursor"].(string)
		if !ok {
			break
		}
		cursor = "&cursor=" + next
	}
	equal(t, "number of events", len(got), len(want))
	for i, event := range got {
		event := event.(map[string]any)
		if !apikey.ValidEventID(event["id"].(string)) {
			t.Errorf("got the id %v, want an event's", event["id"])
		}
		delete(event, "id")
		equal(t, "event", event, object(t, "{"+want[i]+"}"))
	}
	equal(t, "events of all", a.events(t), 5)
}

// The actor is recorded as the mount names them, and any name is accepted.
func TestAudit_actor(t *testing.T) {
	for _, test := range []struct{ actor, want string }{
		{"Kim <kim@example.com>", "Kim <kim@example.com>"},
		{"Ren\xe9", "Ren\ufffd"},
		{" ", "unknown"},
		{strings.Repeat("é", 201), strings.Repeat("é", 200)},
	} {
		t.Run(test.want, func(t *testing.T) {
			a := newAPI(t, func(c *Config) {
				c.Actor = func(*http.Request) string { return test.actor }
				c.RemoteIP = func(*http.Request) string { return "2001:db8::1" }
			})
			id, _ := a.create(t, "acme", "Zapier")
			key := a.must(t, http.StatusOK, "POST", keysPage+"/"+id+"/revoke", "").body["key"].(map[string]any)
			equal(t, "created_by", key["created_by"], test.want)
			equal(t, "revoked_by", key["revoked_by"], test.want)
			events := a.must(t, http.StatusOK, "GET", "/audit", "").body["events"].([]any)
			equal(t, "events", len(events), 2)
			for _, event := range events {
				equal(t, "actor", event.(map[string]any)["actor"], test.want)
				equal(t, "remote_ip", event.(map[string]any)["remote_ip"], "2001:db8::1")
			}
		})
	}
}

func TestHealthz(t *testing.T) {
	a := newAPI(t)
	equal(t, "answer", a.must(t, http.StatusOK, "GET", "/healthz", "").body, object(t, `{"status":"ok"}`))
}

// A store that cannot be changed is still healthy: a load balancer has no reason to
// switch, but people must act.
func TestHealthz_noChanges(t *testing.T) {
	a := newAPI(t)
	path := a.store.Path()
	if err := os.Rename(path, path+"-moved"); err != nil {
		t.Fatal(err)
	}
	want := object(t, `{"status":"ok","changes":"unavailable: the directory of the key store was removed, moved or replaced"}`)
	equal(t, "answer", a.must(t, http.StatusOK, "GET", "/healthz", "").body, want)
	got := a.refused(t, http.StatusServiceUnavailable, "store_unavailable", "", "POST", "/workspaces/acme/suspend", "{}")
	equal(t, "Retry-After of what waits for an operator", got.header.Get("Retry-After"), "")
	if err := os.Rename(path+"-moved", path); err != nil {
		t.Fatal(err)
	}
	equal(t, "answer once it was put back", a.must(t, http.StatusOK, "GET", "/healthz", "").body, object(t, `{"status":"ok"}`))
	a.must(t, http.StatusOK, "POST", "/workspaces/acme/suspend", "{}")
}

// HEAD gets the same response as GET, without the body.
func TestHead(t *testing.T) {
	a := newAPI(t)
	id, _ := a.create(t, "acme", "Zapier")
	for _, path := range []string{"/healthz", "/openapi.json", keysPage, keysPage + "/" + id, "/workspaces/acme", "/workspaces/acme/calendar.ics", "/workspaces/acme/audit", "/audit", keysPage + "/" + someKey} {
		get, head := a.send(t, "GET", path, ""), a.send(t, "HEAD", path, "")
		equal(t, path+": status", head.status, get.status)
		equal(t, path+": body", head.raw, "")
		equal(t, path+": Content-Length", head.header.Get("Content-Length"), get.header.Get("Content-Length"))
	}
}

// Every call is observed with its outcome; other requests are not.
func TestObserve(t *testing.T) {
	a := newAPI(t)
	id, _ := a.create(t, "acme", "Zapier")
	a.send(t, "POST", keysPage, zapier[:10])
	a.send(t, "GET", keysPage+"/"+someKey, "")
	a.send(t, "POST", keysPage+"/"+id+"/revoke", "")
	a.send(t, "POST", keysPage, zapier, "Origin: https://evil.example")
	a.send(t, "GET", "/nothing", "")
	a.send(t, "GET", "//audit", "")
	a.send(t, "DELETE", keysPage, "")
	a.send(t, "POST", "/nothing", "{}", "Origin: https://evil.example")
	equal(t, "observed", a.observed, []string{"create ok", "create invalid_json", "show not_found", "revoke ok", "create cross_origin"})
}

// TestOperations: Operations has every operation that Observe gets.
func TestOperations(t *testing.T) {
	operations := Operations()
	for path, calls := range resources() {
		for method, call := range calls {
			if !slices.Contains(operations, call.operation) {
				t.Errorf("%s %s: got no %q in %q", method, path, call.operation, operations)
			}
		}
	}
	if slices.Contains(operations, "") || len(slices.Compact(operations)) != len(operations) {
		t.Errorf("got %q, want each once, and none without a name", operations)
	}
}
