package admin

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// changes are the calls that take a body, as method and path.
func changes(id string) [][2]string {
	key := keysPage + "/" + id
	return [][2]string{
		{"POST", keysPage}, {"PATCH", key}, {"POST", key + "/rotate"}, {"POST", key + "/revoke"},
		{"POST", "/workspaces/acme/suspend"}, {"POST", "/workspaces/acme/resume"}, {"POST", "/workspaces/acme/revoke-all"},
		{"POST", "/tokens/lookup"}, {"POST", "/tokens/revoke"},
	}
}

// unchanged fails if the audit trail has a new change.
func (a *api) unchanged(t *testing.T, do func()) {
	t.Helper()
	before := a.events(t)
	do()
	equal(t, "events", a.events(t), before)
}

func TestBody_notTheObject(t *testing.T) {
	a := newAPI(t)
	id, _ := a.create(t, "acme", "Before")
	for _, test := range []struct{ title, body string }{
		{"null", `null`}, {"array", `[]`}, {"array of an object", `[{}]`}, {"string", `"name"`}, {"number", `1`}, {"1e999", `1e999`}, {"true", `true`},
		{"space", ` `}, {"cut off", `{"name":`}, {"not closed", `{`}, {"trailing comma", `{"name":"Zapier",}`}, {"comment", `{}//`}, {"single quotes", `{'name':'Zapier'}`},
		{"trailing object", `{}{}`}, {"trailing word", `{} x`}, {"trailing NUL", "{}\x00"}, {"byte order mark", "\ufeff{}"}, {"NaN", `{"name":NaN}`},
		{"unknown member", `{"nome":"Zapier"}`}, {"status", `{"status":"active"}`}, {"empty member", `{"":1}`},
		{"nested unknown member", `{"name":{"name":"Zapier"}}`},
		{"1e999 in a member", `{"name":1e999}`}, {"wrong type", `{"name":["Zapier"]}`},
		{"invalid UTF-8", "{\"name\":\"Zapier\xff\",\"preset\":\"read_only\"}"}, {"overlong UTF-8", "{\"name\":\"Zapier\xc0\xaf\"}"},
		{"lone surrogate", `{"name":"Zapier \ud800","preset":"read_only"}`}, {"swapped surrogates", `{"name":"Zapier \udd11\ud83d","preset":"read_only"}`},
		{"surrogate in bytes", "{\"name\":\"Zapier \xed\xa0\x80\"}"}, {"raw control character", "{\"name\":\"Zap\x01ier\"}"},
		{"deep arrays", `{"name":` + strings.Repeat("[", 30_000)}, {"deep objects", strings.Repeat(`{"name":`, 8_000)},
	} {
		t.Run(test.title, func(t *testing.T) {
			a.unchanged(t, func() {
				for _, call := range changes(id) {
					a.refused(t, http.StatusBadRequest, "invalid_json", "", call[0], call[1], test.body)
				}
			})
		})
	}
}

// A member that is repeated, or in another case, is refused, because two parsers
// could read it differently.
func TestBody_ambiguousMembers(t *testing.T) {
	a := newAPI(t)
	id, _ := a.create(t, "acme", "Before")
	for _, test := range []struct{ path, body string }{
		{keysPage, `{"name":"Zapier","name":"Zapier","preset":"read_only"}`},
		{keysPage, `{"name":"Zapier","preset":"read_only","preset":"full_access"}`},
		{keysPage, `{"name":"Zapier","na\u006de":"Zapier","preset":"read_only"}`},
		{keysPage, `{"name":"Zapier","Name":"Zapier","preset":"read_only"}`},
		{keysPage, `{"NAME":"Zapier","preset":"read_only"}`},
		{keysPage, `{"name":"Zapier","preset":"read_only","Expires_In":"1d"}`},
		{keysPage, `{"name":"Zapier","preset":"read_only","expiresin":"1d"}`},
		{keysPage, `{"name":"Zapier","pre\u017fet":"read_only"}`}, // folds to an s
		{keysPage, `{"name":"Zapier","preset":"read_only","workspace_id":"other"}`},
		{keysPage, `{"name":"Zapier","preset":"read_only","reason":"x"}`},
		{keysPage + "/" + id + "/revoke", `{"reason":"a","reason":"a"}`},
		{keysPage + "/" + id + "/revoke", `{"Reason":"a"}`},
		{"/workspaces/acme/suspend", `{"reason":null,"reason":"a"}`},
		{"/workspaces/acme/resume", `{"reason":"a"}`},
		{"/workspaces/acme/revoke-all", `{"reason":"a","Reason":"a"}`},
		{keysPage + "/" + id + "/rotate", `{"revoke_old_in":"1h","revoke_old_in":"0s"}`},
		{keysPage + "/" + id + "/rotate", `{"preset":"full_access"}`},
		{keysPage + "/" + id + "/rotate", `{"expires_in":"1d"}`},
		{"/tokens/lookup", `{"token":"a","token":"b"}`},
		{"/tokens/lookup", `{"token":"a","reason":"b"}`},
		{"/tokens/revoke", `{"Token":"a"}`},
	} {
		a.unchanged(t, func() { a.refused(t, http.StatusBadRequest, "invalid_json", "", "POST", test.path, test.body) })
	}
}

