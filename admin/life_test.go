package admin

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// key returns the key under the given name in a response.
func (r reply) key(name string) map[string]any { return r.body[name].(map[string]any) }

// confirmed returns a copy of an answer that also says how far the change with a
// number has reached, where one gateway serves from a store.
func confirmed(t testing.TB, answer map[string]any, revision int) map[string]any {
	t.Helper()
	return but(t, answer, fmt.Sprintf(`{"propagation":{"state":"confirmed","revision":%d,"gateways":1,"waited_ms":0}}`, revision))
}

// but returns a copy of an object with some members changed.
func but(t testing.TB, value map[string]any, changed string) map[string]any {
	t.Helper()
	value = maps.Clone(value)
	maps.Copy(value, object(t, changed))
	return value
}

func TestUpdate(t *testing.T) {
	a := newAPI(t)
	id, _ := a.create(t, "acme", "Zapier")
	path := keysPage + "/" + id
	before := a.must(t, http.StatusOK, "GET", path, "").key("key")
	for _, step := range []struct {
		body, want, event string
	}{
		{``, `{}`, ``},
		{`{}`, `{}`, ``},
		{`{"name":" Zapier ","owner":""}`, `{}`, ``},
		{`{"name":"Zapier staging"}`, `{"name":"Zapier staging"}`, `{"name":"Zapier staging","name_before":"Zapier"}`},
		{`{"owner":" Kim "}`, `{"name":"Zapier staging","owner":"Kim"}`, `{"owner":"Kim","owner_before":""}`},
		{`{"name":"ZAPIER STAGING"}`, `{"name":"ZAPIER STAGING","owner":"Kim"}`, `{"name":"ZAPIER STAGING","name_before":"Zapier staging"}`},
		{`{"name":"Zapier","owner":""}`, `{}`, `{"name":"Zapier","name_before":"ZAPIER STAGING","owner":"","owner_before":"Kim"}`},
	} {
		events := a.events(t)
		want := but(t, before, step.want)
		equal(t, step.body, a.must(t, http.StatusOK, "PATCH", path, step.body).key("key"), want)
		equal(t, step.body+": shown", a.must(t, http.StatusOK, "GET", path, "").key("key"), want)
		if step.event == "" {
			equal(t, step.body+": events", a.events(t), events)
			continue
		}
		newest := a.trail(t, "/audit")[0]
		equal(t, step.body+": operation", newest["operation"], any("update"))
		equal(t, step.body+": key", newest["key_id"], any(id))
		equal(t, step.body+": details", newest["details"], any(object(t, step.event)))
	}
	a.create(t, "acme", "Zapier staging") // the name is free again
}

func TestUpdate_refused(t *testing.T) {
	a := newAPI(t)
	id, _ := a.create(t, "acme", "Zapier")
	a.create(t, "acme", "Billing")
	path := keysPage + "/" + id
	a.unchanged(t, func() {
		for _, test := range []struct {
			status            int
			body, code, field string
		}{
			{422, `{"name":""}`, "invalid_name", "name"},
			{422, `{"name":"ab"}`, "invalid_name", "name"},
			{422, `{"name":"Zapier\u202e"}`, "invalid_name", "name"},
			{422, `{"name":"test 2"}`, "vague_name", "name"},
			{422, `{"owner":"` + strings.Repeat("ü", 81) + `"}`, "invalid_owner", "owner"},
			{422, `{"name":"Fine","owner":"a\nb"}`, "invalid_owner", "owner"},
			{409, `{"name":"BILLING"}`, "name_taken", "name"},
			{400, `{"preset":"full_access"}`, "invalid_json", ""},
			{400, `{"expires_in":"1d"}`, "invalid_json", ""},
			{400, `{"status":"active"}`, "invalid_json", ""},
			{400, `{"workspace_id":"other"}`, "invalid_json", ""},
		} {
			a.refused(t, test.status, test.code, test.field, "PATCH", path, test.body)
		}
	})
	short := a.must(t, http.StatusCreated, "POST", keysPage, `{"name":"Short-lived","preset":"read_only","expires_in":"1h"}`).key("key")["id"].(string)
	a.must(t, http.StatusOK, "POST", path+"/revoke", "")
	a.at(start.Add(time.Hour))
	a.unchanged(t, func() {
		a.refused(t, http.StatusConflict, "not_active", "", "PATCH", path, `{"owner":"Kim"}`)
		a.refused(t, http.StatusConflict, "not_active", "", "PATCH", keysPage+"/"+short, `{"name":"Longer-lived"}`)
	})
}

