package admin

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
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
