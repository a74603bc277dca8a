package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"
)

// The activity is narrowed to what somebody looks for, and what is shown is in the address
// and can be saved.
func testActivity(t *testing.T, b *tab, s *server) {
	formula, _ := s.Create("acme", "=HYPERLINK(A1) \"export\"", "read_only")
	_, err := s.Keys().RevokeKey(t.Context(), "acme", formula.ID, "＋ a reason, of\u00a0two clauses")
	must(t, err)
	b.open(s.page() + "#/acme/activity")
	b.sees("resumed the workspace", "saw Storefront widget")
	b.choose("What", "Revoked")
	b.wantEvents("revoked =HYPERLINK", "revoked Partner portal")
	b.wantAddress("operation=revoke")
	b.fillBox("searchbox", "Key", "partner")
	b.keys(enter)
	b.wantEvents("revoked Partner portal")
	b.do(chromedp.NavigateBack())
	b.wantEvents("revoked =HYPERLINK", "revoked Partner portal")
	saved := b.save(func() { b.click("button", "Export as CSV") })
	b.sees("2 events exported")
	lines := strings.Split(saved, "\r\n")
	if len(lines) != 4 || lines[0] != "\ufeffat,actor,remote_ip,operation,refused,workspace_id,key_id,name,reason,details" || lines[3] != "" ||
		!strings.Contains(lines[1], `,"'=HYPERLINK(A1) ""export""","'＋ a reason, of`) || !strings.Contains(lines[2], ",Partner portal,The contract ended,") {
		t.Errorf("got the file %q, want a head and two events", saved)
	}

	b.click("button", "Clear the filters")
	b.fillBox("searchbox", "Who", "nobody")
	b.keys(enter)
	b.sees("Nothing matches these filters")
	b.do(chromedp.NavigateBack())
	day := time.Now().Add(-5 * dayLong).Format(time.DateOnly) // the tab is where the test is
	b.open(s.page() + "#/acme/activity?from=" + day + "&to=" + day)
	b.wantEvents("resumed the workspace")

	// A token is not in the address, and a key leads to what happened to it.
	_, token := s.Create("acme", "Zapier staging", "read_only")
	b.open(s.page() + "#/acme/activity")
	b.fillBox("searchbox", "Key", token)
	b.keys(enter)
	b.wantEvents("created Zapier staging")
	b.wantAddress("key=" + hint(token))
	b.click("link", "Zapier staging")
	b.click("link", "Activity of this key")
	b.wantEvents("created Zapier staging")
	b.calm(s.origin(), token)
}

// wantEvents waits until exactly these events are shown, by a part of each.
func (b *tab) wantEvents(want ...string) {
	b.t.Helper()
	b.await(fmt.Sprintf("the events %q", want), func() error {
		got := eval[[]string](b, `[...document.querySelectorAll(".events li")].map((event) => event.innerText.replace(/\s+/g, " "))`)
		if len(got) != len(want) {
			return fmt.Errorf("there are %d: %.200q", len(got), got)
		}
		for i := range want {
			if !strings.Contains(got[i], want[i]) {
				return fmt.Errorf("got %q", got[i])
			}
		}
		return nil
	})
}

// wantAddress holds what the address of the page asks for.
func (b *tab) wantAddress(want string) {
	b.t.Helper()
	if got := eval[string](b, `location.hash.split("?")[1] ?? ""`); got != want {
		b.t.Errorf("got the query %q, want %q", got, want)
	}
}

// save returns the file that the page saves when something is done.
func (b *tab) save(do func()) string {
	b.t.Helper()
	dir := b.t.TempDir()
	_, err := chromedp.CallBrowser(b.ctx, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{
		BrowserContextID: b.profile(), Behavior: browser.SetDownloadBehaviorBehaviorAllow, DownloadPath: dir,
	})
	must(b.t, err)
	do()
	var content []byte
	b.await("the file", func() error {
		files, err := filepath.Glob(filepath.Join(dir, "*.csv"))
		if err != nil || len(files) == 0 {
			return errNotYet
		}
		if content, err = os.ReadFile(files[0]); len(content) == 0 {
			return errNotYet
		}
		return err
	})
	return string(content)
}
