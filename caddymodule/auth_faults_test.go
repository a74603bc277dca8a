package caddymodule

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/authn"
)

// faultySource is a faulty key store.
type faultySource func(apikey.Digest) (apikey.Grant, error)

func (f faultySource) Grant(d apikey.Digest) (apikey.Grant, error) { return f(d) }

func (faultySource) MayHave(apikey.Digest) bool { return true }
func (faultySource) Prefixes() *apikey.Prefixes { return nil }

func (faultySource) SuspendedWorkspaces() ([]string, error) { return nil, nil }

func brokenClock() time.Time { panic("out of order") }

// TestAuth_faults: the gateway fails closed. If anything fails during the check,
// the request gets a response and does not reach an upstream.
func TestAuth_faults(t *testing.T) {
	token := apikey.NewToken("agk")
	good := faultySource(func(d apikey.Digest) (apikey.Grant, error) {
		key := apikey.Key{ID: "key_1", WorkspaceID: "acme", Preset: apikey.FullAccess, Digest: d, ExpiresAt: time.Now().Add(time.Hour)}
		return key.Grant(), nil
	})
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })

	const (
		unavailableBody = `{"error":"Service Unavailable."}`
		internalBody    = `{"error":"Internal Server Error."}`
	)
	tests := []struct {
		name   string
		source faultySource
		now    func() time.Time
		change func(*App)
		status int
		body   string
		log    string // the message in the log
	}{
		{name: "the store fails", status: 503, body: unavailableBody, log: "input/output error",
			source: func(apikey.Digest) (apikey.Grant, error) { return apikey.Grant{}, errors.New("input/output error") }},
		{name: "a damaged record", status: 503, body: unavailableBody, log: "the record is damaged",
			source: func(d apikey.Digest) (apikey.Grant, error) {
				return apikey.Grant{Digest: d}, errors.New("the record is damaged")
			}},
		{name: "the store panics", status: 503, body: unavailableBody, log: "out of order",
			source: func(apikey.Digest) (apikey.Grant, error) { panic("out of order") }},
		{name: "the store hangs", status: 503, body: unavailableBody, log: "did not answer in time",
			source: func(apikey.Digest) (apikey.Grant, error) { <-hang; return apikey.Grant{}, nil }},
		{name: "the store is closed", status: 503, body: unavailableBody,
			source: good, change: func(a *App) { a.shared.Load().authn.Close() }},
		{name: "the app has not started", status: 503, body: unavailableBody,
			source: good, change: func(a *App) { a.shared.Store(nil); close(a.ready) }},
		{name: "the check panics", status: 500, body: internalBody, log: "out of order",
			source: good, now: brokenClock},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			core, logs := observer.New(zap.DebugLevel)
			h, app := newFaulty(t, test.source, test.now, zap.New(core))
			if test.change != nil {
				test.change(app)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/public/v1/contacts", nil)
			r.Header.Set("Authorization", "Bearer "+token.Reveal())
			w := httptest.NewRecorder()
			r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, new(caddyhttp.Server))
			err := h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
				t.Error("the request reached the next handler")
				return nil
			}))
			if err != nil || w.Code != test.status || w.Body.String() != test.body {
				t.Errorf("got %d %s (%v), want %d %s", w.Code, w.Body, err, test.status, test.body)
			}
			for name, want := range map[string]string{"Content-Type": "application/json", "Cache-Control": "no-store"} {
				if got := w.Header().Get(name); got != want {
					t.Errorf("got %s %q, want %q", name, got, want)
				}
			}
			wantRetry := ""
			if test.status == 503 {
				wantRetry = "1"
			}
			if got := w.Header().Get("Retry-After"); got != wantRetry {
				t.Errorf("got Retry-After %q, want %q", got, wantRetry)
			}
			said := describe(t, logs)
			if !strings.Contains(said, test.log) || strings.Contains(said, token.Reveal()) {
				t.Errorf("got a log without %q, or with the token:\n%s", test.log, said)
			}
		})
	}
}

// newFaulty returns a handler and its app in the state in which they serve.
func newFaulty(t *testing.T, source authn.Source, now func() time.Time, log *zap.Logger) (*Auth, *App) {
	t.Helper()
	if now == nil {
		now = time.Now
	}
	authenticator, err := authn.New(source, 10, now, log)
	if err != nil {
		t.Fatal(err)
	}
	app := &App{ready: make(chan struct{}), log: log}
	app.shared.Store(&instance{authn: authenticator, log: log})
	return &Auth{log: log, app: app, policy: authn.Policy{ReadMethods: []string{http.MethodGet}}, refusals: refusals("api")}, app
}

// describe returns everything that was logged, as text.
func describe(t *testing.T, logs *observer.ObservedLogs) string {
	t.Helper()
	encoder := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	var all strings.Builder
	for _, entry := range logs.All() {
		line, err := encoder.EncodeEntry(entry.Entry, entry.Context)
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString(line.String())
	}
	return all.String()
}
