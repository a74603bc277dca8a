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
