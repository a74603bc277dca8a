package test

import (
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// TestPage_act is what can be done with keys without leaving their list.
func TestPage_act(t *testing.T) {
	t.Parallel()
	s := start(t, pageConfig)
	b := newCopier(t, s.origin())
	t.Run("menu", func(t *testing.T) { testMenu(t, b, s) })
	t.Run("revoke several", func(t *testing.T) { testRevokeMany(t, b, s) })
	b.calm(s.origin())
}

// What can be done with a key is in a menu, which the keyboard works as the ARIA Authoring
// Practices Guide says.
func testMenu(t *testing.T, b *tab, s *server) {
	key, _ := s.Create("acme", "Zapier production", "read_only")
	s.Create("acme", "Warehouse sync", "read_only")
	b.open(s.page() + "#/acme")
	const button = "Actions for Zapier production"
	b.sees(button)
	b.tabTo("button", button)
	for _, step := range []struct{ key, tag, name string }{
		{arrowDown, "button", "Rename"}, {arrowDown, "button", "Rotate"}, {arrowUp, "button", "Rename"}, {arrowUp, "button", "Revoke"},
		{arrowDown, "button", "Rename"}, {end, "button", "Revoke"}, {home, "button", "Rename"}, {"c", "button", "Copy id"}, {"r", "button", "Revoke"},
		{escape, "button", button}, {arrowUp, "button", "Revoke"}, {escape, "button", button}, {space, "button", "Rename"},
	} {
		b.keys(step.key)
		b.wantFocus(step.tag, step.name)
	}
	b.keys(tabKey) // leaves the menu, and continues after it
	b.await("the menu to close", func() error {
		if n := eval[int](b, `document.querySelectorAll("[role=menu], [aria-expanded=true]").length`); n != 0 {
			return errNotYet
		}
		return nil
	})

	b.click("button", button)
	b.click("menuitem", "Copy id")
	b.sees("Copied " + key.ID)
	if got := eval[string](b, `navigator.clipboard.readText()`); got != key.ID {
		t.Errorf("got %q copied, want %q", got, key.ID)
	}
	b.wantFocus("button", button)

	b.keys(enter)
	b.wantFocus("button", "Rename")
	b.keys(enter)
	b.wantFocus("input", "Name")
	b.fill("Name", "Zapier staging")
	b.keys(enter)
	b.wantFocus("button", "Actions for Zapier staging")
	b.click("button", "Actions for Zapier staging")
	b.click("heading", "API keys") // elsewhere
	b.misses("Copy id")
	b.click("button", "Actions for Zapier staging")
	b.click("menuitem", "Revoke")
	b.sees("Every request with Zapier staging", "It was never used")
	b.click("button", "Revoke key")
	b.misses("Zapier staging Select")
	b.wantRows(1, "Warehouse sync")
}

// Several keys are revoked with one confirmation that names them. One that cannot be
// revoked is named, and the others are.
func testRevokeMany(t *testing.T, b *tab, s *server) {
	var keys []client.Key
	for _, name := range []string{"Zapier production", "Warehouse sync", "Finance export", "Partner portal"} {
		key, _ := s.Create("globex", name, "read_only")
		keys = append(keys, key)
	}
	b.open(s.page() + "#/globex")
	b.wantRows(4, "Partner portal")
	b.tabTo("input", "Select all active keys")
	b.keys(space)
	b.sees("4 keys selected")
	b.click("checkbox", "Select Finance export")
	b.sees("3 keys selected")
	b.click("button", "Name") // another order of the same keys
	b.wantRows(4, "Finance export")
	b.sees("3 keys selected")

	broken := "\thandle /settings/api/workspaces/globex/keys/" + keys[1].ID + "/revoke {\n\t\trespond 500\n\t}\n"
	_, err := s.Reload(strings.Replace(pageConfig, "\thandle /settings/api* {", broken+"\thandle /settings/api* {", 1))
	must(t, err)
	b.click("button", "Revoke selected")
	b.sees("Revoke 3 keys?", "Zapier production", "Warehouse sync", "Partner portal")
	b.misses("Finance export")
	b.fill("Reason", "The contract ended")
	b.click("button", "Revoke 3 keys")
	b.sees("1 key was not revoked", "2 of 3 revoked", "The server responded with the unexpected status 500", "Revoke 1 key")
	wantStatuses(t, s, keys, "revoked", "active", "active", "revoked")

	_, err = s.Reload(pageConfig)
	must(t, err)
	b.click("button", "Revoke 1 key")
	b.sees("3 keys were revoked", "Finance export")
	b.wantRows(1, "Finance export")
	b.misses("selected")
	wantStatuses(t, s, keys, "revoked", "revoked", "active", "revoked")
	b.click("link", "Activity")
	b.sees("Reason: The contract ended", "revoked Zapier production", "revoked Warehouse sync", "revoked Partner portal")
}

func wantStatuses(t *testing.T, s *server, keys []client.Key, want ...string) {
	t.Helper()
	for i, key := range keys {
		shown, err := s.Keys().ShowKey(t.Context(), "globex", key.ID)
		must(t, err)
		if shown.Status != want[i] {
			t.Errorf("%s is %s, want %s", key.Name, shown.Status, want[i])
		}
	}
}
