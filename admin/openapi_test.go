package admin

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestDescription_isOpenAPI(t *testing.T) {
	d := theDescription(t)
	if faults := d.Faults(); len(faults) > 0 {
		t.Errorf("got %s", strings.Join(faults, "\n"))
	}
	equal(t, "version", d.Version(), "3.1.0")
}

// Routes and description have the same calls.
func TestDescription_agreesWithTheRoutes(t *testing.T) {
	routes := resources()
	times := map[string]int{} // of each operation
	for _, calls := range routes {
		for _, call := range calls {
			times[call.operation]++
		}
	}
	routed := map[string]string{} // from method and path to operation
	for path, calls := range routes {
		for method, call := range calls {
			routed[method+" "+path] = call.operation
		}
	}
	seen := map[string]string{}
	for _, described := range theDescription(t).Calls() {
		call := strings.ToUpper(described.Method) + " " + described.Path
		operation, ok := routed[call]
		if !ok {
			t.Errorf("%s is described, and there is no such route", call)
			continue
		}
		delete(routed, call)
		id := described.ID
		if times[operation] == 1 && id != operation || times[operation] > 1 && !strings.HasPrefix(id, operation+"_") {
			t.Errorf("%s: got the operationId %q, want it to name the operation %s", call, id, operation)
		}
		if other, twice := seen[id]; twice {
			t.Errorf("%s and %s: got the operationId %q for both", call, other, id)
		}
		seen[id] = call
		if described.Summary == "" || len(described.Tags) != 1 {
			t.Errorf("%s: want a summary and a tag", call)
		}
	}
	for call := range routed {
		t.Errorf("%s is a route, and is not described", call)
	}
}

// The description has exactly the existing codes, each with its status.
func TestDescription_agreesWithTheCodes(t *testing.T) {
	d := theDescription(t)
	all, ofLines := d.ErrorCodes()
	slices.Sort(all)
	equal(t, "codes", all, slices.Sorted(maps.Keys(statuses)))

	described := map[string]bool{"method_not_allowed": true} // not of a call
	for _, call := range d.Calls() {
		for status, codes := range call.Codes {
			for _, code := range codes {
				described[code] = true
				if want := fmt.Sprint(statuses[code]); status != want {
					t.Errorf("%s %s: got %s with status %s, want %s", call.Method, call.Path, code, status, want)
				}
			}
		}
	}
	for _, code := range ofLines {
		described[code] = true
	}
	for code := range statuses {
		if !described[code] {
			t.Errorf("no answer is described with %s", code)
		}
	}
}

// Every example is valid.
func TestDescription_examples(t *testing.T) {
	examples, err := theDescription(t).Examples()
	if err != nil {
		t.Fatal(err)
	}
	for _, example := range examples {
		if example.Text == nil && example.Path != "/openapi.json" {
			t.Errorf("%s: got no example, want one", example.Where)
		}
		if len(example.Mismatches) > 0 {
			t.Errorf("%s: got the example %s: %s", example.Where, example.Text, strings.Join(example.Mismatches, "\n"))
		}
	}
	if len(examples) < 50 {
		t.Errorf("found %d examples, which shows that the search does not work", len(examples))
	}
}

// Objects allow only the members that are described.
func TestDescription_isClosed(t *testing.T) {
	served, err := openapiJSON()
	if err != nil {
		t.Fatal(err)
	}
	closed := 0
	var look func(where string, value any)
	look = func(where string, value any) {
		switch value := value.(type) {
		case []any:
			for _, item := range value {
				look(where, item)
			}
		case map[string]any:
			if value["type"] == "object" && where != "/paths//openapi.json/get/responses/200/content/application/json/schema" {
				closed++
				equal(t, where+": additionalProperties", value["additionalProperties"], any(false))
			}
			for name, member := range value {
				look(where+"/"+name, member)
			}
		}
	}
	look("", object(t, string(served)))
	if closed < 10 {
		t.Errorf("found %d objects, which shows that the search does not work", closed)
	}
}

func TestDescription_served(t *testing.T) {
	for title, a := range map[string]*api{
		"all workspaces": newAPI(t),
		"one workspace":  newAPI(t, func(c *Config) { c.Workspace = func(*http.Request) string { return "acme" } }),
		"none":           newAPI(t, func(c *Config) { c.Workspace = func(*http.Request) string { return "" } }),
	} {
		t.Run(title, func(t *testing.T) {
			got := a.must(t, http.StatusOK, "GET", "/openapi.json", "")
			equal(t, "openapi", got.body["openapi"], "3.1.0")
			var want any
			if err := yaml.Unmarshal(openapiYAML, &want); err != nil {
				t.Fatal(err)
			}
			encoded, err := json.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "description", got.body, object(t, string(encoded)))
		})
	}
}

