package admin

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

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
