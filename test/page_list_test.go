package test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/admin/client"
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
		rows := eval[[]string](b, `[...document.querySelectorAll("tbody tr th")].map((name) => name.innerText)`)
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

	b.click("button", "Next")
	b.wantRows(50, "Integration 051")
	b.sees("Page 2")
	b.wantFocus("h1", "API keys")
	b.click("button", "Next")
	b.wantRows(20, "Integration 101")
	b.sees("Page 3")
	b.click("button", "Previous")
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

	b.search("")
	testSort(b)
	testNarrow(b)
	b.calm(s.origin())
}

// testSort holds that the list is sorted over all its pages, and that the order is in the
// address.
func testSort(b *tab) {
	b.t.Helper()
	b.click("button", "Name")
	b.wantRows(50, "Integration 001")
	b.wantSort("Name", "ascending", "sort=name")
	b.click("button", "Name")
	b.wantRows(50, "Integration 120")
	b.wantSort("Name", "descending", "sort=-name")
	b.click("button", "Next")
	b.wantRows(50, "Integration 070")
	b.do(chromedp.Reload())
	b.wantRows(50, "Integration 070")
	b.do(chromedp.NavigateBack())
	b.wantRows(50, "Integration 120")
	b.click("button", "Created")
	b.wantRows(50, "Integration 001")
	b.wantSort("Created", "descending", "")
	b.click("button", "Created")
	b.wantRows(50, "Integration 120")
	b.wantSort("Created", "ascending", "sort=created")
}

// wantSort waits until a column alone says that the list is sorted by it, and the address
// says how.
func (b *tab) wantSort(column, order, address string) {
	b.t.Helper()
	const sorted = `[...document.querySelectorAll("[aria-sort]:not([aria-sort=none])")].map((head) => head.innerText.trim() + " " + head.ariaSort)`
	b.await("the order by "+column, func() error {
		heads, query := eval[[]string](b, sorted), eval[string](b, `location.hash.split("?")[1] ?? ""`)
		if len(heads) != 1 || squeezed(heads[0]) != column+" "+order || query != address {
			return fmt.Errorf("it is %q, at %q", heads, query)
		}
		return nil
	})
}

// testNarrow holds that filters apply to all keys, and that they are in the address.
func testNarrow(b *tab) {
	b.t.Helper()
	b.choose("Owner", "Team 3")
	b.sees("17 of 120 keys")
	b.wantRows(17, "Integration 115")
	b.choose("Access", "Full access")
	b.sees("No key matches these filters", "0 of 120 keys")
	b.do(chromedp.NavigateBack())
	b.wantRows(17, "Integration 115")
	b.click("radio", "All")
	b.sees("17 of 125 keys")
	b.choose("Expires", "Within 30 days")
	b.sees("0 of 125 keys")
	b.click("button", "Clear the filters")
	b.wantRows(50, "Integration 001")
	b.choose("Owner", "Finance")
	b.wantRows(3, "Old export 3")
	if got, want := eval[string](b, `location.hash`), "#/acme?show=all&owner=Finance"; got != want {
		b.t.Errorf("got the address %s, want %s", got, want)
	}
}

// choose selects an option of the list with a name, as its user would.
func (b *tab) choose(name, option string) {
	b.t.Helper()
	b.await(fmt.Sprintf("the option %q of %q", option, name), func() error {
		if !eval[bool](b, fmt.Sprintf(`((name, option) => {
			const select = [...document.querySelectorAll("select")].find(({labels}) => labels[0]?.innerText.startsWith(name));
			const wanted = [...select?.options ?? []].find(({text}) => text === option);
			if (wanted) {
				select.value = wanted.value;
				select.dispatchEvent(new Event("change", {bubbles: true}));
			}
			return Boolean(wanted);
		})(%q, %q)`, name, option)) {
			return errNotYet
		}
		return nil
	})
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

// Nor does a token that another program issued get into an address, whatever it looks like.
// It stays in the search, because it may be half of a name.
func TestPage_searchForForeignToken(t *testing.T) {
	t.Parallel()
	s := start(t, pageConfig)
	s.Create("acme", "billing-service-production", "read_only")
	const uuid, base64url = "0190f1c2-8a4e-7c30-b0f5-0e6a3f1d2c4b", "Zm9v-YmFy_cXV4-Zm9vYmFy_A"
	var lines strings.Builder
	for name, token := range map[string]string{"Warehouse sync": uuid, "Nightly export": base64url} {
		digest := sha256.Sum256([]byte(token))
		must(t, json.NewEncoder(&lines).Encode(client.ImportLine{
			WorkspaceID: "acme", Name: name, Preset: client.ReadOnly, TokenSHA256: hex.EncodeToString(digest[:]), TokenHint: "…" + hint(token),
		}))
	}
	if done, err := s.Keys().Import(t.Context(), strings.NewReader(lines.String()), client.ImportOptions{}); err != nil || done.Imported != 2 {
		t.Fatalf("importing: got %+v, %v, want 2 keys", done, err)
	}
	b := newTab(t)
	b.open(s.page() + "#/acme")
	b.sees("billing-service-production")
	for pasted, want := range map[string]string{uuid: "Warehouse sync", "Bearer " + base64url: "Nightly export"} {
		b.search(pasted)
		b.sees("That may contain a token", "“"+hint(pasted)+"”")
		b.wantRows(1, want)
		if got := b.searched(); got != pasted {
			t.Errorf("got %q in the search, want %q", got, pasted)
		}
	}
	b.search("billing-service-production")
	b.misses("That may contain a token")
	b.wantRows(1, "billing-service-production")
	if got, want := eval[string](b, `location.hash`), "#/acme?q=billing-service-production"; got != want {
		t.Errorf("got to %s, want %s", got, want)
	}

	b.open(s.page() + "#/acme/activity")
	b.fillBox("searchbox", "Key", uuid)
	b.keys(enter)
	b.sees("Warehouse sync")
	b.misses("Nightly export")
	b.fillBox("searchbox", "Who", uuid)
	b.keys(enter)
	b.sees("Nothing matches these filters")

	b.open(s.page())
	b.fill("Workspace", uuid)
	b.sees("No workspace matches")
	b.keys(enter)
	b.sees("This may be a token")
	b.fillBox("searchbox", "Key in any workspace", uuid)
	b.sees("That may contain a token", "Warehouse sync")
	b.calm(s.origin(), uuid, base64url)
	b.wantNothingKept(uuid, base64url)
}

// The id of a workspace may look like a token too. It is opened from the list, or if that is
// asked for twice.
func TestPage_workspaceLikeToken(t *testing.T) {
	t.Parallel()
	s := start(t, pageConfig)
	const listed, other = "0190f1c2-8a4e-7c30-b0f5-0e6a3f1d2c4b", "0190f1c2-8a4e-7c30-b0f5-0e6a3f1d2c4c"
	s.Create(listed, "Warehouse sync", "read_only")
	s.Create("acme", "Zapier production", "read_only")
	b := newTab(t)
	b.open(s.page())
	b.fill("Workspace", other)
	b.sees("No workspace matches")
	b.keys(enter)
	b.sees("This may be a token")
	b.keys(enter)
	b.sees("This workspace has never had a key")
	b.click("link", "Change")
	b.sees("acme 1 0 0")
	b.fill("Workspace", listed)
	b.misses("acme 1 0 0")
	b.sees(listed + " 1 0 0")
	b.keys(enter)
	b.sees("Warehouse sync")
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
