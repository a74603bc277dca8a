package test

import (
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// A scene is a workspace in a tab, with what its keys are called.
type scene struct {
	*tab
	s *server

	ws      string // with keys in it
	empty   string // a workspace without
	stopped string // a workspace that is suspended
	key     string // the key that is made on the way
	old     string // a key that is being rotated
}

// A state is something that the page shows, and the way there from the one
// before it.
type state struct {
	name string
	show func()
}

// newScene opens a tab, and adds to a server's workspace what its states need.
func newScene(t *testing.T, s *server, ws, key, old string) *scene {
	t.Helper()
	p := &scene{tab: newTab(t), s: s, ws: ws, key: key, old: old}
	p.empty = strings.Repeat("e", len(ws))
	p.stopped = strings.Repeat("s", len(ws))
	s.Create(p.stopped, "Zapier production", "read_only")
	_, err := s.Keys().Suspend(t.Context(), p.stopped, "Invoice 4711 is open")
	must(t, err)
	p.mayCopy(s.origin())
	return p
}

// id returns the id of the active key of a name.
func (p *scene) id(name string) string {
	p.t.Helper()
	page, err := p.s.Keys().ListKeys(p.t.Context(), p.ws, client.ListOptions{Status: "active", Query: name})
	must(p.t, err)
	for _, key := range page.Keys {
		if key.Name == name {
			return key.ID
		}
	}
	p.t.Fatalf("no active key is called %q", name)
	return ""
}

func (p *scene) goTo(path string) { p.t.Helper(); p.open(p.s.page() + "#/" + path) }

// dialog opens the dialog behind a button, in place of the one that is open.
func (p *scene) dialog(button, title string) {
	p.t.Helper()
	p.keys(escape)
	p.click("button", button)
	p.sees(title)
}

// states are the page's main ones, in an order in which each leads to the next.
// The last one stops the server.
func (p *scene) states() []state {
	return []state{
		{"list", func() { p.goTo(p.ws); p.sees(p.old) }},
		{"what needs attention", func() { p.click("radio", "Needs attention"); p.misses("Loading") }},
		{"filters, also on a phone", func() { eval[any](p.tab, `document.querySelector(".fold").click()`) }},
		{"a row's menu", func() {
			p.click("radio", "Active")
			p.click("button", "Actions for "+p.old+" agk_")
			p.sees("Copy id")
		}},
		{"selected keys", func() {
			p.keys(escape)
			p.click("checkbox", "Select all active keys")
			p.sees("keys selected")
		}},
		{"revoke several", func() { p.click("button", "Revoke selected"); p.sees("This cannot be undone") }},
		{"no key matches the filters", func() {
			p.keys(escape)
			p.goTo(p.ws + "?access=read_only&owner=nobody&sort=name")
			p.sees("No key matches these filters")
		}},
		{"revoked keys", func() { p.click("radio", "Revoked"); p.misses("Loading") }},
		{"search without a match", func() {
			p.click("radio", "All")
			p.fillBox("searchbox", "Name, owner", "nothing")
			p.sees("No key matches")
		}},
		{"reminders", func() {
			p.dialog("Reminders", "Subscribe")
			p.click("button", "Create an address")
			p.sees("It is shown only once")
		}},
		{"empty list", func() { p.keys(escape); p.goTo(p.empty); p.sees("No keys yet") }},
		{"create with an error", func() {
			p.goTo(p.ws)
			p.sees(p.old)
			p.dialog("Create key", "Create a key")
			p.fill("Name", "test")
			p.sees("This says nothing")
		}},
		{"token", func() {
			p.fill("Name", p.key)
			p.click("button", "Create key")
			p.sees("Copy the token of", "Download the reminder")
		}},
		{"token that was not copied", func() { p.keys(escape); p.sees("You have not copied") }},
		{"key", func() {
			p.click("button", "Close without it")
			p.goTo(p.ws + "/keys/" + p.id(p.key))
			p.sees("Last used")
		}},
		{"rename", func() { p.dialog("Rename", "Rename a key") }},
		{"rotate", func() { p.dialog("Rotate", "Rotate “") }},
		{"revoke", func() { p.dialog("Revoke", "Revoke this key?") }},
		{"rotation", func() {
			p.keys(escape)
			p.goTo(p.ws + "/keys/" + p.id(p.old))
			p.sees("Put the new token into the system")
		}},
		{"usage as a table", func() {
			eval[any](p.tab, `document.querySelectorAll("details").forEach((table) => (table.open = true))`)
			p.sees("Usage")
		}},
		{"no such key", func() { p.goTo(p.ws + "/keys/key_0"); p.sees("There is no such key") }},
		{"activity", func() { p.click("link", "Activity"); p.sees("rotated") }},
		{"activity without a match", func() {
			p.goTo(p.ws + "/activity?operation=suspend&actor=nobody&from=2026-01-01")
			p.sees("Nothing matches these filters")
		}},
		{"suspended", func() { p.goTo(p.stopped); p.sees("This workspace is suspended", "Zapier") }},
		{"choose a workspace", func() { p.goTo(""); p.sees("Choose a workspace", p.stopped+" 1 0 0 Suspended") }},
		{"keys in all workspaces", func() {
			p.fillBox("searchbox", "Key in any workspace", p.old)
			p.sees(p.old+" ", "Expires")
		}},
		{"no key in any workspace", func() {
			p.fillBox("searchbox", "Key in any workspace", "nothing")
			p.sees("No key matches")
		}},
		{"choose what is none", func() {
			p.click("button", "Clear the search")
			p.fill("Workspace", "a b")
			p.click("button", "Open")
			p.sees("does not begin with")
		}},
		{"sign-in", func() { p.open(p.s.origin() + "/token/"); p.sees("Admin token") }},
		{"sign-in refused", func() {
			p.fill("Admin token", "nonsense")
			p.click("button", "Sign in")
			p.sees("This is not the admin token")
		}},
		{"no workspace", func() { p.open(p.s.origin() + "/nobody/"); p.sees("You have no workspace") }},
		{"server gone", func() {
			p.goTo(p.ws)
			p.sees(p.key)
			p.s.Stop()
			p.look()
			p.sees("The server is not responding")
		}},
	}
}
