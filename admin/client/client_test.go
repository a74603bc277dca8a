package client_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/admin/client/clienttest"
)

// someKey is the id of a key that does not exist.
const someKey = "key_01JD0000000000000000000000"

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %+v, want %+v", what, got, want)
	}
}

// must returns the result of a call, and ends the test on an error.
func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatalf("got error %v, want none", err)
		}
		return value
	}
}

// create creates a key.
func create(t *testing.T, c *client.Client, ws, name string) client.NewKey {
	t.Helper()
	return must[client.NewKey](t)(c.CreateKey(t.Context(), ws, client.CreateRequest{Name: name, Preset: client.ReadOnly}))
}

func TestClient_keys(t *testing.T) {
	c := clienttest.NewServer(t).Client()
	life := "30d"
	created := must[client.NewKey](t)(c.CreateKey(t.Context(), "acme", client.CreateRequest{
		Name: "Zapier", Owner: "Ops", Preset: client.FullAccess, ExpiresIn: &life,
	}))
	if len(created.Token) != 53 || !strings.HasPrefix(created.Token, "agk_") {
		t.Errorf("CreateKey: got the token %q, want a well-formed one", created.Token)
	}
	equal(t, "name", created.Key.Name, "Zapier")
	equal(t, "abilities", created.Key.Abilities, []string{"read", "write"})
	equal(t, "created by", created.Key.CreatedBy, clienttest.Actor)
	equal(t, "life", created.Key.ExpiresAt.Sub(created.Key.CreatedAt), 30*24*time.Hour)
	equal(t, "ShowKey", must[client.Key](t)(c.ShowKey(t.Context(), "acme", created.Key.ID)), created.Key)
	equal(t, "ShowUses", must[client.Uses](t)(c.ShowUses(t.Context(), "acme", created.Key.ID)), client.Uses{})
	equal(t, "ShowUsage", must[[]client.DayUsage](t)(c.ShowUsage(t.Context(), "acme", created.Key.ID, 90)), []client.DayUsage{})
	equal(t, "ListUsage", must[map[string][]client.DayUsage](t)(c.ListUsage(t.Context(), "acme", []string{created.Key.ID, someKey}, 1)), map[string][]client.DayUsage{created.Key.ID: {}})

	create(t, c, "acme", "Second")
	page := must[client.KeyPage](t)(c.ListKeys(t.Context(), "acme", client.ListOptions{Limit: 1}))
	if len(page.Keys) != 1 || page.Keys[0].Name != "Second" || page.NextCursor == nil {
		t.Fatalf("ListKeys: got %+v, want Second, and more", page)
	}
	page = must[client.KeyPage](t)(c.ListKeys(t.Context(), "acme", client.ListOptions{Status: client.Active, Query: "ops", Cursor: *page.NextCursor}))
	equal(t, "ListKeys", page, client.KeyPage{Keys: []client.Key{created.Key}})
	equal(t, "ListKeys of nobody", len(must[client.KeyPage](t)(c.ListKeys(t.Context(), "nobody", client.ListOptions{})).Keys), 0)

	revocation := must[client.Revocation](t)(c.RevokeKey(t.Context(), "acme", created.Key.ID, "left"))
	revoked := revocation.Key
	equal(t, "propagation", revocation.Propagation, client.Propagation{State: client.Confirmed, Revision: 3, Gateways: 1})
	equal(t, "status", revoked.Status, client.Revoked)
	equal(t, "reason", *revoked.RevokeReason, "left")
}