// The error names what is wrong, but does not quote a token.
func TestBody_named(t *testing.T) {
	a := newAPI(t)
	token := apikey.NewToken("agk").Reveal()
	for _, test := range []struct{ body, said string }{
		{`{"nmae":"Zapier"}`, `it has the unknown member "nmae".`},
		{`{"Name":"Zapier"}`, `it has the unknown member "Name".`},
		{`{"":1}`, `it has the unknown member "".`},
		{`{"a\u0000\u001b[31m\u202e":1}`, `it has the unknown member "a\x00\x1b[31m\u202e".`},
		{`{"` + strings.Repeat("é", 41) + `":1}`, `it has the unknown member "` + strings.Repeat("é", 40) + `…".`},
		{`{"` + token + `":"x"}`, `it has the unknown member (a token).`},
		{`{"x` + token + `y":"x"}`, `it has the unknown member (a token).`},
		{`{"name":"a","name":"b"}`, `the member "name" appears twice.`},
		{`{"` + token + `":"x","` + token + `":"y"}`, `the unknown member (a token)`},
		{`{"name":{"` + token + `":1}}`, `its member name has the wrong type.`},
		{"\ufeff{}", `it begins with a byte-order mark: send UTF-8 without one.`},
		{"\xff\xfe{\x00}\x00", `it is in UTF-16 or UTF-32: send UTF-8.`},
		{"\xfe\xff\x00{\x00}", `it is in UTF-16 or UTF-32: send UTF-8.`},
		{"{\x00}\x00", `it is in UTF-16 or UTF-32: send UTF-8.`},
		{"\x00{\x00}", `it is in UTF-16 or UTF-32: send UTF-8.`},
		{"{}\x00", `it is not valid JSON.`},
	} {
		got := a.refused(t, http.StatusBadRequest, "invalid_json", "", "POST", keysPage, test.body)
		if message := got.body["error"].(string); !strings.Contains(message, test.said) || strings.Contains(message, token) {
			t.Errorf("%q: got %q, want it to say %q", test.body, message, test.said)
		}
	}
}

// Null is refused: it could mean "none" or "unchanged".
func TestBody_null(t *testing.T) {
	a := newAPI(t)
	id, _ := a.create(t, "acme", "Before")
	for _, test := range []struct{ method, path, body, member string }{
		{"POST", keysPage, `{"name":null,"preset":"read_only"}`, "name"},
		{"POST", keysPage, `{"name":"Zapier","preset":"read_only","owner":null}`, "owner"},
		{"POST", keysPage, `{"name":"Zapier","preset":"read_only","expires_in": null}`, "expires_in"},
		{"PATCH", keysPage + "/" + id, `{"owner":null}`, "owner"},
		{"POST", keysPage + "/" + id + "/rotate", `{"revoke_old_in":null}`, "revoke_old_in"},
		{"POST", keysPage + "/" + id + "/revoke", `{"reason":null}`, "reason"},
		{"POST", "/workspaces/acme/revoke-all", `{"reason":null}`, "reason"},
	} {
		a.unchanged(t, func() {
			got := a.refused(t, http.StatusBadRequest, "invalid_json", "", test.method, test.path, test.body)
			if message := got.body["error"].(string); !strings.Contains(message, "its member "+test.member+" is null: leave it out") {
				t.Errorf("%s: got %q, want it to name the member", test.body, message)
			}
		})
	}
}

// A compressed or otherwise encoded body is refused.
func TestBody_encoded(t *testing.T) {
	a := newAPI(t)
	a.unchanged(t, func() {
		a.refused(t, http.StatusUnsupportedMediaType, "not_json", "", "POST", keysPage, zapier, "Content-Encoding: gzip")
	})
	a.must(t, http.StatusCreated, "POST", keysPage, zapier, "Content-Encoding: identity")
}

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

