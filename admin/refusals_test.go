package admin

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// A query that two readers could understand differently is refused.
func TestQuery_ambiguous(t *testing.T) {
	a := newAPI(t)
	for _, test := range []struct{ query, code, field string }{
		{"limit=1&limit=2", "invalid_limit", "limit"},
		{"limit=%2B5", "invalid_limit", "limit"},
		{"limit=05", "invalid_limit", "limit"},
		{"limit=", "invalid_limit", "limit"},
		{"cursor=a&cursor=a", "invalid_cursor", "cursor"},
		{"status=active&status=revoked", "invalid_status", "status"},
		{"limit=1;status=active", "invalid_limit", "limit"},
		{"limit=%zz", "invalid_limit", "limit"},
		{"q=a&q=b", "invalid_query", "q"},
		{"q=%zz", "invalid_query", "q"},
		{"q=a;b", "invalid_query", "q"},
		{"limit=1&q=%zz&cursor=x", "invalid_query", "q"},
		{"%71=a&q=b", "invalid_query", "q"},
		{"other=%zz", "invalid_query", ""},
		{"%zz=1", "invalid_query", ""},
	} {
		for _, path := range []string{keysPage, "/keys"} {
			a.refused(t, http.StatusBadRequest, test.code, test.field, "GET", path+"?"+test.query, "")
		}
	}
	a.refused(t, http.StatusBadRequest, "invalid_query", "q", "GET", "/workspaces?q=a&q=b", "")
	for _, query := range []string{"1d&expires_within=1d", "%zz", "0s", "-1d", "soon", "14", "1e3h"} {
		a.refused(t, http.StatusUnprocessableEntity, "invalid_duration", "expires_within", "GET", "/keys?expires_within="+query, "")
	}
	a.refused(t, http.StatusBadRequest, "invalid_query", "key", "GET", "/workspaces/acme/calendar.ics?key=a&key=b", "")
	a.must(t, http.StatusOK, "GET", keysPage+"?other=1&other=2", "")
}

// A cursor is valid only for the list that it came from.
func TestCursor_ofAnotherList(t *testing.T) {
	a := newAPI(t)
	for _, ws := range []string{"acme", "acme-2"} {
		for _, name := range []string{"Zapier production", "Warehouse sync"} {
			a.create(t, ws, name)
		}
		a.must(t, http.StatusOK, "POST", "/workspaces/"+ws+"/suspend", "")
	}
	lists := []string{keysPage, "/workspaces/acme-2/keys", "/audit", "/workspaces/acme/audit", "/workspaces/acme-2/audit", "/suspensions", "/workspaces", "/keys"}
	for _, from := range lists {
		cursor, _ := a.must(t, http.StatusOK, "GET", from+"?limit=1", "").body["next_cursor"].(string)
		if cursor == "" {
			t.Fatalf("%s has no second page", from)
		}
		for _, list := range lists {
			if list == from {
				a.must(t, http.StatusOK, "GET", list+"?cursor="+cursor, "")
				continue
			}
			a.refused(t, http.StatusBadRequest, "invalid_cursor", "cursor", "GET", list+"?cursor="+cursor, "")
		}
	}
}

// Another workspace's key is indistinguishable from one that never existed.
func TestNotFound(t *testing.T) {
	a := newAPI(t)
	id, _ := a.create(t, "acme", "Zapier")
	a.create(t, "other", "Billing")
	for _, call := range []struct{ method, path string }{
		{"GET", "/workspaces/%s/keys/%s"}, {"PATCH", "/workspaces/%s/keys/%s"},
		{"POST", "/workspaces/%s/keys/%s/rotate"}, {"POST", "/workspaces/%s/keys/%s/revoke"},
	} {
		first := a.refused(t, http.StatusNotFound, "not_found", "", call.method, fmt.Sprintf(call.path, "other", id), "")
		for _, test := range [][2]string{
			{"nobody", id}, {"Acme", id}, {"acm", id}, {"acme", someKey}, {"acme", "key_"}, {"acme", strings.ToLower(id)}, {"acme", id + "0"},
			{"acme", "x"}, {"acme", "%2e%2e"}, {"acme", "%00"}, {"acme", "a%2fb"}, {"acme", strings.Repeat("x", 5000)}, {"acme", apikey.NewEventID(start)},
		} {
			a.unchanged(t, func() {
				got := a.refused(t, http.StatusNotFound, "not_found", "", call.method, fmt.Sprintf(call.path, test[0], test[1]), "")
				equal(t, fmt.Sprintf("answer for %q", test), got.raw, first.raw)
				got.header.Del("Date")
				first.header.Del("Date")
				equal(t, fmt.Sprintf("header for %q", test), got.header, first.header)
			})
		}
	}
	a.must(t, http.StatusOK, "GET", keysPage+"/"+id, "")
}

