package test

import (
	"testing"

	"github.com/chromedp/chromedp"
)

// How often a key was used is drawn in its row and in its view, and can be read as a table.
// A rotation shows both keys side by side.
func testUsage(t *testing.T, b *tab, s *server) {
	b.open(s.page() + "#/acme?sort=name")
	b.sees("requests in 30 days, and", "refused or over a limit")

	b.click("link", "Warehouse sync production 2")
	b.sees("Usage")
	b.click("link", "All keys") // as they were
	b.wantAddress("sort=name")
	b.click("link", "Warehouse sync production 2")
	b.sees("Usage")
	b.choose("Days (UTC)", "Last 7")
	b.click("link", "Warehouse sync production") // the key that it replaces
	b.sees("Check that scheduled jobs still run", "Old key agk_", "New key agk_")
	b.choose("Days (UTC)", "Last 7")
	// Each weekday is among them once, and the counts grow from one on Sunday to seven on Saturday.
	b.sees("Reads 40,320", "Writes 7,280", "Refused 0", "Over a limit 84")
	b.do(chromedp.Reload())
	b.sees("Reads 40,320")

	eval[any](b, `document.querySelectorAll("details").forEach((table) => (table.open = true))`)
	for _, of := range []struct {
		where         string
		rows, columns int
	}{{".rotation", 14, 3}, {"section.usage", 7, 5}} {
		got := eval[[]int](b, `[...document.querySelectorAll("`+of.where+` .figures tr")].map((row) => row.children.length)`)
		if len(got) != of.rows+1 || got[0] != of.columns || got[of.rows] != of.columns {
			t.Errorf("%s: got rows of %v columns, want %d of %d and a head", of.where, got, of.rows, of.columns)
		}
	}
}
