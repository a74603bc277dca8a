package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// A size is a screen, and what text somebody reads on it.
type size struct {
	width int64
	text  int64 // the browser's own size of text, in pixels
}

const usualText = 16

var sizes = []size{
	{320, usualText}, {390, usualText}, {768, usualText}, {1024, usualText}, {1280, usualText}, {1920, usualText}, {3840, usualText},
	{320, 2 * usualText}, {390, 2 * usualText}, {768, 2 * usualText}, {1024, 2 * usualText}, {1280, 2 * usualText}, {1920, 2 * usualText},
}

// outside lists the texts of which something is not to be seen: beyond the
// window, or cut off by what they are in. What is there for screen readers alone
// is not looked at.
const outside = `(() => {
	const found = [];
	const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	const range = document.createRange();
	const isClipped = (element) => element !== null && (getComputedStyle(element).clipPath !== "none" || isClipped(element.parentElement));
	while (texts.nextNode()) {
		const {currentNode: node} = texts;
		const element = node.parentElement;
		if (!node.data.trim() || element.closest(".skip, script, noscript, option") || !element.checkVisibility()) {
			continue;
		}
		range.selectNodeContents(node);
		const {left, right} = range.getBoundingClientRect();
		let limits = {left: 0, right: document.documentElement.clientWidth};
		if (isClipped(element)) {
			continue;
		}
		for (let around = element; around; around = around.parentElement) {
			if (getComputedStyle(around).overflowX !== "visible" && around !== document.documentElement) {
				const box = around.getBoundingClientRect();
				limits = {left: Math.max(limits.left, box.left), right: Math.min(limits.right, box.right)};
			}
		}
		if (left < limits.left - 1 || right > limits.right + 1) {
			found.push(node.data.trim().slice(0, 60) + " from " + Math.round(left) + " to " + Math.round(right) +
				", of " + Math.round(limits.left) + " to " + Math.round(limits.right));
		}
	}
	for (const element of document.querySelectorAll("html, dialog")) {
		if (element.scrollWidth > element.clientWidth) {
			found.push(element.localName + " scrolls sideways: " + element.scrollWidth + " in " + element.clientWidth);
		}
	}
	return found;
})()`

// TestPage_sizes verifies that nothing scrolls sideways or is cut off, on a watch of 320
// pixels or a wall of 3840, with text twice as large, with the widest names.
func TestPage_sizes(t *testing.T) {
	t.Parallel()
	s := furnished(t)
	ws, widest := strings.Repeat("w", 64), strings.Repeat("W", 80)
	old, err := s.Keys().CreateKey(t.Context(), ws, client.CreateRequest{Name: widest, Owner: widest, Preset: "full_access"})
	must(t, err)
	_, err = s.Keys().RotateKey(t.Context(), ws, old.Key.ID, client.RotateRequest{Name: new(strings.Repeat("M", 80))})
	must(t, err)
	p := newScene(t, s, ws, strings.Repeat("Q", 80), widest)
	for _, state := range p.states() {
		state.show()
		for _, size := range sizes {
			p.resize(size)
			for _, found := range eval[[]string](p.tab, outside) {
				t.Errorf("%s, %d pixels wide, text of %d: %s", state.name, size.width, size.text, found)
			}
		}
		p.resize(size{1280, usualText})
	}
}

// resize makes the window and the browser's own text as large, and waits until the
// page's text has followed.
func (b *tab) resize(s size) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: s.width, Height: 900, DeviceScaleFactor: 1,
	})
	must(b.t, err)
	_, err = chromedp.Call(b.ctx, page.SetFontSizes, page.SetFontSizesParams{FontSizes: &page.FontSizes{Standard: s.text, Fixed: s.text * 13 / usualText}})
	must(b.t, err)
	b.await(fmt.Sprintf("a window of %d pixels with text of %d", s.width, s.text), func() error {
		now := eval[[2]float64](b, `[innerWidth, parseFloat(getComputedStyle(document.documentElement).fontSize)]`)
		if want := [2]float64{float64(s.width), float64(s.text) * zoom(s.width)}; now != want {
			return fmt.Errorf("got %v, want %v", now, want)
		}
		return nil
	})
}

// zoom returns how large the page's text is, relative to the browser's own: larger where
// people sit further away.
func zoom(width int64) float64 {
	switch {
	case width >= 3200:
		return 26. / usualText
	case width >= 2200:
		return 20. / usualText
	}
	return 15. / usualText
}

// TestPage_cards verifies that a phone shows several keys at once.
func TestPage_cards(t *testing.T) {
	t.Parallel()
	s := furnished(t)
	b := newTab(t)
	b.open(s.page() + "#/acme")
	b.sees("Zapier production")
	b.resize(size{390, usualText})
	heights := eval[[]float64](b, `[...document.querySelectorAll("tbody tr")].map((row) => row.offsetHeight)`)
	sum := 0.0
	for _, height := range heights {
		sum += height
	}
	if at := eval[float64](b, `document.querySelector("tbody tr").getBoundingClientRect().top`); at > 500 {
		t.Errorf("got the first card %.0f pixels from the top, want at most 500: choices are behind a button", at)
	}
	if mean := sum / float64(len(heights)); len(heights) != 8 || mean > 110 {
		t.Errorf("got %d cards of %v pixels, %.0f on average, want 8 of at most 110", len(heights), heights, mean)
	}
	b.click("link", "Warehouse sync production")
	b.sees("Put the new token into the system")
	const broken = `[...document.querySelectorAll("code")].filter((code) => code.innerText.includes("…") && code.offsetHeight > 1.9 * parseFloat(getComputedStyle(code).lineHeight)).map((code) => code.innerText)`
	if got := eval[[]string](b, broken); len(got) > 0 {
		t.Errorf("got the ends of tokens %q on two lines, want each on one", got)
	}
}
