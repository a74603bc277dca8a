package admin

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/store"
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

func TestRotate(t *testing.T) {
	a := newAPI(t)
	made := a.must(t, http.StatusCreated, "POST", keysPage, `{"name":"Zapier","owner":"Ops","preset":"full_access","expires_in":"30d"}`)
	old, oldToken := made.key("key"), made.body["token"].(string)
	path := keysPage + "/" + old["id"].(string)
	a.at(start.Add(day))
	got := a.must(t, http.StatusCreated, "POST", path+"/rotate", "")
	equal(t, "members of the answer", len(got.body), 4)
	equal(t, "propagation", got.body, confirmed(t, got.body, 2))
	key, text := got.key("key"), got.body["token"].(string)
	token, ok := apikey.ParseToken(text)
	if !ok || text == oldToken {
		t.Fatalf("got the token %q, want another well-formed one", text)
	}
	want := but(t, old, `{"created_at":"2026-03-02T12:00:00Z","expires_at":"2026-05-31T12:00:00Z"}`)
	want["id"], want["token_hint"], want["replaces"] = key["id"], "agk_…"+text[49:], old["id"]
	equal(t, "the replacement", key, want)
	replaced := but(t, old, `{}`)
	replaced["replaced_by"] = key["id"]
	equal(t, "the old key", got.key("replaced"), replaced)
	equal(t, "the old key, shown", a.must(t, http.StatusOK, "GET", path, "").key("key"), replaced)
	equal(t, "the replacement, shown", a.must(t, http.StatusOK, "GET", keysPage+"/"+key["id"].(string), "").key("key"), key)
	if stored, err := a.store.Lookup(token.Digest()); err != nil || stored.ID != key["id"] {
		t.Errorf("the new token in the store: got error %v, want key %s", err, key["id"])
	}
	newest := a.trail(t, "/audit")[0]
	equal(t, "operation", newest["operation"], any("rotate"))
	equal(t, "key of the event", newest["key_id"], old["id"])
	equal(t, "details", newest["details"], any(map[string]any{
		"name": "Zapier", "owner": "Ops", "preset": "full_access", "expires_at": "2026-05-31T12:00:00Z", "replaced_by": key["id"],
	}))

	// The old key keeps its own end.
	a.at(start.Add(30 * day))
	equal(t, "status of the old key", a.must(t, http.StatusOK, "GET", path, "").key("key")["status"], any("expired"))
}

// revoke_old_in sets the end of the old key, which is visible before and after it.
func TestRotate_revokeOldIn(t *testing.T) {
	for _, test := range []struct {
		asked, revokes string
		status         string // at once
		ends           time.Duration
		last           string // then
	}{
		{``, ``, "active", 30 * day, "expired"},
		{`"0s"`, ``, "revoked", 0, "revoked"},
		{`"0d"`, ``, "revoked", 0, "revoked"},
		{`"0"`, ``, "revoked", 0, "revoked"},
		{`"1ns"`, ``, "revoked", 0, "revoked"},
		{`"1ms"`, "2026-03-01T12:00:00.001Z", "active", time.Millisecond, "revoked"},
		{`"24h"`, "2026-03-02T12:00:00Z", "active", day, "revoked"},
		{`"1.5d"`, "2026-03-03T00:00:00Z", "active", 36 * time.Hour, "revoked"},
		{`"30d"`, ``, "active", 30 * day, "expired"},
		{`"1000d"`, ``, "active", 30 * day, "expired"},
	} {
		t.Run(test.asked, func(t *testing.T) {
			a := newAPI(t)
			id := a.must(t, http.StatusCreated, "POST", keysPage, `{"name":"Zapier","preset":"read_only","expires_in":"30d"}`).key("key")["id"].(string)
			body := `{}`
			if test.asked != "" {
				body = `{"revoke_old_in":` + test.asked + `}`
			}
			got := a.must(t, http.StatusCreated, "POST", keysPage+"/"+id+"/rotate", body)
			replaced := got.key("replaced")
			equal(t, "status at once", replaced["status"], any(test.status))
			var revokes any
			if test.revokes != "" {
				revokes = test.revokes
			}
			equal(t, "revokes_at", replaced["revokes_at"], revokes)
			details := a.trail(t, "/audit")[0]["details"].(map[string]any)
			equal(t, "revokes_at of the event", details["revokes_at"], revokes)
			if test.ends == 0 {
				equal(t, "revoked_at", replaced["revoked_at"], any("2026-03-01T12:00:00Z"))
				equal(t, "revoked_by", replaced["revoked_by"], any("tester"))
				equal(t, "revoke_reason", replaced["revoke_reason"], any("replaced by "+got.key("key")["id"].(string)))
			} else {
				a.at(start.Add(test.ends - time.Millisecond))
				equal(t, "status just before its end", a.must(t, http.StatusOK, "GET", keysPage+"/"+id, "").key("key")["status"], any("active"))
			}
			a.at(start.Add(test.ends))
			key := a.must(t, http.StatusOK, "GET", keysPage+"/"+id, "").key("key")
			equal(t, "status at its end", key["status"], any(test.last))
			if test.revokes != "" {
				equal(t, "revoked_at", key["revoked_at"], revokes)
				equal(t, "revokes_at, still", key["revokes_at"], revokes)
			}
			equal(t, "status of the replacement", a.must(t, http.StatusOK, "GET", keysPage+"/"+got.key("key")["id"].(string), "").key("key")["status"], any("active"))
		})
	}
}