// The whole life of a key.
func TestClient_life(t *testing.T) {
	c := clienttest.NewServer(t).Client()
	created := create(t, c, "acme", "Zapier")
	name, owner, wait := "Zapier production", "Ops", "24h"
	updated := must[client.Key](t)(c.UpdateKey(t.Context(), "acme", created.Key.ID, client.UpdateRequest{Name: &name}))
	equal(t, "UpdateKey", updated.Name, name)

	rotated := must[client.Rotation](t)(c.RotateKey(t.Context(), "acme", created.Key.ID, client.RotateRequest{Owner: &owner, RevokeOldIn: &wait}))
	equal(t, "RotateKey: replaces", *rotated.Key.Replaces, created.Key.ID)
	equal(t, "RotateKey: owner", rotated.Key.Owner, owner)
	equal(t, "RotateKey: revokes_at", rotated.Replaced.RevokesAt.Sub(rotated.Key.CreatedAt), 24*time.Hour)

	equal(t, "LookUpToken", must[client.Key](t)(c.LookUpToken(t.Context(), rotated.Token)), rotated.Key)
	equal(t, "RevokeToken", *must[client.Revocation](t)(c.RevokeToken(t.Context(), created.Token, "leaked")).Key.RevokeReason, "leaked")

	equal(t, "Suspend", *must[client.SuspendedWorkspace](t)(c.Suspend(t.Context(), "acme", "unpaid")).Workspace.Reason, "unpaid")
	suspended := must[client.SuspensionPage](t)(c.Suspensions(t.Context(), client.PageOptions{}))
	equal(t, "Suspensions", suspended.Suspensions[0].WorkspaceID, "acme")
	reasons := []string{}
	for suspension, err := range c.AllSuspensions(t.Context()) {
		reasons = append(reasons, fmt.Sprint(suspension.Reason, err))
	}
	equal(t, "AllSuspensions", reasons, []string{"unpaid<nil>"})
	resumed := must[client.Workspace](t)(c.Resume(t.Context(), "acme"))
	equal(t, "Resume", resumed, client.Workspace{ID: "acme", Keys: client.KeyCounts{Active: 1, Revoked: 1}})
	equal(t, "ShowWorkspace", must[client.Workspace](t)(c.ShowWorkspace(t.Context(), "acme")), resumed)
	equal(t, "RevokeAll", must[client.RevokedKeys](t)(c.RevokeAll(t.Context(), "acme", "left")).Revoked, 1)

	operations := []string{}
	options := client.PageOptions{Limit: 3}
	for more := true; more; {
		page := must[client.EventPage](t)(c.Events(t.Context(), "acme", options))
		for _, event := range page.Events {
			operations = append(operations, event.Operation)
		}
		if more = page.NextCursor != nil; more {
			options.Cursor = *page.NextCursor
		}
	}
	equal(t, "operations", operations, []string{"revoke_all", "resume", "suspend", "revoke", "lookup", "lookup", "rotate", "update", "create"})
	count := 0
	for event, err := range c.AllEvents(t.Context(), "") {
		if count++; err != nil || event.Actor != clienttest.Actor {
			t.Errorf("AllEvents: got %+v, %v", event, err)
		}
	}
	equal(t, "AllEvents", count, len(operations))
}

// All pages are read, and an error ends the list.
func TestClient_all(t *testing.T) {
	c := clienttest.NewServer(t).Client()
	const revoked, active = 250, 3
	want := []string{}
	for i := range revoked + active {
		created := create(t, c, "acme", fmt.Sprintf("System number %d", i))
		want = append(want, created.Key.Name)
		if i < revoked {
			must[client.Revocation](t)(c.RevokeKey(t.Context(), "acme", created.Key.ID, ""))
		}
	}
	slices.Reverse(want)
	names := func(status string, most int) (found []string) {
		for key, err := range c.AllKeys(t.Context(), "acme", status) {
			if err != nil {
				t.Fatalf("got error %v after %d keys, want none", err, len(found))
			}
			if found = append(found, key.Name); len(found) == most {
				break
			}
		}
		return found
	}
	equal(t, "all keys", names("", -1), want)
	equal(t, "active keys", names(client.Active, -1), want[:active])
	equal(t, "the first two", names("", 2), want[:2])
	results := 0
	for key, err := range c.AllKeys(t.Context(), "a/b", "") {
		if results++; key.ID != "" || codeOf(err) != client.CodeInvalidWorkspace {
			t.Errorf("got %+v, %v, want invalid_workspace", key, err)
		}
	}
	equal(t, "results of a workspace that cannot be", results, 1)
}

