package test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// crowded starts a server with 120 active keys in the workspace acme, of which
// the last is the oldest, three that expired and two that were revoked.
func crowded(t *testing.T) (s *server, last apikey.Key) {
	t.Helper()
	s = newServer(t)
	must(t, os.MkdirAll(s.Store, 0o700))
	keys, err := store.Open(s.Store, zap.NewNop(), nil)
	must(t, err)
	p := &past{t: t, store: keys, uses: map[string]apikey.Use{}}
	for i := range 3 {
		p.create(fmt.Sprintf("Old export %d", i+1), "Finance", apikey.ReadOnly, 91*dayLong, 90*dayLong)
	}
	for i := range 2 {
		key := p.create(fmt.Sprintf("Former partner %d", i+1), "Sales", apikey.ReadOnly, 20*dayLong, 19*dayLong)
		p.do(dayLong, apikey.Revoke{WorkspaceID: "acme", KeyID: key.ID})
	}
	for i := 120; i > 0; i-- {
		key := p.create(fmt.Sprintf("Integration %03d", i), fmt.Sprintf("Team %d", i%7), apikey.ReadOnly, time.Duration(i)*time.Minute, 0)
		if i == 120 {
			last = key
		}
	}
	must(t, keys.Close())
	s.Run(pageConfig)
	s.AwaitReady()
	return s, last
}

// wantRows waits until the list has as many rows, the first of which begins with
// a name.
func (b *tab) wantRows(n int, first string) {
	b.t.Helper()
	b.await(fmt.Sprintf("%d rows, from %q on", n, first), func() error {
		rows := eval[[]string](b, `[...document.querySelectorAll("tbody tr")].map((row) => row.innerText)`)
		if len(rows) != n || !strings.HasPrefix(rows[0], first) {
			return fmt.Errorf("there are %d: %.80q", len(rows), rows)
		}
		return nil
	})
}

// TestPage_list is a list that is longer than a page.
func TestPage_list(t *testing.T) {
	t.Parallel()
	s, last := crowded(t)
	b := newTab(t)
	b.open(s.page() + "#/acme")
	b.wantRows(50, "Integration 001")
	b.sees("Active 120", "Expired 3", "Revoked 2", "Page 1")

	b.click("button", "Older")
	b.wantRows(50, "Integration 051")
	b.sees("Page 2")
	b.wantFocus("h1", "API keys")
	b.click("button", "Older")
	b.wantRows(20, "Integration 101")
	b.sees("Page 3")
	b.click("button", "Newer")
	b.wantRows(50, "Integration 051")

	b.click("radio", "Expired")
	b.wantRows(3, "Old export")
	b.misses("Page")
	b.click("radio", "Revoked")
	b.wantRows(2, "Former partner")
	b.click("radio", "All")
	b.wantRows(50, "Integration 001")
	b.click("radio", "Needs attention")
	b.sees("Nothing needs attention")
	b.click("radio", "Active")
	b.wantRows(50, "Integration 001")

	b.search("integration 07")
	b.wantRows(10, "Integration 070")
	b.search("team 3")
	b.wantRows(17, "Integration 003")
	b.search(hint(last.TokenHint))
	b.wantRows(1, "Integration 120")
	b.search("no such thing")
	b.sees("No active key matches", "“no such thing”")
	b.click("button", "Clear the search")
	b.wantRows(50, "Integration 001")
	b.wantFocus("h1", "API keys")
	if got := b.searched(); got != "" {
		t.Errorf("got %q in the search, want it cleared", got)
	}
	b.calm(s.origin())
}

// A token that is pasted into the search stays in the page: what is searched for
// are its last four characters.
func TestPage_searchForToken(t *testing.T) {
	t.Parallel()
	s := start(t, pageConfig)
	s.Create("acme", "Zapier production", "read_only")
	_, token := s.Create("acme", "Warehouse sync", "read_only")
	b := newTab(t)
	b.open(s.page() + "#/acme")
	b.wantRows(2, "Warehouse sync")
	for _, pasted := range []string{token, "Authorization: Bearer " + token, mistyped(token)[:49] + token[49:]} {
		b.search("")
		b.wantRows(2, "Warehouse sync")
		b.search(pasted)
		b.sees("That was a token", "“"+hint(token)+"”")
		b.wantRows(1, "Warehouse sync")
		if got := b.searched(); got != hint(token) {
			t.Errorf("got %q in the search, want %q", got, hint(token))
		}
	}
	b.calm(s.origin(), token, token[4:20])
}

// search types into the search, in place of what is there.
func (b *tab) search(what string) {
	b.t.Helper()
	b.click("searchbox", "Name, owner, or last characters")
	eval[any](b, `void document.activeElement.select()`)
	if what == "" {
		b.keys("\b")
		return
	}
	b.insert(what)
}

func (b *tab) searched() string {
	b.t.Helper()
	return eval[string](b, `document.querySelector("[type=search]").value`)
}

// What stands before the server may fail on its own: the page says so, and goes
// on when it is over.
func TestPage_listFails(t *testing.T) {
	t.Parallel()
	s := start(t, pageConfig)
	s.Create("acme", "Zapier production", "read_only")
	b := newTab(t)
	b.open(s.page() + "#/acme")
	b.wantRows(1, "Zapier production")
	for _, failure := range []struct{ status, said string }{
		{"503", "The server is not responding. What you see may be out of date"},
		{"500", "The keys could not be loaded: The server responded with the unexpected status 500"},
	} {
		broken := "\thandle /settings/api/workspaces/* {\n\t\trespond " + failure.status + "\n\t}\n"
		_, err := s.Reload(strings.Replace(pageConfig, "\thandle /settings/api* {", broken+"\thandle /settings/api* {", 1))
		must(t, err)
		b.look()
		b.sees(failure.said)
		_, err = s.Reload(pageConfig)
		must(t, err)
		b.look()
		b.misses(failure.said)
		b.wantRows(1, "Zapier production")
	}
}

// look is what happens when somebody comes back to the tab.
func (b *tab) look() {
	b.t.Helper()
	eval[any](b, `void document.dispatchEvent(new Event("visibilitychange"))`)
}
