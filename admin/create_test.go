package admin

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

func TestCreate(t *testing.T) {
	a := newAPI(t)
	got := a.must(t, http.StatusCreated, "POST", keysPage, `{"name":" Zapier production ","owner":"Ops","preset":"full_access","expires_in":"30d"}`)
	key := got.body["key"].(map[string]any)
	id, _ := key["id"].(string)
	text, _ := got.body["token"].(string)
	token, ok := apikey.ParseToken(text)
	if !ok || !strings.HasPrefix(text, "agk_") || len(text) != 53 {
		t.Fatalf("got the token %q, want a well-formed one", text)
	}
	if !apikey.ValidKeyID(id) {
		t.Errorf("got the id %q, want a key's", id)
	}
	want := object(t, `{"workspace_id":"acme","name":"Zapier production","owner":"Ops","preset":"full_access","abilities":["read","write"],
		"status":"active","created_at":"2026-03-01T12:00:00Z","created_by":"tester","expires_at":"2026-03-31T12:00:00Z","last_used_at":null,
		"revokes_at":null,"revoked_at":null,"revoked_by":null,"revoke_reason":null,"replaces":null,"replaced_by":null,"exposed_at":null}`)
	want["id"], want["token_hint"] = id, "agk_…"+text[49:]
	equal(t, "key", key, want)
	equal(t, "members of the answer", len(got.body), 2)

	stored, err := a.store.Lookup(token.Digest())
	if err != nil || stored.ID != id {
		t.Errorf("the token in the store: got error %v, want key %s", err, id)
	}
	shown := a.must(t, http.StatusOK, "GET", keysPage+"/"+id, "")
	equal(t, "shown", shown.body, map[string]any{"key": key})
}

func TestCreate_minimal(t *testing.T) {
	a := newAPI(t)
	key := a.must(t, http.StatusCreated, "POST", keysPage, zapier).body["key"].(map[string]any)
	equal(t, "owner", key["owner"], "")
	equal(t, "abilities", key["abilities"], []any{"read"})
	equal(t, "expires_at", key["expires_at"], "2026-05-30T12:00:00Z")
}

func TestCreate_life(t *testing.T) {
	for _, test := range []struct{ asked, expires string }{
		{`"30d"`, "2026-03-31T12:00:00Z"},
		{`"90d"`, "2026-05-30T12:00:00Z"},
		{`"0.5d"`, "2026-03-02T00:00:00Z"},
		{`"1d12h"`, "2026-03-03T00:00:00Z"},
		{`"36h"`, "2026-03-03T00:00:00Z"},
		{`"2160h"`, "2026-05-30T12:00:00Z"},
		{`"1h30m"`, "2026-03-01T13:30:00Z"},
		{`"1500ms"`, "2026-03-01T12:00:01.5Z"},
		{`"1ms"`, "2026-03-01T12:00:00.001Z"},
		{`"1.9ms"`, "2026-03-01T12:00:00.001Z"},
		{`"89d23h59m59.999s"`, "2026-05-30T11:59:59.999Z"},
		{`"2160h0m0.001s"`, ""},
		{`"91d"`, ""},
		{`"100000000d"`, ""},
		{`"9999999999999h"`, ""},
		{`"1ns"`, ""},
		{`"0s"`, ""},
		{`"0d"`, ""},
		{`"-1h"`, ""},
		{`"-1d"`, ""},
		{`"1d-1h"`, ""},
		{`""`, ""},
		{`"90"`, ""},
		{`"soon"`, ""},
		{`"d"`, ""},
		{`" 1d"`, ""},
		{`"1d "`, ""},
		{`"1w"`, ""},
		{`"1h1d"`, ""},
		{`"NaNd"`, ""},
		{`"infd"`, ""},
		{`"1e2d"`, ""},
		{`"0x1d"`, ""},
	} {
		t.Run(test.asked, func(t *testing.T) {
			a := newAPI(t)
			body := `{"name":"Zapier","preset":"read_only","expires_in":` + test.asked + `}`
			if test.expires == "" {
				a.refused(t, http.StatusUnprocessableEntity, "invalid_duration", "expires_in", "POST", keysPage, body)
				equal(t, "events", a.events(t), 0)
				return
			}
			key := a.must(t, http.StatusCreated, "POST", keysPage, body).body["key"].(map[string]any)
			equal(t, "expires_at", key["expires_at"], test.expires)
			equal(t, "status", key["status"], "active")
			shown := a.must(t, http.StatusOK, "GET", keysPage+"/"+key["id"].(string), "")
			equal(t, "shown", shown.body["key"], any(key))
		})
	}
}

