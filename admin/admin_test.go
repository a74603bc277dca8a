package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// start is the time at which tests begin; the clock stands still until a test moves
// it.
var start = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

const (
	day      = 24 * time.Hour
	zapier   = `{"name":"Zapier production","preset":"read_only"}`
	someKey  = "key_01JD0000000000000000000000"
	keysPage = "/workspaces/acme/keys"
)

// api is the API over a real store, behind a real HTTP server.
type api struct {
	*httptest.Server
	store *store.Store
	api   *Handler

	mu       sync.Mutex
	now      time.Time
	behind   time.Duration // how far the machine's clock is behind the confirmed time
	observed []string      // operation and outcome of each call
}

// newAPI serves the API, and checks every exchange against its description. change
// may alter its configuration.
func newAPI(t testing.TB, change ...func(*Config)) *api {
	t.Helper()
	s, err := store.Open(filepath.Join(t.TempDir(), "keys"), zap.NewNop(), nil)
	if err != nil {
		t.Fatalf("opening a store: %v", err)
	}
	a := &api{store: s, now: start}
	config := Config{
		Keys:     func() Keys { return s },
		Rules:    Rules{TokenPrefix: "agk", Life: 90 * day, MaxActiveKeys: 3},
		Clock:    a.clock,
		Log:      zap.NewNop(),
		Actor:    func(*http.Request) string { return "tester" },
		RemoteIP: func(*http.Request) string { return "192.0.2.1" },
		Observe: func(operation, outcome string) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.observed = append(a.observed, operation+" "+outcome)
		},
	}
	for _, c := range change {
		c(&config)
	}
	a.api = New(config)
	a.Server = httptest.NewServer(held(t, a.api))
	t.Cleanup(func() {
		a.Close()
		if err := s.Close(); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	return a
}

func newClient(base string) *client.Client { return &client.Client{BaseURL: base} }

// codeOf returns the code of a refusal, or "" for another error.
func codeOf(err error) string {
	if refusal, ok := errors.AsType[*client.Error](err); ok {
		return refusal.Code
	}
	return ""
}

// clock is a machine's clock that agrees with the confirmed time, unless a test
// changes that.
func (a *api) clock() apikey.ClockReading {
	a.mu.Lock()
	defer a.mu.Unlock()
	reading := apikey.ClockReading{Machine: a.now, Confirmed: a.now.Add(a.behind), Judged: a.now}
	if a.behind > 0 {
		reading.Judged = reading.Confirmed
	}
	return reading
}

// at moves the clock.
func (a *api) at(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now = now
}

// reply is a response as received.
type reply struct {
	status int
	header http.Header
	closes bool // whether it closes the connection
	raw    string
	body   map[string]any // nil if there is none
}

// send sends a request with header fields as "Name: value", and checks what all
// responses of the API have in common.
func (a *api) send(t testing.TB, method, path, body string, fields ...string) reply {
	t.Helper()
	r, err := http.NewRequest(method, a.URL, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	// The path as given, however odd.
	r.URL.Opaque = "//" + r.URL.Host + path
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		r.Header.Set(name, value)
	}
	sender := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := sender.Do(r)
	if err != nil {
		t.Fatalf("%s %s: got error %v, want an answer", method, path, err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	got := reply{status: response.StatusCode, header: response.Header, closes: response.Close, raw: string(raw)}
	media := "application/json"
	resource, _, _ := strings.Cut(path, "?")
	calendar := got.status == http.StatusOK && strings.HasSuffix(resource, ".ics")
	if calendar {
		media = "text/calendar; charset=utf-8"
	}
	for name, want := range map[string]string{"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "Content-Type": media} {
		if value := response.Header.Get(name); value != want {
			t.Errorf("%s %s: got %s %q, want %q", method, path, name, value, want)
		}
	}
	if method == http.MethodHead || calendar {
		return got
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if err := decoder.Decode(&got.body); err != nil || decoder.More() {
		t.Fatalf("%s %s: got the body %q, want one JSON object", method, path, raw)
	}
	return got
}

// must sends a request that must get the given status.
func (a *api) must(t testing.TB, status int, method, path, body string, fields ...string) reply {
	t.Helper()
	got := a.send(t, method, path, body, fields...)
	if got.status != status {
		t.Fatalf("%s %s %s: got status %d and %s, want %d", method, path, body, got.status, got.raw, status)
	}
	return got
}

// refused sends a request that must be refused with a status, a code, the field at
// fault and a sentence.
func (a *api) refused(t testing.TB, status int, code, field, method, path, body string, fields ...string) reply {
	t.Helper()
	got := a.must(t, status, method, path, body, fields...)
	want := map[string]any{"code": code, "error": got.body["error"]}
	if field != "" {
		want["field"] = field
	}
	equal(t, method+" "+path+" "+body, got.body, want)
	if sentence, _ := got.body["error"].(string); len(sentence) < 10 || !strings.HasSuffix(sentence, ".") {
		t.Errorf("%s %s: got the error %q, want a sentence", method, path, sentence)
	}
	return got
}

// create creates a key, and returns its id and token.
func (a *api) create(t testing.TB, ws, name string) (id, token string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"name": name, "preset": "read_only"})
	if err != nil {
		t.Fatal(err)
	}
	got := a.must(t, http.StatusCreated, "POST", "/workspaces/"+ws+"/keys", string(body))
	return got.body["key"].(map[string]any)["id"].(string), got.body["token"].(string)
}

// trail returns the newest events of the audit trail at path, newest first.
func (a *api) trail(t testing.TB, path string, fields ...string) (events []map[string]any) {
	t.Helper()
	for _, event := range a.must(t, http.StatusOK, "GET", path+"?limit=200", "", fields...).body["events"].([]any) {
		events = append(events, event.(map[string]any))
	}
	return events
}

// done returns the events of changes that were made, not refused.
func done(events []map[string]any) []map[string]any {
	return slices.DeleteFunc(events, func(event map[string]any) bool {
		_, refused := event["details"].(map[string]any)["refused"]
		return refused
	})
}

// events returns the number of events in the whole audit trail.
func (a *api) events(t testing.TB) int {
	t.Helper()
	return len(done(a.trail(t, "/audit")))
}

func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}

// object parses a JSON object in a test.
func object(t testing.TB, text string) (value map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return value
}

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
