package admin

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func sha256Of(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// importLine returns a line that nothing is wrong with.
func importLine(name, token string) map[string]any {
	return map[string]any{"workspace_id": "acme", "name": name, "preset": "read_only", "token_sha256": sha256Of(token)}
}

// with returns a line with another member.
func with(line map[string]any, member string, value any) map[string]any {
	changed := map[string]any{}
	for name, v := range line {
		changed[name] = v
	}
	changed[member] = value
	return changed
}

// ndjson encodes lines. A string is a line as it is.
func ndjson(t testing.TB, lines ...any) string {
	t.Helper()
	var all strings.Builder
	for _, l := range lines {
		if raw, ok := l.(string); ok {
			all.WriteString(raw + "\n")
			continue
		}
		encoded, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(append(encoded, '\n'))
	}
	return all.String()
}

// importAt sends lines, and returns the answers as they are: of each line, and the summary.
func (a *api) importAt(t testing.TB, path, body string) (answers []map[string]any, summary map[string]any) {
	t.Helper()
	response, err := http.Post(a.URL+path, importType, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("POST %s: got %d %s (%v), want answers", path, response.StatusCode, raw, err)
	}
	for name, want := range map[string]string{"Cache-Control": "no-store", "Content-Type": importType, "X-Content-Type-Options": "nosniff"} {
		equal(t, name, response.Header.Get(name), want)
	}
	for text := range bytes.Lines(raw) {
		answers = append(answers, object(t, string(text)))
	}
	if len(answers) == 0 {
		t.Fatal("got no answers")
	}
	return answers[:len(answers)-1], answers[len(answers)-1]
}

// imports imports lines that must be imported, and returns the ids of their keys.
func (a *api) imports(t testing.TB, lines ...any) (ids []string) {
	t.Helper()
	answers, summary := a.importAt(t, "/import", ndjson(t, lines...))
	equal(t, "summary", summary, map[string]any{"imported": float64(len(lines)), "unchanged": 0.0, "refused": 0.0})
	for i, answer := range answers {
		equal(t, "outcome", answer, map[string]any{"line": float64(i + 1), "key_id": answer["key_id"], "outcome": "imported"})
		ids = append(ids, answer["key_id"].(string))
	}
	return ids
}

// An imported key is as it was where it comes from, as far as the rules of the gateway
// allow.
func TestImport(t *testing.T) {
	a := newAPI(t)
	whole := with(with(with(with(importLine("  Zapier production ", "sk_live_1"), "owner", "Ops"), "token_hint", "sk_live_…1"), "created_at", "2024-02-29T13:00:00.1239+01:00"), "expires_at", "2026-03-03T12:00:00Z")
	late := with(importLine("Late", "sk_live_3"), "expires_at", "2027-01-01T00:00:00Z")
	a.at(start.Add(day))
	ids := a.imports(t, whole, importLine("test", "sk_live_2"), late, with(with(importLine("Zapier production", "sk_live_4"), "workspace_id", "globex"), "preset", "full_access"))
	if !slices.IsSorted(ids) {
		t.Errorf("got the ids %q, want them in the order of the lines", ids)
	}
	show := func(ws, id string) map[string]any {
		return a.must(t, 200, "GET", "/workspaces/"+ws+"/keys/"+id, "").body["key"].(map[string]any)
	}
	want := map[string]any{
		"id": ids[0], "workspace_id": "acme", "name": "Zapier production", "owner": "Ops", "preset": "read_only", "abilities": []any{"read"},
		"token_hint": "sk_live_…1", "status": "active", "created_at": "2024-02-29T12:00:00.123Z", "created_by": "tester", "expires_at": "2026-03-03T12:00:00Z",
		"last_used_at": nil, "revokes_at": nil, "revoked_at": nil, "revoked_by": nil, "revoke_reason": nil, "replaces": nil, "replaced_by": nil, "exposed_at": nil,
	}
	equal(t, "the whole line", show("acme", ids[0]), want)
	for _, id := range ids[1:3] {
		key := show("acme", id)
		equal(t, "created_at", key["created_at"], any("2026-03-02T12:00:00Z"))
		equal(t, "expires_at", key["expires_at"], any("2026-05-31T12:00:00Z"))
		equal(t, "token_hint", key["token_hint"], any(""))
	}
	equal(t, "preset", show("globex", ids[3])["preset"], any("full_access"))

	events := a.trail(t, "/workspaces/acme/audit")
	equal(t, "events", len(events), 3)
	equal(t, "operation", events[2]["operation"], any("import"))
	equal(t, "key", events[2]["key_id"], any(ids[0]))
	equal(t, "details", events[2]["details"], any(map[string]any{
		"name": "Zapier production", "owner": "Ops", "preset": "read_only", "expires_at": "2026-03-03T12:00:00Z", "created_at": "2024-02-29T12:00:00.123Z",
	}))
	listed := a.must(t, 200, "GET", keysPage, "").body["keys"].([]any)
	for i, id := range []string{ids[2], ids[1], ids[0]} {
		equal(t, "listed", listed[i].(map[string]any)["id"], any(id))
	}
	a.Close() // which waits for the calls
	equal(t, "observed", a.observed[0], "import ok")
}

// Blank lines are counted, and not answered. The last line needs no end.
func TestImport_blankLines(t *testing.T) {
	a := newAPI(t)
	one, two := ndjson(t, importLine("One", "sk_1")), strings.TrimSuffix(ndjson(t, importLine("Two", "sk_2")), "\n")
	answers, summary := a.importAt(t, "/import", "\n \t\r\n"+strings.TrimSuffix(one, "\n")+"\r\n\n"+two)
	equal(t, "lines", []any{answers[0]["line"], answers[1]["line"], len(answers)}, []any{3.0, 5.0, 2})
	equal(t, "imported", summary["imported"], any(2.0))
	for _, nothing := range []string{"", "\n", " "} {
		answers, summary = a.importAt(t, "/import", nothing)
		equal(t, "no line", []any{len(answers), summary}, []any{0, map[string]any{"imported": 0.0, "unchanged": 0.0, "refused": 0.0}})
	}
}

// Nobody who asks for a dry run changes anything, at no call, in no spelling.
func TestDryRun_misspelt(t *testing.T) {
	a := newAPI(t)
	id, _ := a.create(t, "acme", "Zapier production")
	events := len(a.trail(t, "/audit"))
	fill := strings.NewReplacer("{ws}", "acme", "{id}", id, "{feed}", "x")
	for path, calls := range resources() {
		for method := range calls {
			if method == http.MethodGet {
				continue
			}
			for _, query := range []string{"?dryrun=true", "?DRY-RUN=true", "?x=1&dry%5Frun", "?dryRun=1"} {
				a.refused(t, 400, "invalid_query", "", method, fill.Replace(path)+query, "{}")
			}
		}
	}
	equal(t, "events", len(a.trail(t, "/audit")), events)
	a.refused(t, 400, "invalid_query", "", "POST", "/restore?quarentine=true", "{}")
}