func TestCreate_refused(t *testing.T) {
	long := strings.Repeat("ü", 81)
	for _, test := range []struct{ title, body, code, field string }{
		{"no body", ``, "invalid_name", "name"},
		{"no name", `{"preset":"read_only"}`, "invalid_name", "name"},
		{"short name", `{"name":" ab ","preset":"read_only"}`, "invalid_name", "name"},
		{"long name", `{"name":"` + long + `","preset":"read_only"}`, "invalid_name", "name"},
		{"line break in the name", `{"name":"Zapier\nproduction","preset":"read_only"}`, "invalid_name", "name"},
		{"NUL in the name", `{"name":"Zapier\u0000","preset":"read_only"}`, "invalid_name", "name"},
		{"override in the name", `{"name":"Zapier\u202eproduction","preset":"read_only"}`, "invalid_name", "name"},
		{"zero width in the name", `{"name":"Zapier\u200bproduction","preset":"read_only"}`, "invalid_name", "name"},
		{"vague name", `{"name":"Test 2","preset":"read_only"}`, "vague_name", "name"},
		{"long owner", `{"name":"Zapier","owner":"` + long + `","preset":"read_only"}`, "invalid_owner", "owner"},
		{"control character in the owner", `{"name":"Zapier","owner":"Ops\u001b[31m","preset":"read_only"}`, "invalid_owner", "owner"},
		{"no preset", `{"name":"Zapier"}`, "invalid_preset", "preset"},
		{"empty preset", `{"name":"Zapier","preset":""}`, "invalid_preset", "preset"},
		{"unknown preset", `{"name":"Zapier","preset":"admin"}`, "invalid_preset", "preset"},
		{"preset in another case", `{"name":"Zapier","preset":"Read_Only"}`, "invalid_preset", "preset"},
		{"preset of the command line", `{"name":"Zapier","preset":"read-only"}`, "invalid_preset", "preset"},
	} {
		t.Run(test.title, func(t *testing.T) {
			a := newAPI(t)
			a.refused(t, http.StatusUnprocessableEntity, test.code, test.field, "POST", keysPage, test.body)
			equal(t, "events", a.events(t), 0)
		})
	}
}

func TestCreate_conflicts(t *testing.T) {
	a := newAPI(t)
	_, token := a.create(t, "acme", "Zapier production")
	// A retry does not show the secret again.
	got := a.refused(t, http.StatusConflict, "name_taken", "name", "POST", keysPage, `{"name":"ZAPIER production","preset":"read_only"}`)
	if strings.Contains(got.raw, token) || strings.Contains(got.raw, "agk_") {
		t.Errorf("got %s, want no token in it", got.raw)
	}
	a.create(t, "acme", "Second")
	a.create(t, "acme", "Third")
	a.refused(t, http.StatusConflict, "too_many_keys", "", "POST", keysPage, `{"name":"Fourth","preset":"read_only"}`)
	a.create(t, "other", "Fourth")
	equal(t, "events", a.events(t), 4)
}

func TestCreate_vagueNameAllowed(t *testing.T) {
	a := newAPI(t, func(c *Config) { c.Rules.AllowVagueNames = true })
	a.create(t, "acme", "test")
}

