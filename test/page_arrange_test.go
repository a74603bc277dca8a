package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// A key that is being rotated stands below its replacement, whatever the order, and needs
// no attention while all goes well.
func TestPage_pairs(t *testing.T) {
	t.Parallel()
	s := furnished(t)
	b := newTab(t)
	for _, order := range []string{"", "?sort=name", "?sort=end", "?sort=-used"} {
		b.open(s.page() + "#/acme" + order)
		b.await("the pair, with "+order, func() error {
			names := eval[[]string](b, `[...document.querySelectorAll("tbody tr th")].map((name) => name.innerText.replace(/\s+/g, " "))`)
			listed := strings.Join(names, "|")
			if !strings.Contains(listed, "Warehouse sync production 2 Ops Replaces agk_") || !strings.Contains(listed, "|Warehouse sync production Ops Replaced by agk_") {
				return fmt.Errorf("got %s", listed)
			}
			return nil
		})
	}
	b.sees("4 keys need your attention", "Being rotated, ends in 5 days")
	b.click("radio", "Needs attention")
	b.wantRows(4, "Storefront widget")
	b.misses("Being rotated")
	b.calm(s.origin())
}

// What can be done with a key is in a menu, which the keyboard works as the ARIA Authoring
// Practices Guide says.
func TestPage_menu(t *testing.T) {
	t.Parallel()
	s := start(t, pageConfig)
	key, _ := s.Create("acme", "Zapier production", "read_only")
	s.Create("acme", "Warehouse sync", "read_only")
	b := newTab(t)
	b.mayCopy(s.origin())
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
	b.keys(tabKey) // leaves the menu, and goes on behind it
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
	b.calm(s.origin())
}

// Several keys are revoked with one confirmation that names them. One that cannot be
// revoked is named, and the others are.
func TestPage_revokeMany(t *testing.T) {
	t.Parallel()
	s := start(t, pageConfig)
	var keys []client.Key
	for _, name := range []string{"Zapier production", "Warehouse sync", "Finance export", "Partner portal"} {
		key, _ := s.Create("acme", name, "read_only")
		keys = append(keys, key)
	}
	b := newTab(t)
	b.open(s.page() + "#/acme")
	b.wantRows(4, "Partner portal")
	b.tabTo("input", "Select all active keys")
	b.keys(space)
	b.sees("4 keys selected")
	b.click("checkbox", "Select Finance export")
	b.sees("3 keys selected")
	b.click("button", "Name") // another order of the same keys
	b.wantRows(4, "Finance export")
	b.sees("3 keys selected")

	broken := "\thandle /settings/api/workspaces/acme/keys/" + keys[1].ID + "/revoke {\n\t\trespond 500\n\t}\n"
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
	b.calm(s.origin())
}

func wantStatuses(t *testing.T, s *server, keys []client.Key, want ...string) {
	t.Helper()
	for i, key := range keys {
		shown, err := s.Keys().ShowKey(t.Context(), "acme", key.ID)
		must(t, err)
		if shown.Status != want[i] {
			t.Errorf("%s is %s, want %s", key.Name, shown.Status, want[i])
		}
	}
}
