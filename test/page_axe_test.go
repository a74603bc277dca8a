package test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// axeLooks are those in which the page has to be accessible: a screen, and the
// narrowest that WCAG asks for, which is also a screen at 400 %.
var axeLooks = []look{
	{name: "light", width: 1280, height: 800, scheme: "light"},
	{name: "dark", width: 1280, height: 800, scheme: "dark"},
	{name: "light, narrow", width: 320, height: 640, scheme: "light"},
}

// siteLooks are those of a page with its application's colour and in another language:
// what differs are colours, and the sizes of words.
var siteLooks = []look{
	axeLooks[0],
	{name: "dark, narrow", width: 320, height: 640, scheme: "dark"},
}

// axeRun returns what axe-core finds: what is wrong, and of the contrasts also
// what it cannot tell, except of what an open menu covers or what scrolls. Its options
// are the rules to run.
const axeRun = `(async (options) => {
	const found = await axe.run(document, {...options, preload: false, resultTypes: ["violations", "incomplete"]});
	const doubts = found.incomplete.filter(({id}) => id === "color-contrast");
	const isCovered = ({any, target}) => any.some(({message}) => /overlapped|obscured/.test(message)) &&
		(document.querySelector("[role=menu]") || document.querySelector(target.at(-1))?.closest(".scroll"));
	return [...found.violations, ...doubts].flatMap(({id, help, nodes}) =>
		nodes.filter((node) => !isCovered(node)).map(({target, any, all, none}) => ({
			rule: id, help, target: target.join(" "), summary: [...any, ...all, ...none].map(({message}) => message).join("; "),
		})));
})`

// A colour scheme changes nothing but colours. target-size is off unless asked for.
const (
	allRules    = `{rules: {"target-size": {enabled: true}}}`
	colourRules = `{runOnly: ["color-contrast", "link-in-text-block"]}`
)

type axeFinding struct{ Rule, Help, Target, Summary string }

func (f axeFinding) String() string {
	return fmt.Sprintf("%s (%s)\n\tat %s\n\t%s", f.Rule, f.Help, f.Target, f.Summary)
}

// TestPage_axe verifies that axe-core finds no fault of accessibility in any state of the
// page.
func TestPage_axe(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile(filepath.Join(testenv.NPM(t, "axe-core"), "axe.min.js"))
	must(t, err)
	p := newScene(t, furnished(t), "acme", "Billing nightly", "Warehouse sync production")
	p.wantAccessible(string(script), p.states(), axeLooks)
	site := start(t, siteConfig("Acme Suite", "Zurück zur Suite"))
	p.mayCopy(site.origin())
	p.wantAccessible(string(script), siteStates(p.tab, site), siteLooks)
}

// wantAccessible holds that axe-core, which is a script, finds no fault in states.
func (b *tab) wantAccessible(axe string, states []state, looks []look) {
	b.t.Helper()
	for _, state := range states {
		b.show(looks[0])
		state.show()
		b.load(axe)
		for _, look := range looks {
			b.show(look)
			rules := allRules
			if look.scheme == "dark" {
				rules = colourRules
			}
			for _, finding := range eval[[]axeFinding](b, axeRun+"("+rules+")") {
				b.t.Errorf("%s, %s: %v", state.name, look.name, finding)
			}
		}
	}
}

// load runs a script in the page, once. The page's policy stops it from running others, but
// does not stop a test that drives the browser.
func (b *tab) load(script string) {
	b.t.Helper()
	if eval[bool](b, `"axe" in window`) {
		return
	}
	_, err := chromedp.Run(b.ctx, chromedp.Evaluate[any](script+";\nvoid 0"))
	must(b.t, err)
}