func TestBody_mediaType(t *testing.T) {
	a := newAPI(t)
	id, _ := a.create(t, "acme", "Before")
	for _, media := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp", "text/json", "application/json, text/plain", "application/json; charset", "json"} {
		a.unchanged(t, func() {
			for _, call := range changes(id) {
				a.refused(t, http.StatusUnsupportedMediaType, "not_json", "", call[0], call[1], "{}", "Content-Type: "+media)
			}
		})
	}
	for i, media := range []string{"application/json", "Application/JSON", "application/json; charset=utf-8", " application/json ;charset=utf-8"} {
		a.must(t, http.StatusCreated, "POST", fmt.Sprintf("/workspaces/ws%d/keys", i), zapier, "Content-Type: "+media)
	}
}

func TestBody_tooLarge(t *testing.T) {
	a := newAPI(t)
	id, _ := a.create(t, "acme", "Before")
	const most = 64 << 10
	padded := func(body string, size int) string { return body + strings.Repeat(" ", size-len(body)) }
	a.unchanged(t, func() {
		for _, call := range changes(id) {
			got := a.refused(t, http.StatusRequestEntityTooLarge, "body_too_large", "", call[0], call[1], padded("{}", most+1))
			equal(t, "closes the connection", got.closes, true)
		}
	})
	a.must(t, http.StatusCreated, "POST", keysPage, padded(zapier, most))
}

func TestBody_cannotBeRead(t *testing.T) {
	a := newAPI(t)
	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", keysPage, io.MultiReader(strings.NewReader(zapier), failingReader{}))
	r.Header.Set("Content-Type", "application/json")
	a.Config.Handler.ServeHTTP(w, r)
	equal(t, "status", w.Code, http.StatusBadRequest)
	equal(t, "events", a.events(t), 0)
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("the client has gone") }

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

func TestBrowsers(t *testing.T) {
	a := newAPI(t)
	own := "Origin: " + a.URL
	for _, test := range []struct {
		fields  []string
		allowed bool
	}{
		{nil, true},
		{[]string{"Sec-Fetch-Site: same-origin", own}, true},
		{[]string{"Sec-Fetch-Site: none"}, true},
		{[]string{own}, true},
		{[]string{"Sec-Fetch-Site: cross-site"}, false},
		{[]string{"Sec-Fetch-Site: same-site"}, false},
		{[]string{"Sec-Fetch-Site: cross-site", own}, false},
		{[]string{"Sec-Fetch-Site: invented"}, false},
		{[]string{"Origin: https://evil.example"}, false},
		{[]string{"Origin: null"}, false},
		{[]string{own + ".evil.example"}, false},
		{[]string{"Host: evil.example", "Origin: https://other.example"}, false},
	} {
		title := strings.Join(test.fields, ", ")
		t.Run(title, func(t *testing.T) {
			a := a
			if test.allowed {
				a.must(t, http.StatusOK, "POST", "/workspaces/acme/resume", "", test.fields...)
			} else {
				a.unchanged(t, func() {
					for _, call := range append(changes(someKey), [2]string{"POST", "/nothing"}) {
						a.refused(t, http.StatusForbidden, "cross_origin", "", call[0], call[1], "{}", test.fields...)
						a.refused(t, http.StatusForbidden, "cross_origin", "", "DELETE", call[1], "", test.fields...)
					}
				})
			}
			// Reads are allowed: no page of another origin can see the response.
			got := a.must(t, http.StatusOK, "GET", keysPage, "", test.fields...)
			for name := range got.header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("got the header %s, want no CORS", name)
				}
			}
		})
	}
}