func TestRevokeAll(t *testing.T) {
	a := newAPI(t)
	first, _ := a.create(t, "acme", "First")
	a.must(t, http.StatusOK, "POST", keysPage+"/"+first+"/revoke", `{"reason":"earlier"}`)
	a.must(t, http.StatusCreated, "POST", keysPage, `{"name":"Short-lived","preset":"read_only","expires_in":"1h"}`)
	second, _ := a.create(t, "acme", "Second")
	third, _ := a.create(t, "acme", "Third")
	others, _ := a.create(t, "other", "Second")
	a.at(start.Add(time.Hour))
	a.unchanged(t, func() {
		for _, body := range []string{``, `{}`, `{"reason":""}`, `{"reason":"  "}`, `{"reason":"a\nb"}`, `{"reason":"` + strings.Repeat("ü", 501) + `"}`} {
			a.refused(t, http.StatusUnprocessableEntity, "invalid_reason", "reason", "POST", "/workspaces/acme/revoke-all", body)
		}
	})
	equal(t, "answer", a.must(t, http.StatusOK, "POST", "/workspaces/acme/revoke-all", `{"reason":" left "}`).body, confirmed(t, object(t, `{"revoked":2}`), 7))
	newest := a.trail(t, "/workspaces/acme/audit")[0]
	equal(t, "operation", newest["operation"], any("revoke_all"))
	equal(t, "key of the event", newest["key_id"], any(""))
	details := newest["details"].(map[string]any)
	ids := details["key_ids"].([]any)
	slices.SortFunc(ids, func(x, y any) int { return strings.Compare(x.(string), y.(string)) })
	equal(t, "details", details, map[string]any{"reason": "left", "revoked": 2.0, "key_ids": []any{second, third}})
	for id, reason := range map[string]string{first: "earlier", second: "left", third: "left"} {
		key := a.must(t, http.StatusOK, "GET", keysPage+"/"+id, "").key("key")
		equal(t, "status", key["status"], any("revoked"))
		equal(t, "reason", key["revoke_reason"], any(reason))
	}
	equal(t, "counts", a.must(t, http.StatusOK, "GET", "/workspaces/acme", "").key("workspace")["keys"], any(object(t, `{"active":0,"expired":1,"revoked":3}`)))
	equal(t, "another's key", a.must(t, http.StatusOK, "GET", "/workspaces/other/keys/"+others, "").key("key")["status"], any("active"))
	a.unchanged(t, func() {
		equal(t, "again", a.must(t, http.StatusOK, "POST", "/workspaces/acme/revoke-all", `{"reason":"left"}`).body, confirmed(t, object(t, `{"revoked":0}`), 7))
		equal(t, "of nobody", a.must(t, http.StatusOK, "POST", "/workspaces/nobody/revoke-all", `{"reason":"left"}`).body, confirmed(t, object(t, `{"revoked":0}`), 7))
	})
	a.create(t, "acme", "Second")
}

// Keys of a suspended workspace can be created, changed and revoked.
func TestSuspended(t *testing.T) {
	a := newAPI(t)
	a.must(t, http.StatusOK, "POST", "/workspaces/acme/suspend", `{"reason":"unpaid"}`)
	id, token := a.create(t, "acme", "Zapier")
	equal(t, "status", a.must(t, http.StatusOK, "GET", keysPage+"/"+id, "").key("key")["status"], any("active"))
	a.must(t, http.StatusOK, "PATCH", keysPage+"/"+id, `{"owner":"Kim"}`)
	a.must(t, http.StatusCreated, "POST", keysPage+"/"+id+"/rotate", "")
	a.must(t, http.StatusOK, "POST", "/tokens/revoke", `{"token":"`+token+`"}`)
	got := a.must(t, http.StatusOK, "POST", "/workspaces/acme/resume", "").key("workspace")
	equal(t, "workspace", got, object(t, `{"id":"acme","suspended":false,"suspended_at":null,"reason":null,"keys":{"active":1,"expired":0,"revoked":1}}`))
	equal(t, "revoked meanwhile", a.must(t, http.StatusOK, "GET", keysPage+"/"+id, "").key("key")["status"], any("revoked"))
}
