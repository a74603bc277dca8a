package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// What can be wrong with a line, by its refusal.
func TestImport_refusedLines(t *testing.T) {
	line := importLine("Zapier production", "sk_live_1")
	ours := apikey.NewToken("agk").Reveal()
	tooLong := ndjson(t, with(line, "owner", strings.Repeat("x", maxBody)))
	exact := strings.TrimSuffix(ndjson(t, line), "\n")
	exact += strings.Repeat(" ", maxBody-len(exact))
	for _, test := range []struct {
		title string
		line  any
		code  string
		field string
	}{
		{"nothing in it", "{}", "invalid_workspace", "workspace_id"},
		{"no JSON", "{", "invalid_json", ""},
		{"no object", "[]", "invalid_json", ""},
		{"two objects", "{}{}", "invalid_json", ""},
		{"a byte-order mark", "\ufeff" + exact[:200], "invalid_json", ""},
		{"no UTF-8", `{"name":"` + "\xff" + `"}`, "invalid_json", ""},
		{"an unknown member", with(line, "token", ours), "invalid_json", ""},
		{"a member in another case", with(line, "Owner", "Ops"), "invalid_json", ""},
		{"a member twice", `{"name":"Zapier","name":"Zapier"}`, "invalid_json", ""},
		{"a null", with(line, "expires_at", nil), "invalid_json", ""},
		{"a number for a time", with(line, "expires_at", 1e9), "invalid_json", ""},
		{"too long", strings.TrimSuffix(tooLong, "\n"), "body_too_large", ""},
		{"a byte too long", exact + " ", "body_too_large", ""},
		{"a workspace", with(line, "workspace_id", "a b"), "invalid_workspace", "workspace_id"},
		{"a short name", with(line, "name", "ab"), "invalid_name", "name"},
		{"a token for a name", with(line, "name", ours), "invalid_name", "name"},
		{"its token for a name", with(line, "name", "sk_live_1"), "invalid_name", "name"},
		{"its token for an owner", with(line, "owner", "sk_live_1"), "invalid_owner", "owner"},
		{"its token for a workspace", with(line, "workspace_id", "sk_live_1"), "invalid_workspace", "workspace_id"},
		{"its token in its name", importLine("Key sk_live_0123456789", "sk_live_0123456789"), "invalid_name", "name"},
		{"its token at the end of a sentence", with(importLine("Zapier", "sk.live/0123456789=="), "owner", "It is sk.live/0123456789==."), "invalid_owner", "owner"},
		{"its token among others", with(importLine("Zapier", "sk_live_0123456789"), "token_hint", "(sk_live_0123456780,sk_live_0123456789)"), "invalid_token_hint", "token_hint"},
		{"a long owner", with(line, "owner", strings.Repeat("x", 81)), "invalid_owner", "owner"},
		{"no preset", with(line, "preset", ""), "invalid_preset", "preset"},
		{"no digest", with(line, "token_sha256", ""), "invalid_token_sha256", "token_sha256"},
		{"a short digest", with(line, "token_sha256", strings.Repeat("0", 63)), "invalid_token_sha256", "token_sha256"},
		{"a long digest", with(line, "token_sha256", strings.Repeat("0", 65)), "invalid_token_sha256", "token_sha256"},
		{"a digest with other digits", with(line, "token_sha256", strings.Repeat("g", 64)), "invalid_token_sha256", "token_sha256"},
		{"a token for a digest", with(line, "token_sha256", ours), "invalid_token_sha256", "token_sha256"},
		{"a long hint", with(line, "token_hint", strings.Repeat("x", 41)), "invalid_token_hint", "token_hint"},
		{"an invisible hint", with(line, "token_hint", "a\u202eb"), "invalid_token_hint", "token_hint"},
		{"its token for a hint", with(line, "token_hint", " sk_live_1 "), "invalid_token_hint", "token_hint"},
		{"one of our tokens for a hint", with(line, "token_hint", ours), "invalid_token_hint", "token_hint"},
		{"a creation to come", with(line, "created_at", "2026-03-01T12:00:00.001Z"), "invalid_created_at", "created_at"},
		{"a creation before 1970", with(line, "created_at", "1969-12-31T23:59:59Z"), "invalid_created_at", "created_at"},
		{"a creation that is no time", with(line, "created_at", "yesterday"), "invalid_created_at", "created_at"},
		{"a creation without a zone", with(line, "created_at", "2026-02-01T12:00:00"), "invalid_created_at", "created_at"},
		{"an empty creation", with(line, "created_at", ""), "invalid_created_at", "created_at"},
		{"an expiry now", with(line, "expires_at", "2026-03-01T12:00:00.0009Z"), "invalid_expires_at", "expires_at"},
		{"an expiry in the past", with(line, "expires_at", "2026-02-01T12:00:00Z"), "invalid_expires_at", "expires_at"},
		{"an expiry that is no time", with(line, "expires_at", "90d"), "invalid_expires_at", "expires_at"},
	} {
		t.Run(test.title, func(t *testing.T) {
			a := newAPI(t)
			for _, path := range []string{"/import?dry_run=true", "/import?dry_run=false"} {
				answers, summary := a.importAt(t, path, ndjson(t, test.line, line))
				want := map[string]any{"line": 1.0, "outcome": "refused", "code": test.code, "error": answers[0]["error"]}
				if test.field != "" {
					want["field"] = test.field
				}
				equal(t, "refusal", answers[0], want)
				if said := answers[0]["error"].(string); strings.Contains(said, ours) || strings.Contains(said, "sk_live_1") || strings.Contains(said, "0123456789") {
					t.Errorf("got the error %q, want it without the token", said)
				}
				equal(t, "the next line", answers[1]["outcome"], any("imported"))
				equal(t, "summary", summary, map[string]any{"imported": 1.0, "unchanged": 0.0, "refused": 1.0})
			}
			equal(t, "events", len(a.trail(t, "/audit")), 1)
		})
	}
	a := newAPI(t)
	a.imports(t, exact, with(importLine("Upper case", ""), "token_sha256", strings.ToUpper(sha256Of("sk_live_2"))))
}

