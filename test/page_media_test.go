package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// prefer gives the tab what somebody prefers, in pairs of a feature and a value, in
// place of what they did before.
func (b *tab) prefer(preferences ...string) {
	b.t.Helper()
	var features []*emulation.MediaFeature
	for pair := range slices.Chunk(preferences, 2) {
		features = append(features, &emulation.MediaFeature{Name: pair[0], Value: pair[1]})
	}
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features})
	must(b.t, err)
}

// faint lists the controls of which neither the border, nor the shadow, nor the
// colour stands out from what they are on by 3 to 1, which is what WCAG 2.2 asks
// for in 1.4.11. axe-core looks at texts alone. A bare button is told by its words or
// its sign.
const faint = `(() => {
	const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
	const channels = (colour) => {
		canvas.clearRect(0, 0, 1, 1);
		canvas.fillStyle = colour;
		canvas.fillRect(0, 0, 1, 1);
		return [...canvas.getImageData(0, 0, 1, 1).data].map((c) => c / 255);
	};
	const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
	const luminance = (colour) => {
		const [r, g, b] = channels(colour).map(linear);
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const contrast = (a, b) => (Math.max(luminance(a), luminance(b)) + 0.05) / (Math.min(luminance(a), luminance(b)) + 0.05);
	// The first of a shadow's, and none that shines through.
	const colourOf = (style, property) => style[property].match(/^[a-z]+\([^)]*\)/)?.filter((colour) => channels(colour)[3] === 1)[0];
	const under = (element) => colourOf(getComputedStyle(element), "backgroundColor") ?? under(element.parentElement);
	const controls = document.querySelectorAll("button:not(.bare), select, input:not([type=radio]), .choice, .filters :checked + span");
	return [...controls].map((control) => {
		const style = getComputedStyle(control);
		const properties = [style.borderTopWidth === "0px" ? "boxShadow" : "borderTopColor", "boxShadow", "backgroundColor"];
		const edges = properties.map((property) => colourOf(style, property)).filter(Boolean);
		const most = Math.max(0, ...edges.map((edge) => contrast(edge, under(control.parentElement))));
		return most < 3 ? control.innerText + " " + control.id + " " + most.toFixed(2) : "";
	}).filter(Boolean);
})()`

// TestPage_media verifies that the page follows what a reader prefers.
func TestPage_media(t *testing.T) {
	t.Parallel()
	s := furnished(t)
	b := newTab(t)
	b.prefer("prefers-reduced-motion", "reduce") // no colour is on its way to another
	b.open(s.page() + "#/acme")
	b.sees("Used in a browser")
	t.Run("forced colours", func(t *testing.T) { testForcedColours(t, b) })
	b.click("button", "Create key")
	b.sees("Create a key")
	t.Run("controls stand out", func(t *testing.T) { testControlsStandOut(t, b) })
	t.Run("reduced motion", func(t *testing.T) { testReducedMotion(t, b) })
}

// What can be pressed or typed into is seen as such, in both schemes, and is the page's own.
func testControlsStandOut(t *testing.T, b *tab) {
	if got := eval[int](b, foreign); got != 0 {
		t.Errorf("got %d lists to choose from in the browser's own style, want none", got)
	}
	for _, scheme := range []string{"light", "dark"} {
		b.prefer("prefers-color-scheme", scheme, "prefers-reduced-motion", "reduce")
		for _, found := range eval[[]string](b, faint) {
			t.Errorf("%s: %s to 1, want 3", scheme, found)
		}
	}
}

// foreign counts the lists to choose from that are as the browser draws them.
const foreign = `[...document.querySelectorAll("select")].filter((list) => !list.matches(".dropdown > *") || getComputedStyle(list).appearance !== "none").length`

// moving counts what takes time to change how it looks.
const moving = `[...document.querySelectorAll("*")].flatMap((element) => ["", "::before", "::after", "::backdrop"].map((part) =>
	getComputedStyle(element, part))).filter((style) => /[1-9]/.test(style.transitionDuration) || /[1-9]/.test(style.animationDuration)).length`

// Nothing moves for somebody who does not want it to.
func testReducedMotion(t *testing.T, b *tab) {
	b.prefer("prefers-reduced-motion", "no-preference")
	if got := eval[int](b, moving); got == 0 {
		t.Error("got nothing that moves although it may, so this test does not see what does")
	}
	// What the colours of the test before have set moving comes to its end.
	eval[any](b, `Promise.allSettled(document.getAnimations().map((animation) => animation.finished)).then(() => null)`)
	b.prefer("prefers-reduced-motion", "reduce")
	if got := eval[int](b, moving); got != 0 {
		t.Errorf("got %d parts that move, want none", got)
	}
	b.keys(escape)
	b.click("button", "Create key")
	b.sees("Create a key")
	if got := eval[int](b, `document.getAnimations().length`); got != 0 {
		t.Errorf("got %d animations, want none", got)
	}
}

// With the colours of a reader's own, what colours tell is told by lines.
func testForcedColours(t *testing.T, b *tab) {
	b.prefer("forced-colors", "active")
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
		{"the lists to choose from", ".dropdown > select", ".plain"},
		{"the section that is shown", "nav [aria-current]", "nav :not([aria-current])"},
	} {
		yes, no := eval[[]bool](b, lines+fmt.Sprintf("(%q)", told.yes)), eval[[]bool](b, lines+fmt.Sprintf("(%q)", told.no))
		if len(yes) == 0 || len(no) == 0 || slices.Contains(yes, false) || slices.Contains(no, true) {
			t.Errorf("%s: got lines %v, and %v around what is not, want all and none", told.what, yes, no)
		}
	}
}

// Times are the reader's own, and say on pointing at them when that was exactly.
func TestPage_times(t *testing.T) {
	t.Parallel()
	s := start(t, pageConfig)
	key, _ := s.Create("acme", "Zapier production", "read_only")
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
