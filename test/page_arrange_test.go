package test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// TestPage_furnished is a workspace that has been in use for a while.
func TestPage_furnished(t *testing.T) {
	t.Parallel()
	s := furnished(t)
	b := newTab(t)
	t.Run("pairs", func(*testing.T) { testPairs(b, s) })
	t.Run("marks", func(t *testing.T) { testMarks(t, b) })
	t.Run("usage", func(t *testing.T) { testUsage(t, b, s) })
	t.Run("activity", func(t *testing.T) { testActivity(t, b, s) })
}

// A key that is being rotated stands below its replacement, whatever the order, and needs
// no attention while all goes well.
func testPairs(b *tab, s *server) {
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
	b.choose("Owner", "Ops")
	b.wantRows(1, "Zapier production")
	b.sees("1 of 4 keys")
}

// testMarks holds when a key needs attention: a rotation only if half of its time is over,
// and the new key is still unused.
func testMarks(t *testing.T, b *tab) {
	const marks = `(async ({ends, made, used}) => {
		const {isUrgent, marksOf} = await import("./page/marks.js");
		const now = Date.now();
		const at = (days) => new Date(now + days * 86400000).toISOString();
		const replacement = made === undefined ? undefined : {created_at: at(made), last_used_at: used ? at(0) : null};
		const key = {id: "key_01M85PQ3XS81JPNQQHZNQRAPZ3", status: "active", expires_at: at(60), revokes_at: at(ends), last_used_at: at(0)};
		const found = marksOf(key, now, () => replacement);
		return found.map(({kind}) => kind).join(" ") + (isUrgent(found) ? " urgent" : "");
	})`
	for _, tt := range []struct{ of, want string }{
		{"{ends: 20}", ""},
		{"{ends: 5}", "warning urgent"},
		{"{ends: 5, made: -1}", "info"},
		{"{ends: 5, made: -6}", "warning info urgent"},
		{"{ends: 5, made: -6, used: true}", "info"},
		{"{ends: 20, made: -30}", "info"},
	} {
		if got := eval[string](b, marks+"("+tt.of+")"); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.of, got, tt.want)
		}
	}
}

// TestPage_bounds is a workspace with more keys and more events than are read at a time:
// the page says so, and continues from there.
func TestPage_bounds(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	must(t, os.MkdirAll(s.Store, 0o700))
	keys, err := store.Open(s.Store, zap.NewNop(), nil)
	must(t, err)
	p := &past{t: t, store: keys, uses: map[string]apikey.Use{}}
	for i := range 1002 {
		key := p.create(fmt.Sprintf("Integration %04d", i), "Ops", apikey.ReadOnly, 2*dayLong-time.Duration(i)*time.Second, dayLong)
		p.do(dayLong-time.Duration(i)*time.Second, apikey.Update{WorkspaceID: "acme", KeyID: key.ID, Owner: new("Finance")})
	}
	must(t, keys.Close())
	s.Run(pageConfig)
	s.AwaitReady()
	b := newTab(t)

	b.open(s.page() + "#/acme?sort=name")
	b.sees("Only the newest 1,000 are sorted and filtered here")
	b.wantRows(50, "Integration 0002")
	b.click("button", "Older keys")
	b.wantRows(2, "Integration 0000")
	b.sees("Only these 2 are sorted and filtered here")
	b.do(chromedp.Reload())
	b.wantRows(2, "Integration 0000")
	b.click("button", "Newest keys")
	b.wantRows(50, "Integration 0002")
	b.search("integration 0000")
	b.wantRows(1, "Integration 0000")
	b.misses("sorted and filtered here")

	b.open(s.page() + "#/acme/activity?operation=create&key=0000")
	b.sees("Nothing matches these filters", "Searched back to")
	b.click("button", "Older")
	b.wantEvents("created Integration 0000")
	b.calm(s.origin())
}
