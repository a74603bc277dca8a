package test

import (
	"fmt"
	"strings"
	"testing"
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
