package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/admin/client/clienttest"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// codeOf returns the code of a refusal, or "" for another error.
func codeOf(err error) string {
	if refusal, ok := errors.AsType[*client.Error](err); ok {
		return refusal.Code
	}
	return ""
}

// calls returns every call of the API that responds with JSON, by name.
func calls(ctx context.Context, c *client.Client) map[string]func() error {
	return map[string]func() error{
		"CreateKey": func() error { _, err := c.CreateKey(ctx, "acme", client.CreateRequest{}); return err },
		"ListKeys":  func() error { _, err := c.ListKeys(ctx, "acme", client.ListOptions{}); return err },
		"FindKeys":  func() error { _, err := c.FindKeys(ctx, client.FindOptions{}); return err },
		"FindKey":   func() error { _, err := c.FindKey(ctx, someKey); return err },
		"ListWorkspaces": func() error {
			_, err := c.ListWorkspaces(ctx, client.WorkspaceOptions{})
			return err
		},
		"ShowKey":       func() error { _, err := c.ShowKey(ctx, "acme", someKey); return err },
		"ShowUses":      func() error { _, err := c.ShowUses(ctx, "acme", someKey); return err },
		"ShowUsage":     func() error { _, err := c.ShowUsage(ctx, "acme", someKey, 0); return err },
		"ListUsage":     func() error { _, err := c.ListUsage(ctx, "acme", []string{someKey}, 0); return err },
		"RevokeKey":     func() error { _, err := c.RevokeKey(ctx, "acme", someKey, ""); return err },
		"UpdateKey":     func() error { _, err := c.UpdateKey(ctx, "acme", someKey, client.UpdateRequest{}); return err },
		"RotateKey":     func() error { _, err := c.RotateKey(ctx, "acme", someKey, client.RotateRequest{}); return err },
		"RevokeAll":     func() error { _, err := c.RevokeAll(ctx, "acme", "left"); return err },
		"Suspend":       func() error { _, err := c.Suspend(ctx, "acme", ""); return err },
		"Resume":        func() error { _, err := c.Resume(ctx, "acme"); return err },
		"ShowWorkspace": func() error { _, err := c.ShowWorkspace(ctx, "acme"); return err },
		"Suspensions":   func() error { _, err := c.Suspensions(ctx, client.PageOptions{}); return err },
		"LookUpToken":   func() error { _, err := c.LookUpToken(ctx, "agk_unknown"); return err },
		"RevokeToken":   func() error { _, err := c.RevokeToken(ctx, "agk_unknown", ""); return err },
		"Events":        func() error { _, err := c.Events(ctx, "", client.PageOptions{}); return err },
		"CreateFeed":    func() error { _, err := c.CreateFeed(ctx, "acme"); return err },
		"RevokeFeed":    func() error { _, err := c.RevokeFeed(ctx, "acme"); return err },
		"Calendar":      func() error { _, err := c.Calendar(ctx, "acme", client.CalendarOptions{}); return err },
		"Mount":         func() error { _, err := c.Mount(ctx); return err },
		"Health":        func() error { _, err := c.Health(ctx); return err },
		"Clock":         func() error { _, err := c.Clock(ctx); return err },
		"TrustClock":    func() error { _, err := c.TrustClock(ctx, ""); return err },
		"Doctor":        func() error { _, err := c.Doctor(ctx); return err },
		"TestWebhooks":  func() error { _, err := c.TestWebhooks(ctx); return err },
		"RekeyFleet":    func() error { _, err := c.RekeyFleet(ctx, ""); return err },
		"OpenAPI":       func() error { _, err := c.OpenAPI(ctx); return err },
		"Restore":       func() error { _, err := c.Restore(ctx, strings.NewReader("x"), client.RestoreOptions{}); return err },
		"Backup": func() error {
			taken, err := c.Backup(ctx)
			if err == nil {
				_ = taken.Close()
			}
			return err
		},
	}
}

// keyIDForm begins the refusal of what is no key's id.
const keyIDForm = `A key's id is "key_", and 26 digits and capital letters without I, L, O and U. `

