package admin

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

func newClient(base string) *Client { return &Client{HTTP: http.DefaultClient, Base: base} }

func TestClient(t *testing.T) {
	a := newAPI(t)
	c := newClient(a.URL)
	life := "30d"
	made, err := c.CreateKey(t.Context(), "acme", CreateRequest{Name: "Zapier", Owner: "Ops", Preset: "full_access", ExpiresIn: &life})
	if err != nil {
		t.Fatalf("CreateKey: got error %v, want a key", err)
	}
	if _, ok := apikey.ParseToken(made.Token); !ok {
		t.Errorf("CreateKey: got the token %q, want a well-formed one", made.Token)
	}
	equal(t, "name", made.Key.Name, "Zapier")
	equal(t, "expires_at", made.Key.ExpiresAt, start.Add(30*day))

	shown, err := c.ShowKey(t.Context(), "acme", made.Key.ID)
	equal(t, "ShowKey: error", err, nil)
	equal(t, "ShowKey", shown, KeyAnswer{Key: made.Key})

	a.create(t, "acme", "Second")
	page, err := c.ListKeys(t.Context(), "acme", ListOptions{Limit: 1})
	if err != nil || len(page.Keys) != 1 || page.Keys[0].Name != "Second" || page.NextCursor == nil {
		t.Fatalf("ListKeys: got %+v, error %v; want Second, and more", page, err)
	}
	page, err = c.ListKeys(t.Context(), "acme", ListOptions{Status: "active", Query: "ops", Cursor: *page.NextCursor})
	equal(t, "ListKeys: error", err, nil)
	equal(t, "ListKeys", page, KeysAnswer{Keys: []Key{made.Key}})
	page, err = c.ListKeys(t.Context(), "nobody", ListOptions{})
	equal(t, "ListKeys: error", err, nil)
	equal(t, "ListKeys of nobody", len(page.Keys), 0)

	revoked, err := c.RevokeKey(t.Context(), "acme", made.Key.ID, "left")
	equal(t, "RevokeKey: error", err, nil)
	equal(t, "status", revoked.Key.Status, "revoked")
	equal(t, "reason", *revoked.Key.RevokeReason, "left")
}

// The whole life of a key.
func TestClient_life(t *testing.T) {
	a := newAPI(t)
	c := newClient(a.URL)
	made, err := c.CreateKey(t.Context(), "acme", CreateRequest{Name: "Zapier", Preset: "read_only"})
	equal(t, "CreateKey: error", err, nil)
	name, owner, wait := "Zapier production", "Ops", "24h"
	updated, err := c.UpdateKey(t.Context(), "acme", made.Key.ID, UpdateRequest{Name: &name})
	equal(t, "UpdateKey: error", err, nil)
	equal(t, "UpdateKey", updated.Key.Name, name)

	rotated, err := c.RotateKey(t.Context(), "acme", made.Key.ID, RotateRequest{Owner: &owner, RevokeOldIn: &wait})
	equal(t, "RotateKey: error", err, nil)
	equal(t, "RotateKey: replaces", *rotated.Key.Replaces, made.Key.ID)
	equal(t, "RotateKey: owner", rotated.Key.Owner, owner)
	equal(t, "RotateKey: revokes_at", *rotated.Replaced.RevokesAt, start.Add(day))

	found, err := c.LookUpToken(t.Context(), rotated.Token)
	equal(t, "LookUpToken: error", err, nil)
	equal(t, "LookUpToken", found.Key, rotated.Key)
	revoked, err := c.RevokeToken(t.Context(), made.Token, "leaked")
	equal(t, "RevokeToken: error", err, nil)
	equal(t, "RevokeToken", *revoked.Key.RevokeReason, "leaked")

	suspended, err := c.Suspend(t.Context(), "acme", "unpaid")
	equal(t, "Suspend: error", err, nil)
	equal(t, "Suspend", *suspended.Workspace.Reason, "unpaid")
	resumed, err := c.Resume(t.Context(), "acme")
	equal(t, "Resume: error", err, nil)
	equal(t, "Resume", resumed.Workspace, Workspace{ID: "acme", Keys: KeyCounts{Active: 1, Revoked: 1}})
	all, err := c.RevokeAll(t.Context(), "acme", "left")
	equal(t, "RevokeAll: error", err, nil)
	equal(t, "RevokeAll", all.Revoked, 1)

	operations := []string{}
	for cursor, more := "", true; more; {
		page, err := c.Events(t.Context(), "acme", 3, cursor)
		if err != nil {
			t.Fatalf("Events: got error %v, want a page", err)
		}
		for _, event := range page.Events {
			operations = append(operations, event.Operation)
		}
		if more = page.NextCursor != nil; more {
			cursor = *page.NextCursor
		}
	}
	equal(t, "operations", operations, []string{"revoke_all", "resume", "suspend", "revoke", "lookup", "lookup", "rotate", "update", "create"})
	global, err := c.Events(t.Context(), "", 0, "")
	equal(t, "Events of all: error", err, nil)
	equal(t, "Events of all", len(global.Events), len(operations))
}