// failures is a test that only records whether it failed.
type failures struct {
	testing.TB
	all []string
}

func (f *failures) Errorf(format string, args ...any) {
	f.all = append(f.all, fmt.Sprintf(format, args...))
}

// A response that does not match the description fails the test.
func TestDescription_catches(t *testing.T) {
	const (
		health = `{"status":"ok"}`
		key    = `{"id":"key_01M85PQ3XS81JPNQQHZNQRAPZ3","workspace_id":"acme","name":"Zapier","owner":"","preset":"read_only","abilities":["read"],
			"token_hint":"agk_…EzCI","status":"active","created_at":"2026-11-24T02:38:48.249Z","created_by":"x","expires_at":"2027-02-22T02:38:48.249Z",
			"last_used_at":null,"revokes_at":null,"revoked_at":null,"revoked_by":null,"revoke_reason":null,"replaces":null,"replaced_by":null,"exposed_at":null}`
	)
	with := func(old, replacement string) string {
		return `{"key":` + strings.Replace(key, old, replacement, 1) + `}`
	}
	show := "GET " + keysPage + "/" + someKey
	for _, test := range []struct {
		title, call, sent string
		status            int
		answer            string
		caught            bool
	}{
		{"a right one", "GET /healthz", "", 200, health, false},
		{"an extra member", "GET /healthz", "", 200, `{"status":"ok","version":1}`, true},
		{"another value", "GET /healthz", "", 200, `{"status":"bad"}`, true},
		{"no JSON", "GET /healthz", "", 200, `ok`, true},
		{"another status", "GET /healthz", "", 202, health, true},
		{"a right key", show, "", 200, with("", ""), false},
		{"a member of a key too many", show, "", 200, with(`"owner"`, `"digest":"x","owner"`), true},
		{"a member of a key too few", show, "", 200, with(`"replaces":null,`, ``), true},
		{"a token", show, "", 200, `{"key":` + key + `,"token":"agk_Nlw7AIHMw9BoPOgMM7rooQuETnzxu5piBdz8Ns3X2k53mEzCI"}`, true},
		{"a token for a hint", show, "", 200, with("agk_…EzCI", "agk_Nlw7AIHMw9BoPOgMM7rooQuETnzxu5piBdz8Ns3X2k53mEzCI"), true},
		{"a status of a key", show, "", 200, with(`"active"`, `"asleep"`), true},
		{"a time that is none", show, "", 200, with(`"2026-11-24T02:38:48.249Z"`, `"yesterdayZ"`), true},
		{"a time elsewhere", show, "", 200, with(`02:38:48.249Z"`, `02:38:48.249+02:00"`), true},
		{"an error", show, "", 404, `{"error":"There is no such key.","code":"not_found"}`, false},
		{"a code of another status", show, "", 404, `{"error":"There is no such key.","code":"name_taken"}`, true},
		{"an unknown code", show, "", 404, `{"error":"There is no such key.","code":"nowhere"}`, true},
		{"an error that says more", show, "", 404, `{"error":"There is no such key.","code":"not_found","cause":"x"}`, true},
		{"a status that is not described", show, "", 409, `{"error":"There is no such key.","code":"name_taken","field":"name"}`, true},
		{"a missing header", show, "", 401, `{"error":"It needs a token.","code":"unauthorized"}`, true},
		{"no such call", "GET /nothing", "", 404, `{"error":"There is no such call.","code":"not_found"}`, false},
		{"no such call, with another code", "GET /nothing", "", 404, `{"error":"There is no such call.","code":"not_json"}`, true},
		{"something where nothing is", "GET /nothing", "", 200, `{}`, true},
		{"no such method, without Allow", "DELETE /audit", "", 405, `{"error":"It is not allowed.","code":"method_not_allowed"}`, true},
		{"accepting an unknown member", "POST /workspaces/acme/suspend", `{"why":"x"}`, 200,
			`{"workspace":{"id":"acme","suspended":false,"suspended_at":null,"reason":null,"keys":{"active":1,"expired":1,"revoked":1}}}`, true},
		{"accepting a limit", "GET /audit?limit=201", "", 200, `{"events":[],"next_cursor":null}`, true},
	} {
		t.Run(test.title, func(t *testing.T) {
			noted := &failures{TB: t}
			h := held(noted, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var ignored map[string]any
				_ = json.NewDecoder(r.Body).Decode(&ignored)
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(test.answer))
			}))
			method, path, _ := strings.Cut(test.call, " ")
			r := httptest.NewRequest(method, path, strings.NewReader(test.sent))
			r.Header.Set("Content-Type", "application/json")
			h.ServeHTTP(httptest.NewRecorder(), r)
			if caught := len(noted.all) > 0; caught != test.caught {
				t.Errorf("got the mismatches %q, want some: %t", noted.all, test.caught)
			}
		})
	}
}