// A token belongs to one key for good, and a name to one active key. A dry run says the
// same, and changes nothing.
func TestImport_taken(t *testing.T) {
	a := newAPI(t)
	native, token := a.create(t, "acme", "Ace")
	a.imports(t, importLine("Zapier", "sk_1"), importLine("Revoked", "sk_2"), with(importLine("Expired", "sk_3"), "expires_at", "2026-03-02T12:00:00Z"))
	byName := map[string]string{}
	for _, key := range a.must(t, 200, "GET", keysPage, "").body["keys"].([]any) {
		byName[key.(map[string]any)["name"].(string)] = key.(map[string]any)["id"].(string)
	}
	a.must(t, 200, "POST", keysPage+"/"+byName["Revoked"]+"/revoke", "{}")
	feed := a.must(t, 201, "POST", "/workspaces/acme/calendar/feed", "{}").body["path"].(string)
	a.at(start.Add(day))
	feedToken := strings.TrimSuffix(feed[strings.LastIndex(feed, "/")+1:], ".ics")

	same := func(id string) map[string]any { return map[string]any{"outcome": "unchanged", "key_id": id} }
	refused := func(code, field string) map[string]any {
		return map[string]any{"outcome": "refused", "code": code, "field": field}
	}
	imported := map[string]any{"outcome": "imported"}
	taken := refused("token_taken", "token_sha256")
	cases := []struct {
		title string
		line  map[string]any
		want  map[string]any
	}{
		{"the same again", importLine("Zapier", "sk_1"), same(byName["Zapier"])},
		{"with another owner", with(importLine("Zapier", "sk_1"), "owner", "Ops"), same(byName["Zapier"])},
		{"under another name", importLine("ZAPIER", "sk_1"), taken},
		{"with another preset", with(importLine("Zapier", "sk_1"), "preset", "full_access"), taken},
		{"for another workspace", with(importLine("Zapier", "sk_1"), "workspace_id", "globex"), taken},
		{"a key that was revoked", importLine("Revoked", "sk_2"), taken},
		{"a key that has expired", importLine("Expired", "sk_3"), taken},
		{"a key of ours", importLine("Ace", token), same(native)},
		{"the token of a calendar feed", importLine("Calendar", feedToken), taken},
		{"the name of an active key", importLine("zapier", "sk_4"), refused("name_taken", "name")},
		{"a name that looks like it", importLine("Асе", "sk_4"), refused("name_taken", "name")},
		{"the name of a key that has ended", importLine("Revoked", "sk_5"), imported},
		{"the same in this import", importLine("Revoked", "sk_5"), map[string]any{"outcome": "unchanged"}},
		{"its token in this import, under another name", importLine("Zapier", "sk_5"), taken},
		{"its name in this import", importLine("REVOKED", "sk_6"), refused("name_taken", "name")},
		{"the same name in another workspace", with(importLine("REVOKED", "sk_6"), "workspace_id", "globex"), imported},
	}
	var lines []any
	for _, c := range cases {
		lines = append(lines, c.line)
	}
	events := len(a.trail(t, "/audit"))
	for _, path := range []string{"/import?dry_run=true", "/import?dry_run=true", "/import"} {
		answers, summary := a.importAt(t, path, ndjson(t, lines...))
		for i, c := range cases {
			got := answers[i]
			for member, want := range c.want {
				equal(t, path+" "+c.title+": "+member, got[member], want)
			}
			if id, ok := got["key_id"].(string); ok != (got["outcome"] != "refused") || ok && !apikey.ValidKeyID(id) {
				t.Errorf("%s %s: got the id %v", path, c.title, got["key_id"])
			}
		}
		equal(t, "the same key", answers[12]["key_id"], answers[11]["key_id"])
		equal(t, "summary", summary, map[string]any{"imported": 2.0, "unchanged": 4.0, "refused": 10.0})
		if path != "/import" {
			equal(t, "events after a dry run", len(a.trail(t, "/audit")), events)
			a.must(t, 404, "GET", keysPage+"/"+answers[11]["key_id"].(string), "")
		}
	}
	equal(t, "events", len(a.trail(t, "/audit")), events+2)
	for _, event := range a.trail(t, "/audit") {
		encoded, _ := json.Marshal(event)
		for _, secret := range []string{"sk_1", "sk_5", sha256Of("sk_5")} {
			if bytes.Contains(encoded, []byte(secret)) {
				t.Errorf("got the event %s, want it without %s", encoded, secret)
			}
		}
	}
	// A key that was imported, has ended, and was imported again would be back.
	answers, _ := a.importAt(t, "/import", ndjson(t, importLine("Revoked", "sk_2")))
	equal(t, "the revoked key again", answers[0]["code"], any("token_taken"))
}