func TestPinnedMount(t *testing.T) {
	pin := func(c *Config) {
		c.Workspace = func(r *http.Request) string { return r.Header.Get("X-Pin") }
	}
	a := newAPI(t, pin)
	mine := "X-Pin: acme"
	made := a.must(t, http.StatusCreated, "POST", keysPage, zapier, mine)
	id, token := made.body["key"].(map[string]any)["id"].(string), made.body["token"].(string)
	everywhere := []string{"/healthz", "/openapi.json"}
	of := func(ws string) []string {
		at := "/workspaces/" + ws
		return []string{"GET " + at, "GET " + at + "/keys", "POST " + at + "/keys", "GET " + at + "/keys/" + id, "PATCH " + at + "/keys/" + id,
			"GET " + at + "/keys/" + id + "/uses", "GET " + at + "/keys/" + id + "/usage", "GET " + at + "/usage?keys=" + id, "POST " + at + "/keys/" + id + "/rotate", "POST " + at + "/keys/" + id + "/revoke",
			"POST " + at + "/suspend", "POST " + at + "/resume", "POST " + at + "/revoke-all", "GET " + at + "/audit",
			"GET " + at + "/calendar.ics", "POST " + at + "/calendar/feed", "DELETE " + at + "/calendar/feed"}
	}
	ofNone := []string{"GET /audit", "POST /tokens/lookup", "POST /tokens/revoke", "GET /backup", "POST /restore", "POST /import", "GET /doctor", "GET /fleet", "POST /fleet/rekey", "POST /fleet/reconcile", "POST /webhooks/test", "GET /clock", "POST /clock/trust", "GET /suspensions",
		"GET /workspaces", "GET /workspaces?q=acme", "GET /keys", "GET /keys?q=zapier", "GET /keys/" + id, "GET /keys/" + someKey, "GET /keys/none"}
	const variants = 4  // of the last calls
	const elsewhere = 2 // feeds, whose workspace the call looks up, and /mount; see TestFeed_pinned and TestMount
	equal(t, "calls tried", len(of("acme"))+len(ofNone)-variants+len(everywhere)+elsewhere, len(everything()))
	before := len(a.trail(t, "/workspaces/acme/audit", mine))
	for _, test := range []struct {
		pin   string
		calls []string
	}{
		{"acme", append(append(append(of("other"), of("Acme")...), of("%2e%2e")...), ofNone...)},
		{"", append(of("acme"), ofNone...)},
		{"other", append(of("acme"), ofNone...)},
		{"{http.request.header.X}", append(of("acme"), ofNone...)},
	} {
		for _, call := range test.calls {
			method, path, _ := strings.Cut(call, " ")
			// With any body, and before it is read.
			for _, body := range []string{"", `{"token":"` + token + `"}`, `{"workspace_id":"acme"}`, `{`} {
				if method != "GET" || body == "" {
					a.refused(t, http.StatusForbidden, "workspace_mismatch", "", method, path, body, "X-Pin: "+test.pin)
				}
			}
		}
		for _, path := range everywhere {
			a.must(t, http.StatusOK, "GET", path, "", "X-Pin: "+test.pin)
		}
		a.refused(t, http.StatusNotFound, "not_found", "", "GET", "/nothing", "", "X-Pin: "+test.pin)
	}
	equal(t, "events, the refused ones included", len(a.trail(t, "/workspaces/acme/audit", mine)), before)
	bodies := map[string]string{"POST " + keysPage: `{"name":"Another","preset":"read_only"}`, "POST /workspaces/acme/revoke-all": `{"reason":"left"}`}
	for _, call := range of("acme") {
		method, path, _ := strings.Cut(call, " ")
		if got := a.send(t, method, path, bodies[call], mine); got.status >= http.StatusBadRequest {
			t.Errorf("%s: got status %d and %s, want it answered", call, got.status, got.raw)
		}
	}
}

// someToken is well-formed, but belongs to no key.
var someToken = apikey.NewToken("agk").Reveal()

// everything has one of each call.
func everything() [][3]string {
	key := keysPage + "/" + someKey
	return [][3]string{
		{"GET", "/openapi.json", ""}, {"GET", "/mount", ""}, {"GET", "/healthz", ""}, {"GET", keysPage, ""}, {"POST", keysPage, zapier}, {"GET", key, ""}, {"PATCH", key, `{"owner":"Kim"}`},
		{"GET", key + "/uses", ""}, {"GET", key + "/usage", ""}, {"GET", "/workspaces/acme/usage?keys=" + someKey, ""}, {"POST", key + "/rotate", ""}, {"POST", key + "/revoke", ""}, {"GET", "/workspaces/acme", ""}, {"POST", "/workspaces/acme/suspend", ""},
		{"POST", "/workspaces/acme/resume", ""}, {"POST", "/workspaces/acme/revoke-all", `{"reason":"left"}`},
		{"POST", "/tokens/lookup", `{"token":"` + someToken + `"}`}, {"POST", "/tokens/revoke", `{"token":"` + someToken + `"}`},
		{"GET", "/workspaces/acme/audit", ""}, {"GET", "/audit", ""}, {"GET", "/workspaces/acme/calendar.ics", ""},
		{"POST", "/workspaces/acme/calendar/feed", ""}, {"DELETE", "/workspaces/acme/calendar/feed", ""},
		{"GET", "/calendar/cal_" + strings.Repeat("A", 43) + ".ics", ""}, {"GET", "/backup", ""}, {"POST", "/restore", ""}, {"GET", "/doctor", ""}, {"GET", "/fleet", ""}, {"POST", "/fleet/rekey", ""}, {"POST", "/fleet/reconcile", ""}, {"POST", "/webhooks/test", ""}, {"GET", "/clock", ""}, {"POST", "/clock/trust", ""},
		{"POST", "/import", ""}, {"GET", "/suspensions", ""}, {"GET", "/workspaces", ""}, {"GET", "/keys", ""}, {"GET", "/keys/" + someKey, ""},
	}
}

