package admin

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/store"
)

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