func TestWorkspaceID_invalid(t *testing.T) {
	a := newAPI(t)
	for _, ws := range []string{
		"%2e%2e", "%2e", ".hidden", "a%2fb", "%2fa", "a%2f", "a%5cb", "%00", "a%00", "%20", "a%20", "acme%0a", strings.Repeat("a", 65), "%c3%a9", "a%25b", "a:b", "a@b", "*", "$", "a;b", "a,b", "%ff",
	} {
		for _, call := range []string{"GET /workspaces/%s", "GET /workspaces/%s/keys", "POST /workspaces/%s/keys", "GET /workspaces/%s/keys/" + someKey,
			"PATCH /workspaces/%s/keys/" + someKey, "POST /workspaces/%s/keys/" + someKey + "/rotate", "POST /workspaces/%s/keys/" + someKey + "/revoke",
			"POST /workspaces/%s/suspend", "POST /workspaces/%s/resume", "POST /workspaces/%s/revoke-all", "GET /workspaces/%s/audit"} {
			method, path, _ := strings.Cut(strings.ReplaceAll(call, "%s", ws), " ")
			body := ""
			if strings.HasSuffix(path, "/keys") && method == "POST" {
				body = zapier
			}
			a.refused(t, http.StatusUnprocessableEntity, "invalid_workspace", "workspace", method, path, body)
		}
	}
	equal(t, "events", a.events(t), 0)
	a.create(t, strings.Repeat("a", 64), "Zapier")
	a.create(t, "A-Z_a.z-0..9", "Zapier")
}

// A path that is not clean is not found: it is neither cleaned nor redirected.
func TestPaths_thatAreNone(t *testing.T) {
	a := newAPI(t)
	id, _ := a.create(t, "acme", "Zapier")
	a.unchanged(t, func() {
		for _, path := range []string{
			"//", "//audit", "/audit/", "/./audit", "/audit/.", "/x/../audit", "/../audit", "/Workspaces", "/workspaces/", "/keys/", "/keys//", "/keys/" + id + "/", "/keys/" + id + "/revoke", "/workspaces//keys", "/workspaces/../keys",
			"/workspaces/acme/", "/workspaces/acme/keys/", "/workspaces/acme//keys", "/workspaces/acme/keys/" + id + "/", "/workspaces/acme/keys//revoke",
			"/workspaces/acme/keys/../keys", "/workspaces/acme/./keys", "/workspaces/acme/Keys", "/Workspaces/acme", "/workspaces/acme/keys/" + id + "/revoke/now",
			"/audit%2f", "/workspaces/%2f", "/%2faudit", "/workspaces%2facme", "/workspaces/acme%2fkeys%2f" + id + "%2frevoke/x", "/%2e%2e/audit", "/audit/%2e%2e", "/audit%00", "/openapi.json/x", "/index.html",
		} {
			for _, method := range []string{"GET", "POST", "HEAD", "DELETE", "CONNECT", "OPTIONS"} {
				got := a.send(t, method, path, "")
				if got.status != http.StatusNotFound && got.status != http.StatusMethodNotAllowed && got.status != http.StatusUnprocessableEntity {
					t.Errorf("%s %s: got status %d, want 404, 405 or 422", method, path, got.status)
				}
			}
		}
	})
	h := a.Config.Handler
	for _, path := range []string{"", "*", "audit", "/\x00", "/audit\x00"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.Path = path
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		equal(t, fmt.Sprintf("status of %q", path), w.Code, http.StatusNotFound)
	}
}