// Workspaces and keys are found wherever they are, page by page.
func TestClient_find(t *testing.T) {
	server := clienttest.NewServer(t)
	c := server.Client()
	short := "10d"
	expiring := must[client.NewKey](t)(c.CreateKey(t.Context(), "globex", client.CreateRequest{Name: "Short-lived", Preset: client.ReadOnly, ExpiresIn: &short})).Key
	revoked := create(t, c, "acme", "Nightly export").Key
	must[client.Revocation](t)(c.RevokeKey(t.Context(), "acme", revoked.ID, ""))
	zapier := create(t, c, "acme", "Zapier").Key

	page := must[client.WorkspacePage](t)(c.ListWorkspaces(t.Context(), client.WorkspaceOptions{Limit: 1}))
	equal(t, "first workspace", page.Workspaces, []client.Workspace{{ID: "acme", Keys: client.KeyCounts{Active: 1, Revoked: 1}}})
	page = must[client.WorkspacePage](t)(c.ListWorkspaces(t.Context(), client.WorkspaceOptions{Query: "OBE", Cursor: *page.NextCursor}))
	equal(t, "next workspaces", page, client.WorkspacePage{Workspaces: []client.Workspace{{ID: "globex", Keys: client.KeyCounts{Active: 1}}}})
	found := []string{}
	for ws, err := range c.AllWorkspaces(t.Context(), "") {
		found = append(found, fmt.Sprint(ws.ID, err))
	}
	equal(t, "AllWorkspaces", found, []string{"acme<nil>", "globex<nil>"})

	keys := must[client.KeyPage](t)(c.FindKeys(t.Context(), client.FindOptions{Limit: 2}))
	if len(keys.Keys) != 2 || keys.Keys[0].ID != zapier.ID || keys.NextCursor == nil {
		t.Fatalf("FindKeys: got %+v, want Zapier, another, and more", keys)
	}
	keys = must[client.KeyPage](t)(c.FindKeys(t.Context(), client.FindOptions{ExpiresWithin: "14d", Status: client.Active}))
	equal(t, "expiring", keys.Keys, []client.Key{expiring})
	all := c.AllFoundKeys(t.Context(), client.FindOptions{Query: "i", Limit: 1})
	for range 2 { // it can be read again
		found = found[:0]
		for key, err := range all {
			found = append(found, fmt.Sprint(key.Name, err))
		}
		equal(t, "AllFoundKeys", found, []string{"Zapier<nil>", "Nightly export<nil>", "Short-lived<nil>"})
	}
	equal(t, "FindKey", must[client.Key](t)(c.FindKey(t.Context(), expiring.ID)), expiring)
}

func TestClient_service(t *testing.T) {
	server := clienttest.NewServer(t)
	c := server.Client()
	equal(t, "Health", must[client.Health](t)(c.Health(t.Context())), client.Health{Status: "ok"})
	mount := must[client.Mount](t)(c.Mount(t.Context()))
	equal(t, "workspace", mount.Workspace, (*string)(nil))
	equal(t, "actor", mount.Actor, clienttest.Actor)
	equal(t, "token prefix", mount.Keys.TokenPrefix, "agk")
	equal(t, "life", time.Duration(mount.Keys.ExpiresInSeconds)*time.Second, clienttest.ExpiresIn)
	equal(t, "most active keys", mount.Keys.MaxActive, clienttest.MaxActiveKeys)
	if !slices.Contains(mount.Keys.VagueNames, "test") {
		t.Errorf("got the vague names %q, want test among them", mount.Keys.VagueNames)
	}
	equal(t, "Clock", must[client.Clock](t)(c.Clock(t.Context())).Status, client.ClockAgrees)
	_, err := c.TrustClock(t.Context(), "NTP has set it")
	equal(t, "TrustClock", codeOf(err), client.CodeClockAgrees)
	findings := must[[]client.Finding](t)(c.Doctor(t.Context()))
	if len(findings) == 0 {
		t.Error("Doctor: got no findings, want one for each check")
	}
	for _, finding := range findings {
		equal(t, finding.Check, finding.Severity, client.SeverityOK)
	}
	if description := must[[]byte](t)(c.OpenAPI(t.Context())); !strings.Contains(string(description), `"openapi":"3.1.0"`) {
		t.Errorf("got %.80q, want an OpenAPI description", description)
	}
}

// The kit's clock advances, and the kit requires its token.
func TestServer(t *testing.T) {
	server := clienttest.NewServer(t)
	c := server.Client()
	created := create(t, c, "acme", "Zapier production")
	server.Advance(clienttest.ExpiresIn)
	equal(t, "status", must[client.Key](t)(c.ShowKey(t.Context(), "acme", created.Key.ID)).Status, client.Expired)

	_, err := (&client.Client{BaseURL: server.URL, Token: "wrong"}).ShowKey(t.Context(), "acme", created.Key.ID)
	equal(t, "a wrong token", codeOf(err), client.CodeUnauthorized)
	_, err = (&client.Client{BaseURL: server.URL + "/"}).Health(t.Context())
	equal(t, "no token", codeOf(err), client.CodeUnauthorized)
}

// No way of printing a client prints its token.
func TestClient_print(t *testing.T) {
	c := client.Client{BaseURL: "https://ada:pass@example.com/settings/api/", Token: "s3cret"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, value := range []any{c, &c, []client.Client{c}} {
			if text := fmt.Sprintf(verb, value); strings.Contains(text, "s3cret") || strings.Contains(text, "733363726574") || strings.Contains(text, "pass") {
				t.Errorf("%s of %T: got %s", verb, value, text)
			}
		}
	}
	equal(t, "String", c.String(), "admin API at https://ada:xxxxx@example.com/settings/api")
}
