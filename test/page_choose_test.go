package test

import (
	"fmt"
	"strings"
	"testing"
)

// At a mount for all workspaces, one is chosen from a list, or found by a key in it.
func TestPage_choose(t *testing.T) {
	t.Parallel()
	s := start(t, pageConfig)
	b := newTab(t)
	b.open(s.page())
	b.sees("Choose a workspace", "No workspace has keys yet")

	s.Create("globex", "Warehouse sync", "full_access")
	key, token := s.Create("acme", "Zapier production", "read_only")
	gone, _ := s.Create("acme", "Nightly export", "read_only")
	s.Revoke(gone)
	s.Create("initech", "Finance report", "read_only")
	s.Post("/workspaces/initech/suspend")
	b.look()
	b.sees("acme 1 0 1 Not suspended", "globex 1 0 0 Not suspended", "initech 1 0 0 Suspended")

	// The list shows what is typed, and a link opens a workspace.
	b.fill("Workspace", "GLOB")
	b.misses("acme 1")
	b.sees("globex 1 0 0")
	b.fill("Workspace", "hooli")
	b.sees("No workspace matches", "No workspace with keys has “hooli” in its id")
	b.fill("Workspace", token)
	b.sees("This is a token, not a workspace")
	b.keys(enter)
	b.sees("This is a token, not a workspace")
	b.fill("Workspace", "glob")
	b.click("link", "globex")
	b.sees("Warehouse sync")
	if got := eval[string](b, `location.hash`); got != "#/globex" {
		t.Errorf("got to %s, want #/globex", got)
	}

	// A key is found by whatever is known of it, and leads to its workspace.
	b.click("link", "Change")
	for _, known := range []string{"zapier", key.ID, strings.ToLower(key.ID), key.TokenHint, token[len(token)-4:]} {
		b.fillBox("searchbox", "Key in any workspace", known)
		b.sees("Zapier production No owner acme Read only")
		b.misses("Warehouse sync")
		b.fillBox("searchbox", "Key in any workspace", "nothing like it")
		b.sees("No key matches", "No key in any workspace has “nothing like it”")
	}
	b.fillBox("searchbox", "Key in any workspace", "Bearer "+token)
	b.sees("That was a token", "Zapier production")
	b.fillBox("searchbox", "Key in any workspace", "export")
	b.sees("Nightly export", "Revoked")
	b.fillBox("searchbox", "Key in any workspace", "key_01JD0000000000000000000000")
	b.sees("No key matches")
	b.click("button", "Clear the search")
	b.sees("initech 1 0 0 Suspended")
	b.fillBox("searchbox", "Key in any workspace", "finance")
	b.sees("Finance report No owner initech Read only")
	if got := eval[string](b, `document.querySelector("tbody .state").innerText`); got != "Suspended" {
		t.Errorf("got the status %q of a key in a suspended workspace, want Suspended", got)
	}
	b.fillBox("searchbox", "Key in any workspace", "zap")
	b.click("link", "Zapier production")
	b.sees("All keys", "Rename")
	if got, want := eval[string](b, `location.hash`), "#/acme/keys/"+key.ID; got != want {
		t.Errorf("got to %s, want %s", got, want)
	}
	eval[any](b, `void history.back()`)
	b.sees("Choose a workspace", "Zapier production No owner acme")

	// A search in a workspace continues in all.
	b.open(s.page() + "#/globex")
	b.fillBox("searchbox", "Name, owner, or last characters", "zapier")
	b.click("button", "Search all workspaces")
	b.sees("Zapier production No owner acme")
	b.calm(s.origin(), token)
	b.wantNothingKept(token)
}