// More keys can be imported than a workspace may create, even while it is suspended.
func TestImport_beyondTheLimit(t *testing.T) {
	a := newAPI(t)
	a.must(t, 200, "POST", "/workspaces/acme/suspend", "{}")
	var lines []any
	for n := range 2*importedAtOnce + 1 {
		lines = append(lines, importLine(fmt.Sprint("Key ", n), fmt.Sprint("sk_", n)))
	}
	a.imports(t, lines...)
	a.refused(t, 409, "too_many_keys", "", "POST", keysPage, zapier)
	revoked := a.must(t, 200, "POST", "/workspaces/acme/revoke-all", `{"reason":"moved"}`)
	equal(t, "revoked", revoked.body["revoked"], any(float64(len(lines))))
}

func TestImport_refused(t *testing.T) {
	body := ndjson(t, importLine("Zapier", "sk_1"))
	media := "Content-Type: " + importType
	for _, test := range []struct {
		title, path string
		fields      []string
		status      int
		code, field string
	}{
		{"another type", "/import", nil, 415, "not_json", ""},
		{"no type", "/import", []string{"Content-Type: "}, 415, "not_json", ""},
		{"compressed", "/import", []string{media, "Content-Encoding: gzip"}, 415, "not_json", ""},
		{"neither true nor false", "/import?dry_run=1", []string{media}, 400, "invalid_query", "dry_run"},
		{"nothing", "/import?dry_run=", []string{media}, 400, "invalid_query", "dry_run"},
		{"twice", "/import?dry_run=true&dry_run=true", []string{media}, 400, "invalid_query", "dry_run"},
		{"misspelt", "/import?dryrun=true", []string{media}, 400, "invalid_query", ""},
		{"in upper case", "/import?DRY_RUN=true", []string{media}, 400, "invalid_query", ""},
		{"next to another spelling", "/import?dry_run=false&dry-run=true", []string{media}, 400, "invalid_query", ""},
		{"a page of another origin", "/import", []string{media, "Sec-Fetch-Site: cross-site"}, 403, "cross_origin", ""},
	} {
		a := newAPI(t)
		a.refused(t, test.status, test.code, test.field, "POST", test.path, body, test.fields...)
		equal(t, test.title+": observed", a.observed, []string{"import " + test.code})
		equal(t, test.title+": events", len(a.trail(t, "/audit")), 0)
	}
	a := newAPI(t)
	equal(t, "Allow", a.refused(t, 405, "method_not_allowed", "", "GET", "/import", "").header.Get("Allow"), "POST")
	pinned := newAPI(t, func(c *Config) { c.Workspace = func(*http.Request) string { return "acme" } })
	pinned.refused(t, 403, "workspace_mismatch", "", "POST", "/import", body, media)
	none := newAPI(t, func(c *Config) { c.Keys = func() Keys { return nil } })
	none.refused(t, 503, "store_unavailable", "", "POST", "/import", body, media)
}
