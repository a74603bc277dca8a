package admin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/store"
)

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