func TestClient_refused(t *testing.T) {
	a := newAPI(t)
	c := newClient(a.URL)
	a.create(t, "acme", "Zapier")
	for _, test := range []struct {
		title string
		call  func() error
		want  *apikey.Error
	}{
		{"create", func() error {
			_, err := c.CreateKey(t.Context(), "acme", CreateRequest{Name: "zapier", Preset: "read_only"})
			return err
		}, apikey.ErrNameTaken},
		{"create in an impossible workspace", func() error {
			_, err := c.CreateKey(t.Context(), "a/../b?c#d", CreateRequest{Name: "Zapier", Preset: "read_only"})
			return err
		}, apikey.ErrInvalidWorkspace},
		{"list", func() error {
			_, err := c.ListKeys(t.Context(), "acme", ListOptions{Cursor: "x&limit=1"})
			return err
		}, apikey.ErrInvalidCursor},
		{"show", func() error { _, err := c.ShowKey(t.Context(), "acme", someKey); return err }, apikey.ErrNotFound},
		{"show an odd id", func() error { _, err := c.ShowKey(t.Context(), "acme", "a/b?c#d%2f"); return err }, apikey.ErrNotFound},
		{"revoke", func() error { _, err := c.RevokeKey(t.Context(), "acme", someKey, "a\nb"); return err }, apikey.ErrInvalidReason},
	} {
		t.Run(test.title, func(t *testing.T) {
			err := test.call()
			refusal, ok := errors.AsType[*apikey.Error](err)
			if !ok || refusal.Code != test.want.Code || refusal.Field != test.want.Field || refusal.Message == "" {
				t.Errorf("got error %#v, want %q about %q", err, test.want.Code, test.want.Field)
			}
		})
	}
}