// The list of workspaces and the found keys have pages.
func TestPage_choosePages(t *testing.T) {
	t.Parallel()
	s := start(t, pageConfig)
	for i := range 60 {
		s.Create(fmt.Sprintf("workspace-%02d", i), "Zapier production", "read_only")
	}
	b := newTab(t)
	b.open(s.page())
	b.sees("workspace-00 1", "workspace-49 1", "Page 1")
	b.misses("workspace-50 1")
	b.click("button", "Next")
	b.sees("workspace-50 1", "workspace-59 1", "Page 2")
	b.misses("workspace-49 1")
	b.fill("Workspace", "-3")
	b.sees("workspace-30 1", "workspace-39 1")
	b.misses("Page")
	b.fillBox("searchbox", "Key in any workspace", "Zapier")
	b.sees("No owner workspace-00", "No owner workspace-49", "Page 1")
	b.click("button", "Next")
	b.sees("No owner workspace-50", "No owner workspace-59", "Page 2")
	b.click("button", "Previous")
	b.sees("No owner workspace-00")
	b.calm(s.origin())
}

// A search continues through pages on which the server found nothing, and says so; it ends
// when another begins. What the server refuses is said, and what it does not answer is
// repeated.
func TestPage_chooseSlowly(t *testing.T) {
	t.Parallel()
	s := start(t, strings.Replace(pageConfig, "\thandle /settings/api* {", `	@refused {
		path /settings/api/keys
		query q=refused
	}
	handle @refused {
		header Content-Type application/json
		respond `+"`"+`{"error":"The key store is unavailable. Try again in a moment.","code":"store_unavailable"}`+"`"+` 503
	}
	@short {
		path /settings/api/keys
		query q=short
		not query cursor=2
	}
	handle @short {
		header Content-Type application/json
		respond `+"`"+`{"keys":[],"next_cursor":"2"}`+"`"+`
	}
	@rest {
		path /settings/api/keys
		query q=short cursor=2
	}
	handle @rest {
		header Content-Type application/json
		respond `+"`"+`{"keys":[{"id":"key_01JD0000000000000000000000","workspace_id":"acme","name":"Found at last","owner":"","preset":"read_only",
			"token_hint":"agk_…x7Qz","status":"active","created_at":"2026-11-24T02:38:48.466Z","expires_at":"2999-11-24T02:38:48.466Z"}],"next_cursor":null}`+"`"+`
	}
	handle /settings/api* {`, 1))
	s.Create("acme", "Zapier production", "read_only")
	b := newTab(t)
	b.open(s.page())
	b.sees("Choose a workspace")
	b.fillBox("searchbox", "Key in any workspace", "short")
	b.sees("Found at last No owner acme")
	b.fillBox("searchbox", "Key in any workspace", "refused")
	b.sees("The search failed: The key store is unavailable")
	b.fillBox("searchbox", "Key in any workspace", "short")
	b.sees("Found at last")
	s.Stop()
	b.fillBox("searchbox", "Key in any workspace", "zapier")
	b.sees("The server is not responding")
	s.restart(pageConfig)
	b.sees("The server is responding again", "Zapier production No owner acme")
	b.calm(s.origin())
}

// With the keyboard alone: a workspace is typed, or chosen from the list, or found.
func TestPage_chooseByKeyboard(t *testing.T) {
	t.Parallel()
	s := start(t, pageConfig)
	s.Create("acme", "Zapier production", "read_only")
	b := newTab(t)
	b.open(s.page())
	b.sees("acme 1 0 0")
	b.wantFocus("input", "Workspace")
	b.tabTo("button", "Open")
	b.tabTo("input", "Key in any workspace")
	b.tabTo("a", "acme")
	b.keys(enter)
	b.wantFocus("h1", "API keys")
	b.tabTo("a", "Change")
	b.keys(enter)
	b.wantFocus("input", "Workspace")
	b.tabTo("input", "Key in any workspace")
	b.insert("zap")
	b.sees("Zapier production No owner acme")
	b.wantFocus("input", "Key in any workspace")
	b.tabTo("a", "Zapier production")
	b.keys(enter)
	b.wantFocus("h1", "Zapier production")
	b.calm(s.origin())
}