func TestClient_refused(t *testing.T) {
	c := clienttest.NewServer(t).Client()
	create(t, c, "acme", "Zapier")
	for _, tt := range []struct {
		title  string
		call   func() error
		want   *apikey.Error // has the server's message
		status int
	}{
		{"create", func() error {
			_, err := c.CreateKey(t.Context(), "acme", client.CreateRequest{Name: "zapier", Preset: client.ReadOnly})
			return err
		}, apikey.ErrNameTaken, 409},
		{"create in an impossible workspace", func() error {
			_, err := c.CreateKey(t.Context(), "a/../b?c#d", client.CreateRequest{Name: "Zapier", Preset: client.ReadOnly})
			return err
		}, apikey.ErrInvalidWorkspace, 0},
		{"list", func() error {
			_, err := c.ListKeys(t.Context(), "acme", client.ListOptions{Cursor: "x&limit=1"})
			return err
		}, apikey.ErrInvalidCursor, 400},
		{"show", func() error { _, err := c.ShowKey(t.Context(), "acme", someKey); return err }, apikey.ErrNotFound, 404},
		{"show an odd id", func() error { _, err := c.ShowKey(t.Context(), "acme", "a/b?c#d%2f"); return err },
			&apikey.Error{Code: "not_found", Message: keyIDForm + `This one does not begin with "key_".`}, 0},
		{"show an id that was cut off", func() error { _, err := c.ShowKey(t.Context(), "acme", someKey[:20]); return err },
			&apikey.Error{Code: "not_found", Message: keyIDForm + `This one has 16 after "key_".`}, 0},
		{"show an id with a line end", func() error { _, err := c.ShowKey(t.Context(), "acme", someKey+"\n"); return err },
			&apikey.Error{Code: "not_found", Message: keyIDForm + `This one has 27 after "key_".`}, 0},
		{"show an id in small letters", func() error {
			_, err := c.ShowKey(t.Context(), "acme", "key_"+strings.ToLower(strings.TrimPrefix(someKey, "key_")))
			return err
		}, &apikey.Error{Code: "not_found", Message: keyIDForm + "This one has small letters."}, 0},
		{"show a mistyped id", func() error { _, err := c.ShowKey(t.Context(), "acme", someKey[:len(someKey)-1]+"O"); return err },
			&apikey.Error{Code: "not_found", Message: keyIDForm + "This one has a character that is none of those."}, 0},
		{"find", func() error {
			_, err := c.FindKeys(t.Context(), client.FindOptions{ExpiresWithin: "soon"})
			return err
		}, &apikey.Error{Code: "invalid_duration", Field: "expires_within", Message: apikey.ErrInvalidDuration.Message}, 422},
		{"find one", func() error { _, err := c.FindKey(t.Context(), someKey); return err },
			&apikey.Error{Code: "not_found", Message: "No workspace has a key with this id."}, 404},
		{"find an odd id", func() error { _, err := c.FindKey(t.Context(), "../healthz"); return err },
			&apikey.Error{Code: "not_found", Message: keyIDForm + `This one does not begin with "key_".`}, 0},
		{"revoke", func() error { _, err := c.RevokeKey(t.Context(), "acme", someKey, "a\nb"); return err },
			&apikey.Error{Code: "invalid_reason", Field: "reason", Message: "A reason cannot contain the control character or line break U+000A."}, 422},
	} {
		t.Run(tt.title, func(t *testing.T) {
			refusal, ok := errors.AsType[*client.Error](tt.call())
			if want := (client.Error{StatusCode: tt.status, Code: tt.want.Code, Field: tt.want.Field, Message: tt.want.Message}); !ok || *refusal != want {
				t.Errorf("got error %+v, want %+v", refusal, want)
			}
		})
	}
}