func TestStore_unavailable(t *testing.T) {
	closed := newAPI(t)
	if err := closed.store.Close(); err != nil {
		t.Fatal(err)
	}
	for title, a := range map[string]*api{
		"closed":         closed,
		"not yet opened": newAPI(t, func(c *Config) { c.Keys = func() Keys { return nil } }),
	} {
		t.Run(title, func(t *testing.T) {
			for _, call := range everything() {
				if call[1] == "/openapi.json" || call[1] == "/mount" { // which need no store
					a.must(t, http.StatusOK, call[0], call[1], call[2])
					continue
				}
				got := a.refused(t, http.StatusServiceUnavailable, "store_unavailable", "", call[0], call[1], call[2])
				equal(t, "Retry-After", got.header.Get("Retry-After"), "1")
			}
		})
	}
}

// failing is a real store whose changes fail with a given error.
type failing struct {
	*store.Store
	err error
}

func (f failing) Apply(context.Context, apikey.Change) (apikey.Outcome, error) {
	return apikey.Outcome{}, f.err
}

func (f failing) Feed(context.Context, apikey.Digest) (string, error) { return "", f.err }

func (f failing) Restore(context.Context, io.Reader, apikey.Change, apikey.Restore, io.Writer) (apikey.Restored, error) {
	return apikey.Restored{}, f.err
}

// noRoom is a fleet whose etcd is full.
type noRoom struct{ inState }

func (noRoom) Rekey(context.Context, string) (apikey.Rekeyed, error) {
	return apikey.Rekeyed{}, apikey.ErrRekeyNoSpace
}

func TestStore_noSpace(t *testing.T) {
	a := newAPI(t, func(c *Config) {
		s := c.Keys().(*store.Store)
		c.Keys = func() Keys { return failing{s, apikey.ErrNoSpace} }
		c.Fleet = func() Fleet { return noRoom{} }
	})
	writeNothing := []string{"/fleet/reconcile", "/webhooks/test", "/import"} // the last one answers each line
	for _, call := range everything() {
		if call[0] != "GET" && !slices.Contains(writeNothing, call[1]) {
			a.refused(t, http.StatusInsufficientStorage, "no_space", "", call[0], call[1], call[2])
		}
	}
	a.must(t, http.StatusOK, "GET", keysPage, "")
}

// Internal errors are logged and not shown.
func TestStore_failureStaysInside(t *testing.T) {
	core, logged := observer.New(zap.ErrorLevel)
	a := newAPI(t, func(c *Config) {
		s := c.Keys().(*store.Store)
		c.Log = zap.New(core)
		c.Keys = func() Keys { return failing{s, errors.New("no such block on /dev/sda")} }
	})
	got := a.refused(t, http.StatusServiceUnavailable, "store_unavailable", "", "POST", keysPage, zapier)
	if strings.Contains(got.raw, "sda") {
		t.Errorf("got %s, want nothing of the cause", got.raw)
	}
	if n := logged.FilterField(zap.String("operation", "create")).Len(); n != 1 {
		t.Errorf("got %d log entries about it, want 1", n)
	}
}

// A client that hangs up is not a failure of the store.
func TestStore_clientHasGone(t *testing.T) {
	core, logged := observer.New(zap.InfoLevel)
	a := newAPI(t, func(c *Config) { c.Log = zap.New(core) })
	a.create(t, "acme", "Zapier")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a.Config.Handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", keysPage, nil).WithContext(ctx))
	for _, entry := range logged.All() {
		t.Errorf("got a log entry %q, want none", entry.Message)
	}
	equal(t, "observed", a.observed, []string{"create ok"})
}

func TestUnauthorized(t *testing.T) {
	var observed []string
	h := New(Config{Observe: func(operation, outcome string) { observed = append(observed, operation+" "+outcome) }})
	unauthorized := held(t, http.HandlerFunc(h.Unauthorized))
	w := httptest.NewRecorder()
	unauthorized.ServeHTTP(w, httptest.NewRequest("GET", "/audit", nil))
	unauthorized.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/nothing", nil))
	equal(t, "observed", observed, []string{"audit unauthorized"})
	equal(t, "status", w.Code, http.StatusUnauthorized)
	equal(t, "challenge", w.Header().Get("WWW-Authenticate"), `Bearer realm="api-keys-admin"`)
	equal(t, "Cache-Control", w.Header().Get("Cache-Control"), "no-store")
	equal(t, "code", object(t, w.Body.String())["code"], "unauthorized")
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
