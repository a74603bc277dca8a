package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// prefer gives the tab what somebody prefers, in place of what they did before.
func (b *tab) prefer(feature, value string) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: feature, Value: value}},
	})
	must(b.t, err)
}

// moving counts what takes time to change how it looks.
const moving = `[...document.querySelectorAll("*")].flatMap((element) => ["", "::before", "::after", "::backdrop"].map((part) =>
	getComputedStyle(element, part))).filter((style) => /[1-9]/.test(style.transitionDuration) || /[1-9]/.test(style.animationDuration)).length`

// Nothing moves for somebody who does not want it to.
func TestPage_reducedMotion(t *testing.T) {
	s := start(t, pageConfig)
	b := newTab(t)
	b.open(s.page() + "#/acme")
	b.click("button", "Create key")
	b.sees("Create a key")
	b.prefer("prefers-reduced-motion", "no-preference")
	if got := eval[int](b, moving); got == 0 {
		t.Error("got nothing that moves although it may, so this test does not see what does")
	}
	b.prefer("prefers-reduced-motion", "reduce")
	if got := eval[int](b, moving); got != 0 {
		t.Errorf("got %d parts that move, want none", got)
	}
	b.keys(escape)
	b.click("button", "Create key")
	if got := eval[int](b, `document.getAnimations().length`); got != 0 {
		t.Errorf("got %d animations, want none", got)
	}
}

// With the colours of a reader's own, what colours tell is told by lines.
func TestPage_forcedColours(t *testing.T) {
	s := furnished(t)
	b := newTab(t)
	b.prefer("forced-colors", "active")
	b.open(s.page() + "#/acme")
	b.sees("Used in a browser")
	const lines = `((selector) => [...document.querySelectorAll(selector)].map((element) => {
		const {outlineStyle, outlineWidth, borderBottomStyle, borderBottomWidth, borderBottomColor, backgroundColor} = getComputedStyle(element);
		const outlined = outlineStyle !== "none" && parseFloat(outlineWidth) > 0;
		const bordered = borderBottomStyle !== "none" && parseFloat(borderBottomWidth) > 0 && borderBottomColor !== backgroundColor &&
			borderBottomColor !== getComputedStyle(document.documentElement).backgroundColor;
		return outlined || bordered;
	}))`
	for _, told := range []struct {
		what, yes, no string
	}{
		{"the filter that is selected", ".filters :checked + span", ".filters :not(:checked) + span"},
		{"the badges", ".badge", ".plain"},
		{"the section that is shown", "nav [aria-current]", "nav :not([aria-current])"},
	} {
		yes, no := eval[[]bool](b, lines+fmt.Sprintf("(%q)", told.yes)), eval[[]bool](b, lines+fmt.Sprintf("(%q)", told.no))
		if len(yes) == 0 || len(no) == 0 || !all(yes, true) || !all(no, false) {
			t.Errorf("%s: got lines %v, and %v around what is not, want all and none", told.what, yes, no)
		}
	}
}

func all(of []bool, want bool) bool {
	for _, is := range of {
		if is != want {
			return false
		}
	}
	return true
}

// Times are the reader's own, and say on pointing at them when that was exactly.
func TestPage_times(t *testing.T) {
	s := start(t, pageConfig)
	key, _ := s.create("acme", "Zapier production", "read_only")
	b := newTab(t)
	_, err := chromedp.Call(b.ctx, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "Asia/Kathmandu"})
	must(t, err)
	_, err = chromedp.Call(b.ctx, emulation.SetLocaleOverride, emulation.SetLocaleOverrideParams{Locale: "en-US"})
	must(t, err)
	b.open(s.page() + "#/acme/keys/" + key.ID)
	b.sees("Zapier production", "Created")

	kathmandu := time.FixedZone("UTC+05:45", (5*60+45)*60)
	for _, at := range []time.Time{key.CreatedAt, key.ExpiresAt} {
		utc := at.UTC().Format("2006-01-02 15:04:05") + " UTC"
		want := at.In(kathmandu).Format("Jan 2, 2006, 3:04 PM")
		got := eval[[]string](b, fmt.Sprintf(`[...document.querySelectorAll("time")].filter(({title}) => title === %q).map(({innerText}) => innerText)`, utc))
		if len(got) == 0 || squeezed(strings.ReplaceAll(got[0], "\u202f", " ")) != want {
			t.Errorf("%s: got %q, want %q first", utc, got, want)
		}
	}
	b.click("link", "Activity")
	b.sees(key.CreatedAt.In(kathmandu).Format("Monday, January 2, 2006"))
}