// Whatever else answers is not taken for the API.
func TestClient_foreignAnswers(t *testing.T) {
	for _, test := range []struct {
		title  string
		status int
		body   string
		want   string
	}{
		{"empty", 200, ``, ErrNotServed.Error()},
		{"a page", 200, `<html>hello</html>`, ErrNotServed.Error()},
		{"an empty object", 200, `{}`, ErrNotServed.Error()},
		{"another object", 200, `{"status":"ok"}`, ErrNotServed.Error()},
		{"an empty key", 200, `{"key":{}}`, ErrNotServed.Error()},
		{"no keys", 200, `{"keys":null}`, ErrNotServed.Error()},
		{"null", 200, `null`, ErrNotServed.Error()},
		{"an array", 200, `[]`, ErrNotServed.Error()},
		{"cut off", 200, `{"key":{"id":"key_`, ErrNotServed.Error()},
		{"no content", 204, ``, ErrNotServed.Error()},
		{"not modified", 304, ``, ErrNotServed.Error()},
		{"not found", 404, ``, ErrNotServed.Error()},
		{"not found, as a page", 404, `<html>not here</html>`, ErrNotServed.Error()},
		{"bad gateway", 502, `{}`, ErrNotServed.Error()},
		{"an error of another kind", 500, `{"error":{"message":"no"}}`, ErrNotServed.Error()},
		{"what stands before the API", 403, `{"error":"host not allowed: evil.example"}`, "host not allowed: evil.example (HTTP 403)"},
	} {
		t.Run(test.title, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				if test.body != "" {
					_, _ = w.Write([]byte(test.body))
				}
			}))
			defer server.Close()
			c := newClient(server.URL)
			report := func(call string, err error) {
				t.Helper()
				if err == nil || err.Error() != test.want {
					t.Errorf("%s: got error %v, want %q", call, err, test.want)
				}
			}
			_, err := c.CreateKey(t.Context(), "acme", CreateRequest{})
			report("CreateKey", err)
			_, err = c.ListKeys(t.Context(), "acme", ListOptions{})
			report("ListKeys", err)
			_, err = c.ShowKey(t.Context(), "acme", someKey)
			report("ShowKey", err)
			_, err = c.RevokeKey(t.Context(), "acme", someKey, "")
			report("RevokeKey", err)
			_, err = c.UpdateKey(t.Context(), "acme", someKey, UpdateRequest{})
			report("UpdateKey", err)
			_, err = c.RotateKey(t.Context(), "acme", someKey, RotateRequest{})
			report("RotateKey", err)
			_, err = c.RevokeAll(t.Context(), "acme", "left")
			report("RevokeAll", err)
			_, err = c.Suspend(t.Context(), "acme", "")
			report("Suspend", err)
			_, err = c.Resume(t.Context(), "acme")
			report("Resume", err)
			_, err = c.LookUpToken(t.Context(), someToken)
			report("LookUpToken", err)
			_, err = c.RevokeToken(t.Context(), someToken, "")
			report("RevokeToken", err)
			_, err = c.Events(t.Context(), "", 0, "")
			report("Events", err)
		})
	}
}

func TestClient_transport(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	if _, err := newClient(server.URL).ShowKey(t.Context(), "acme", someKey); err == nil || errors.Is(err, ErrNotServed) {
		t.Errorf("nobody listens: got error %v, want the transport's", err)
	}
	a := newAPI(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newClient(a.URL).ShowKey(ctx, "acme", someKey); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got error %v, want context.Canceled", err)
	}
	if _, err := newClient(":").ShowKey(t.Context(), "acme", someKey); err == nil {
		t.Error("no address: got no error, want one")
	}
}

// An id that is none is not sent: a server that cleans paths would answer
// another call than was meant.
func TestClient_ids(t *testing.T) {
	c := newClient("http://127.0.0.1:1") // nobody listens there
	_, err := c.Events(t.Context(), "..", 0, "")
	equal(t, "Events: refused", errors.Is(err, apikey.ErrInvalidWorkspace), true)
	_, err = c.ListKeys(t.Context(), "a/b", ListOptions{})
	equal(t, "ListKeys: refused", errors.Is(err, apikey.ErrInvalidWorkspace), true)
	_, err = c.RevokeKey(t.Context(), "acme", "../suspend", "")
	equal(t, "RevokeKey: refused", errors.Is(err, apikey.ErrNotFound), true)
	_, err = c.ShowKey(t.Context(), "", apikey.NewKeyID(start))
	equal(t, "ShowKey: refused", errors.Is(err, apikey.ErrInvalidWorkspace), true)
}

// A redirect is no answer, and nobody follows one.
func TestClient_redirect(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("got a request of %s elsewhere, want none", r.URL)
	}))
	defer elsewhere.Close()
	redirecting := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer redirecting.Close()
	c := newClient(redirecting.URL)
	_, err := c.LookUpToken(t.Context(), apikey.NewToken("agk").Reveal())
	equal(t, "LookUpToken: not served", errors.Is(err, ErrNotServed), true)
	_, err = c.Events(t.Context(), "acme", 0, "")
	equal(t, "Events: not served", errors.Is(err, ErrNotServed), true)
}