func TestError(t *testing.T) {
	for want, err := range map[string]client.Error{
		"Taken. (name_taken, HTTP 409)":        {StatusCode: 409, Code: client.CodeNameTaken, Message: "Taken."},
		"host not allowed: x.test (HTTP 403)":  {StatusCode: 403, Message: "host not allowed: x.test"},
		"Not a workspace. (invalid_workspace)": {Code: client.CodeInvalidWorkspace, Message: "Not a workspace."},
	} {
		if got := err.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// A response from something else is not taken for the API's.
func TestClient_foreignAnswers(t *testing.T) {
	for _, tt := range []struct {
		title  string
		status int
		body   string
		want   string
	}{
		{"empty", 200, ``, client.ErrNotServed.Error()},
		{"a page", 200, `<html>hello</html>`, client.ErrNotServed.Error()},
		{"an empty object", 200, `{}`, client.ErrNotServed.Error()},
		{"another object", 200, `{"state":"fine"}`, client.ErrNotServed.Error()},
		{"an empty key", 200, `{"key":{}}`, client.ErrNotServed.Error()},
		{"no keys", 200, `{"keys":null}`, client.ErrNotServed.Error()},
		{"null", 200, `null`, client.ErrNotServed.Error()},
		{"an array", 200, `[]`, client.ErrNotServed.Error()},
		{"cut off", 200, `{"key":{"id":"key_`, client.ErrNotServed.Error()},
		{"no content", 204, ``, client.ErrNotServed.Error()},
		{"not modified", 304, ``, client.ErrNotServed.Error()},
		{"not found", 404, ``, client.ErrNotServed.Error()},
		{"not found, as a page", 404, `<html>not here</html>`, client.ErrNotServed.Error()},
		{"bad gateway", 502, `{}`, client.ErrNotServed.Error()},
		{"an error of another kind", 500, `{"error":{"message":"no"}}`, client.ErrNotServed.Error()},
		{"what stands before the API", 403, `{"error":"host not allowed: evil.example"}`, "host not allowed: evil.example (HTTP 403)"},
	} {
		t.Run(tt.title, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				if tt.body != "" {
					_, _ = w.Write([]byte(tt.body))
				}
			}))
			defer server.Close()
			for name, call := range calls(t.Context(), &client.Client{BaseURL: server.URL}) {
				if err := call(); err == nil || err.Error() != tt.want {
					t.Errorf("%s: got error %v, want %q", name, err, tt.want)
				}
			}
		})
	}
}

// A refusal says when to try again.
func TestClient_retryAfter(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = w.Write([]byte(`{"error":"Too many.","code":"too_many_changes"}`))
	}))
	defer server.Close()
	_, err := (&client.Client{BaseURL: server.URL}).Resume(t.Context(), "acme")
	refusal, ok := errors.AsType[*client.Error](err)
	if !ok || refusal.RetryAfter != 7*time.Second || refusal.StatusCode != http.StatusTooManyRequests {
		t.Errorf("got %+v, want it to be tried again in 7 s", err)
	}
}

// An invalid id is not sent: a server that cleans paths would take it for another
// call. The client's rules are the server's.
func TestClient_ids(t *testing.T) {
	c := &client.Client{HTTP: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) { return nil, errors.New("sent") })}}
	token := apikey.NewToken("agk").Reveal()
	workspaces := []string{"acme", "A.b_c-9", "-", "_", strings.Repeat("x", 64), "", ".", "..", "a/b", "a b", "é", "a\n", strings.Repeat("x", 65), token, "x" + token[:47]}
	content := must[[]byte](t)(os.ReadFile("../../internal/apikey/testdata/tokens.json"))
	var tokens []struct{ Text string }
	if err := json.Unmarshal(content, &tokens); err != nil || len(tokens) == 0 {
		t.Fatalf("got %d texts, error %v", len(tokens), err)
	}
	for _, text := range tokens {
		workspaces = append(workspaces, text.Text)
	}
	for _, ws := range workspaces {
		_, err := c.ShowWorkspace(t.Context(), ws)
		if want := apikey.ValidateWorkspaceID(ws) != nil; (codeOf(err) == client.CodeInvalidWorkspace) != want {
			t.Errorf("workspace %q: got error %v; the server refuses it: %t", ws, err, want)
		}
	}
	for _, id := range []string{someKey, apikey.NewKeyID(time.Now()), "", "../suspend", "key_", strings.ToLower(someKey), someKey + "0", someKey + "\n", token} {
		_, err := c.RevokeKey(t.Context(), "acme", id, "")
		if want := !apikey.ValidKeyID(id); (codeOf(err) == client.CodeNotFound) != want {
			t.Errorf("key %q: got error %v; the server refuses it: %t", id, err, want)
		}
	}
}