// What users typed is treated as text wherever it is shown.
func TestText_isPlain(t *testing.T) {
	for _, text := range []string{`<script>alert(1)</script>`, `=cmd()`, `{env.HOME}`, `{http.request.header.X}`, `"quoted" \ & 'this'`, `Köln 東京 🔑`, `%s%n%00`} {
		t.Run(text, func(t *testing.T) {
			a := newAPI(t)
			id, _ := a.create(t, "acme", text)
			reason, _ := json.Marshal(map[string]string{"reason": text})
			a.must(t, http.StatusOK, "POST", keysPage+"/"+id+"/revoke", string(reason))
			shown := a.must(t, http.StatusOK, "GET", keysPage+"/"+id, "")
			key := shown.body["key"].(map[string]any)
			equal(t, "name", key["name"], text)
			equal(t, "reason", key["revoke_reason"], text)
			trail := a.must(t, http.StatusOK, "GET", "/audit", "")
			events := trail.body["events"].([]any)
			equal(t, "events", len(events), 2)
			for _, event := range events {
				equal(t, "name in the trail", event.(map[string]any)["details"].(map[string]any)["name"], text)
			}
			for _, answer := range []reply{shown, trail} {
				if strings.ContainsAny(answer.raw, "<>&") {
					t.Errorf("got markup in %s, want it escaped", answer.raw)
				}
			}
		})
	}
}

// The token is in the response that creates the key, and in no other.
func TestToken_isShownOnce(t *testing.T) {
	a := newAPI(t)
	id, token := a.create(t, "acme", "Zapier")
	secret := token[len("agk_"):]
	for _, request := range [][3]string{
		{"GET", keysPage, ""}, {"GET", keysPage + "/" + id, ""}, {"GET", "/workspaces/acme", ""}, {"GET", "/audit", ""},
		{"GET", "/workspaces/acme/audit", ""}, {"GET", keysPage + "?q=" + token, ""}, {"POST", keysPage, `{"name":"Zapier","preset":"read_only"}`},
		{"POST", keysPage, `{"token":"` + token + `"}`}, {"POST", keysPage, `{"` + token + `":1}`}, {"POST", keysPage, `{"name":{"` + token + `":1}}`},
		{"POST", keysPage, `{"name":"Other","preset":"` + token + `"}`}, {"GET", keysPage + "/" + token, ""}, {"GET", "/workspaces/" + token + "/keys", ""},
		{"GET", keysPage + "?cursor=" + token, ""}, {"GET", keysPage + "?status=" + token, ""},
		{"PATCH", keysPage + "/" + id, `{"owner":"Kim"}`}, {"PATCH", keysPage + "/" + id, `{"` + token + `":1}`},
		{"POST", "/tokens/lookup", `{"token":"` + token + `"}`}, {"POST", "/tokens/lookup", `{"token":"` + token + `x"}`}, {"POST", "/tokens/lookup", `{"token":{"` + token + `":1}}`},
		{"POST", keysPage + "/" + id + "/rotate", `{"revoke_old_in":"` + token + `"}`}, {"POST", keysPage + "/" + id + "/rotate", `{"name":"Another"}`},
		{"POST", "/tokens/revoke", `{"token":"` + token + `","reason":"leaked"}`}, {"POST", "/tokens/revoke", `{"token":"` + token + `"}`},
		{"POST", keysPage + "/" + id + "/revoke", ""}, {"POST", "/workspaces/acme/revoke-all", `{"reason":"left"}`},
		{"GET", keysPage + "/" + id, ""}, {"GET", keysPage, ""}, {"GET", "/audit", ""}, {"GET", "/workspaces/acme/audit", ""},
	} {
		if got := a.send(t, request[0], request[1], request[2]); strings.Contains(got.raw, secret) {
			t.Errorf("%v: got the secret in %s, want it nowhere", request, got.raw)
		}
	}
}