func TestRotate_renamed(t *testing.T) {
	a := newAPI(t)
	id, _ := a.create(t, "acme", "Zapier")
	got := a.must(t, http.StatusCreated, "POST", keysPage+"/"+id+"/rotate", `{"name":" Zapier 2026 ","owner":"Kim"}`)
	equal(t, "name", got.key("key")["name"], any("Zapier 2026"))
	equal(t, "owner", got.key("key")["owner"], any("Kim"))
	equal(t, "old name", got.key("replaced")["name"], any("Zapier"))
	equal(t, "old owner", got.key("replaced")["owner"], any(""))
}

func TestRotate_refused(t *testing.T) {
	a := newAPI(t, func(c *Config) { c.Rules.MaxActiveKeys = 10 })
	id, _ := a.create(t, "acme", "Zapier")
	a.create(t, "acme", "Billing")
	path := keysPage + "/" + id + "/rotate"
	a.unchanged(t, func() {
		for _, asked := range []string{
			"", "soon", "-1h", "-0s", "-24h", "+1h", "24", "1w", "1h1d", "1d-1h", " 0s", "0s ", "NaNd", "infd", "1e2d", "100000000d", "9999999999999h",
		} {
			a.refused(t, http.StatusUnprocessableEntity, "invalid_duration", "revoke_old_in", "POST", path, `{"revoke_old_in":"`+asked+`"}`)
		}
		for _, asked := range []string{"0", "24", "true", "{}", `["24h"]`} {
			a.refused(t, http.StatusBadRequest, "invalid_json", "", "POST", path, `{"revoke_old_in":`+asked+`}`)
		}
		a.refused(t, http.StatusUnprocessableEntity, "invalid_name", "name", "POST", path, `{"name":""}`)
		a.refused(t, http.StatusUnprocessableEntity, "vague_name", "name", "POST", path, `{"name":"new key"}`)
		a.refused(t, http.StatusUnprocessableEntity, "invalid_owner", "owner", "POST", path, `{"owner":"a\u0000b"}`)
		a.refused(t, http.StatusConflict, "name_taken", "name", "POST", path, `{"name":"billing"}`)
	})
	second := a.must(t, http.StatusCreated, "POST", path, "").key("key")["id"].(string)
	a.unchanged(t, func() {
		got := a.refused(t, http.StatusConflict, "already_rotated", "", "POST", path, "")
		if want := "This key already has an active replacement, " + second + ". Rotate or revoke that one."; got.body["error"] != want {
			t.Errorf("got %q, want %q", got.body["error"], want)
		}
		if strings.Contains(got.raw, "agk_") {
			t.Errorf("got %s, want no token in it", got.raw)
		}
	})
	// A replacement that has ended does not prevent another one.
	a.must(t, http.StatusOK, "POST", keysPage+"/"+second+"/revoke", "")
	a.must(t, http.StatusCreated, "POST", path, `{"revoke_old_in":"0s"}`)
	a.unchanged(t, func() {
		a.refused(t, http.StatusConflict, "not_active", "", "POST", path, "")
		a.refused(t, http.StatusConflict, "not_active", "", "POST", keysPage+"/"+second+"/rotate", "")
		a.at(start.Add(90 * day))
		a.refused(t, http.StatusConflict, "not_active", "", "POST", path, "")
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

func TestTokens(t *testing.T) {
	a := newAPI(t)
	id, token := a.create(t, "acme", "Zapier")
	body := `{"token":"` + token + `"}`
	path := keysPage + "/" + id
	equal(t, "looked up", a.must(t, http.StatusOK, "POST", "/tokens/lookup", body).body, a.must(t, http.StatusOK, "GET", path, "").body)
	newest := a.trail(t, "/workspaces/acme/audit")[0]
	equal(t, "operation", newest["operation"], any("lookup"))
	equal(t, "key of the event", newest["key_id"], any(id))
	equal(t, "details", newest["details"], any(object(t, `{"name":"Zapier"}`)))

	a.at(start.Add(time.Hour))
	revoked := a.must(t, http.StatusOK, "POST", "/tokens/revoke", `{"token":"`+token+`","reason":" leaked "}`)
	equal(t, "status", revoked.key("key")["status"], any("revoked"))
	equal(t, "reason", revoked.key("key")["revoke_reason"], any("leaked"))
	shown := a.must(t, http.StatusOK, "GET", path, "").body
	equal(t, "revoked", revoked.body, confirmed(t, shown, 4))
	newest = a.trail(t, "/workspaces/acme/audit")[0]
	equal(t, "operation", newest["operation"], any("revoke"))
	equal(t, "details", newest["details"], any(object(t, `{"name":"Zapier","reason":"leaked"}`)))

	a.at(start.Add(2 * time.Hour))
	equal(t, "revoked again", a.must(t, http.StatusOK, "POST", "/tokens/revoke", body).body, confirmed(t, shown, 5))
	equal(t, "looked up when revoked", a.must(t, http.StatusOK, "POST", "/tokens/lookup", body).body, shown)
}

// The token of an imported key is found and revoked, whatever its form.
func TestTokens_foreign(t *testing.T) {
	a := newAPI(t)
	const token = "sk_live_4eC39HqLyjWDarjtT1zdp7dc+/~.-="
	key := apikey.Key{
		ID: apikey.NewKeyID(start), WorkspaceID: "acme", Name: "Zapier", Preset: apikey.ReadOnly, Digest: sha256.Sum256([]byte(token)),
		TokenHint: "sk_live_…7dc", Imported: true, CreatedAt: start, ExpiresAt: start.Add(time.Hour),
	}
	if _, err := a.store.Apply(t.Context(), apikey.Change{EventID: apikey.NewEventID(start), At: start, Do: apikey.Create{Key: key}}); err != nil {
		t.Fatal(err)
	}
	body := `{"token":"` + token + `"}`
	equal(t, "looked up", a.must(t, http.StatusOK, "POST", "/tokens/lookup", body).key("key")["id"], any(key.ID))
	equal(t, "revoked", a.must(t, http.StatusOK, "POST", "/tokens/revoke", body).key("key")["status"], any("revoked"))
	if trail := a.must(t, http.StatusOK, "GET", "/audit", "").raw; strings.Contains(trail, token) {
		t.Errorf("the token is in the audit trail: %s", trail)
	}
}

// An unknown token is not found, and a malformed one is refused as such. Neither token
// is recorded anywhere.
func TestTokens_unknown(t *testing.T) {
	a := newAPI(t)
	_, token := a.create(t, "acme", "Zapier")
	secret := someToken[len("agk_"):]
	for _, call := range []string{"/tokens/lookup", "/tokens/revoke"} {
		a.refused(t, http.StatusNotFound, "not_found", "", "POST", call, `{"token":"`+someToken+`"}`)
		newest := a.trail(t, "/audit")[0]
		equal(t, call+": operation", newest["operation"], any("lookup"))
		equal(t, call+": details", newest["details"], any(object(t, `{"refused":"not_found"}`)))
		for _, foreign := range []string{"xyz_" + token[4:], strings.ToUpper(someToken), "0190f1c2-8a4e-7c30-b0f5-0e6a3f1d2c4b"} {
			got := a.refused(t, http.StatusNotFound, "not_found", "", "POST", call, `{"token":"`+foreign+`"}`)
			equal(t, call+": a foreign token", got.body["error"], any("No key has this token."))
		}
		for _, presented := range []string{
			"", " ", "x", "agk_", someToken[:52], someToken + "x", " " + someToken, someToken + "\\n", "Bearer " + someToken, "0123456789abcde",
			token[:52] + "~", token + " ", strings.Repeat("a", 60_000),
		} {
			a.unchanged(t, func() {
				got := a.refused(t, http.StatusNotFound, "not_found", "", "POST", call, `{"token":"`+presented+`"}`)
				if want := apikey.TokenFlaw(strings.ReplaceAll(presented, "\\n", "\n")); !strings.HasSuffix(got.body["error"].(string), want) {
					t.Errorf("%s: got %s for %.60q, want %q", call, got.raw, presented, want)
				}
			})
		}
		a.refused(t, http.StatusNotFound, "not_found", "", "POST", call, `{}`)
		for _, body := range []string{`{"token":1}`, `{"token":["` + someToken + `"]}`, `{"` + someToken + `":1}`, `"` + someToken + `"`, `{"token":"` + someToken + `"`, someToken} {
			if got := a.refused(t, http.StatusBadRequest, "invalid_json", "", "POST", call, body); strings.Contains(got.raw, secret) {
				t.Errorf("%s %s: got the secret in %s, want it nowhere", call, body, got.raw)
			}
		}
	}
	a.refused(t, http.StatusUnprocessableEntity, "invalid_reason", "reason", "POST", "/tokens/revoke", `{"token":"`+token+`","reason":"a\nb"}`)
	if all := a.must(t, http.StatusOK, "GET", "/audit?limit=200", "").raw; strings.Contains(all, secret) || strings.Contains(all, token[4:]) {
		t.Errorf("got a secret in the audit trail %s, want it nowhere", all)
	}
	equal(t, "status", a.must(t, http.StatusOK, "GET", keysPage, "").body["keys"].([]any)[0].(map[string]any)["status"], any("active"))
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

// Every code can occur.
func TestCodes_allAnswered(t *testing.T) {
	a := newAPI(t, func(c *Config) { c.Rules.MaxActiveKeys = 4 })
	rotated, _ := a.create(t, "acme", "Rotated")
	a.must(t, http.StatusCreated, "POST", keysPage+"/"+rotated+"/rotate", "")
	revoked, _ := a.create(t, "acme", "Revoked")
	a.must(t, http.StatusOK, "POST", keysPage+"/"+revoked+"/revoke", "")
	a.must(t, http.StatusCreated, "POST", "/workspaces/full/keys", zapier)
	for i := range 3 {
		a.create(t, "full", fmt.Sprintf("Number %d", i))
	}
	pinned := newAPI(t, func(c *Config) { c.Workspace = func(*http.Request) string { return "acme" } })
	limited := newAPI(t, func(c *Config) {
		c.Workspace = func(*http.Request) string { return "acme" }
		c.CountChange = func(string) time.Duration { return time.Second }
	})
	closed := newAPI(t, func(c *Config) { c.Keys = func() Keys { return nil } })
	full := newAPI(t, func(c *Config) {
		s := c.Keys().(*store.Store)
		c.Keys = func() Keys { return failing{s, apikey.ErrNoSpace} }
	})
	refusing := newAPI(t, func(c *Config) { c.Fleet = func() Fleet { return unlike{} } })
	ignore := func(operation, outcome string) {}
	guarded := &api{Server: httptest.NewServer(held(t, http.HandlerFunc(New(Config{Observe: ignore}).Unauthorized)))}
	defer guarded.Close()

	body := func(member, value string) string {
		fields := map[string]string{"name": "Zapier", "preset": "read_only", member: value}
		encoded, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		return string(encoded)
	}
	left := maps.Clone(statuses)
	for _, test := range []struct {
		code               string
		api                *api
		method, path, body string
		fields             []string
	}{
		{"invalid_json", a, "POST", keysPage, "[]", nil},
		{"invalid_cursor", a, "GET", keysPage + "?cursor=x", "", nil},
		{"invalid_limit", a, "GET", keysPage + "?limit=x", "", nil},
		{"invalid_days", a, "GET", keysPage + "/" + rotated + "/usage?days=0", "", nil},
		{"invalid_status", a, "GET", keysPage + "?status=x", "", nil},
		{"invalid_query", a, "GET", keysPage + "?q=%zz", "", nil},
		{"unauthorized", guarded, "GET", keysPage, "", nil},
		{"workspace_mismatch", pinned, "GET", "/audit", "", nil},
		{"cross_origin", a, "POST", keysPage, zapier, []string{"Origin: https://evil.example"}},
		{"not_found", a, "GET", keysPage + "/" + someKey, "", nil},
		{"method_not_allowed", a, "DELETE", keysPage, "", nil},
		{"name_taken", a, "POST", keysPage, body("name", "Rotated"), nil},
		{"too_many_keys", a, "POST", "/workspaces/full/keys", body("name", "One more"), nil},
		{"already_rotated", a, "POST", keysPage + "/" + rotated + "/rotate", "", nil},
		{"not_active", a, "POST", keysPage + "/" + revoked + "/rotate", "", nil},
		{"clock_agrees", a, "POST", "/clock/trust", "", nil},
		{"integrity_key_differs", refusing, "POST", "/fleet/rekey", "", nil},
		{"body_too_large", a, "POST", keysPage, strings.Repeat(" ", maxBody+1), nil},
		{"not_json", a, "POST", keysPage, zapier, []string{"Content-Type: text/plain"}},
		{"invalid_name", a, "POST", keysPage, body("name", "x"), nil},
		{"vague_name", a, "POST", keysPage, body("name", "test"), nil},
		{"invalid_owner", a, "POST", keysPage, body("owner", "a\nb"), nil},
		{"invalid_reason", a, "POST", "/workspaces/acme/revoke-all", "", nil},
		{"invalid_preset", a, "POST", keysPage, body("preset", "x"), nil},
		{"invalid_workspace", a, "GET", "/workspaces/.x", "", nil},
		{"invalid_duration", a, "POST", keysPage, body("expires_in", "x"), nil},
		{"invalid_backup", a, "POST", "/restore", "x", []string{"Content-Type: application/octet-stream"}},
		{"store_unavailable", closed, "GET", "/healthz", "", nil},
		{"too_many_changes", limited, "POST", keysPage, zapier, nil},
		{"no_space", full, "POST", keysPage, zapier, nil},
	} {
		got := test.api.must(t, statuses[test.code], test.method, test.path, test.body, test.fields...)
		equal(t, test.method+" "+test.path+" "+test.body[:min(len(test.body), 80)], got.body["code"], any(test.code))
		delete(left, test.code)
	}
	line := importLine("Imported", "sk_1")
	a.imports(t, line)
	for code, refused := range map[string]map[string]any{
		"token_taken":          with(line, "name", "Another"),
		"invalid_token_sha256": with(line, "token_sha256", ""),
		"invalid_token_hint":   with(line, "token_hint", "sk_1"),
		"invalid_created_at":   with(line, "created_at", "x"),
		"invalid_expires_at":   with(line, "expires_at", "x"),
	} {
		answers, _ := a.importAt(t, "/import", ndjson(t, refused))
		equal(t, "code of a line", answers[0]["code"], any(code))
		delete(left, code)
	}
	for code := range left {
		t.Errorf("no call was answered with %s", code)
	}
	calls := 0
	for _, methods := range resources() {
		calls += len(methods)
	}
	equal(t, "calls of everything()", len(everything()), calls)
}