func TestMethods_notAllowed(t *testing.T) {
	a := newAPI(t)
	id, _ := a.create(t, "acme", "Zapier")
	allowed := map[string]string{
		"/healthz": "GET, HEAD", "/mount": "GET, HEAD", "/openapi.json": "GET, HEAD", "/audit": "GET, HEAD", "/workspaces/acme": "GET, HEAD", "/workspaces/acme/audit": "GET, HEAD",
		keysPage: "GET, POST, HEAD", keysPage + "/" + id: "GET, PATCH, HEAD", keysPage + "/" + id + "/uses": "GET, HEAD", keysPage + "/" + id + "/usage": "GET, HEAD", "/workspaces/acme/usage": "GET, HEAD", keysPage + "/" + id + "/rotate": "POST", keysPage + "/" + id + "/revoke": "POST",
		"/workspaces/acme/suspend": "POST", "/workspaces/acme/resume": "POST", "/workspaces/acme/revoke-all": "POST",
		"/tokens/lookup": "POST", "/tokens/revoke": "POST",
		"/workspaces/acme/calendar.ics": "GET, HEAD", "/workspaces/acme/calendar/feed": "DELETE, POST", "/calendar/cal_x.ics": "GET, HEAD", "/backup": "GET, HEAD", "/restore": "POST", "/import": "POST", "/doctor": "GET, HEAD", "/clock": "GET, HEAD", "/fleet": "GET, HEAD", "/fleet/rekey": "POST", "/fleet/reconcile": "POST", "/webhooks/test": "POST", "/clock/trust": "POST", "/suspensions": "GET, HEAD",
		"/workspaces": "GET, HEAD", "/keys": "GET, HEAD", "/keys/" + id: "GET, HEAD",
	}
	equal(t, "paths tried", len(allowed), len(resources()))
	a.unchanged(t, func() {
		for path, allow := range allowed {
			for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "PROPFIND"} {
				if strings.Contains(", "+allow+",", ", "+method+",") {
					continue
				}
				if method == http.MethodHead {
					equal(t, path+": HEAD", a.send(t, method, path, "").status, http.StatusMethodNotAllowed)
					continue
				}
				got := a.refused(t, http.StatusMethodNotAllowed, "method_not_allowed", "", method, path, "")
				equal(t, method+" "+path+": Allow", got.header.Get("Allow"), allow)
			}
		}
	})
}

// Every code in the source has a status.
func TestStatuses_complete(t *testing.T) {
	for _, dir := range []string{".", "../internal/apikey"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, file := range files {
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(parsed, func(node ast.Node) bool {
				pair, ok := node.(*ast.KeyValueExpr)
				if !ok {
					return true
				}
				name, isName := pair.Key.(*ast.Ident)
				text, isText := pair.Value.(*ast.BasicLit)
				if !isName || !isText || name.Name != "Code" {
					return true
				}
				code, err := strconv.Unquote(text.Value)
				if err != nil {
					t.Fatal(err)
				}
				found++
				if status := statuses[code]; status < 400 {
					t.Errorf("%s: got status %d for %s, want one", file, status, code)
				}
				return true
			})
		}
		if found == 0 {
			t.Errorf("%s: found no codes, which shows that the search does not work", dir)
		}
	}
}

// A refusal before the store is asked leaves no event, but a log line with the
// actor. Reads, and refusals that the trail has, leave no line.
func TestRefusal_untriedIsLogged(t *testing.T) {
	core, logged := observer.New(zap.InfoLevel)
	a := newAPI(t, func(c *Config) {
		c.Log = zap.New(core)
		c.Workspace = func(*http.Request) string { return "acme" }
	})
	a.create(t, "acme", "Zapier")
	for _, test := range []struct{ method, path, body, operation, code, workspace string }{
		{"POST", "/workspaces/globex/suspend", `{}`, "suspend", "workspace_mismatch", "globex"},
		{"POST", keysPage, `{"name":"x","preset":"read_only"}`, "create", "invalid_name", "acme"},
		{"POST", keysPage, zapier, "create", "", ""}, // the name is taken: an event
		{"GET", "/workspaces/globex/keys", ``, "list", "", ""},
	} {
		a.send(t, test.method, test.path, test.body)
		lines := logged.TakeAll()
		if test.code == "" {
			equal(t, test.method+" "+test.path+": lines", len(lines), 0)
			continue
		}
		equal(t, test.method+" "+test.path+": lines", len(lines), 1)
		fields := lines[0].ContextMap()
		for name, want := range map[string]string{"operation": test.operation, "refused": test.code, "workspace_id": test.workspace, "actor": "tester"} {
			equal(t, test.path+": "+name, fields[name], any(want))
		}
	}
}
