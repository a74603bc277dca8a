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

// TestPage_axe holds that axe-core finds no fault of accessibility in any state
// of the page.
func TestPage_axe(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile(filepath.Join(testenv.NPM(t, "axe-core"), "axe.min.js"))
	must(t, err)
	p := newScene(t, furnished(t), "acme", "Billing nightly", "Warehouse sync production")
	for _, state := range p.states() {
		p.show(axeLooks[0])
		state.show()
		p.load(string(script))
		for _, look := range axeLooks {
			p.show(look)
			rules := allRules
			if look.scheme == "dark" {
				rules = colourRules
			}
			for _, finding := range eval[[]axeFinding](p.tab, axeRun+"("+rules+")") {
				t.Errorf("%s, %s: %v", state.name, look.name, finding)
			}
		}
	}
}

// load runs a script in the page, once. The page's policy keeps it from running
// others, but not whoever drives the browser.
func (b *tab) load(script string) {
	b.t.Helper()
	if eval[bool](b, `"axe" in window`) {
		return
	}
	_, err := chromedp.Run(b.ctx, chromedp.Evaluate[any](script+";\nvoid 0"))
	must(b.t, err)
}
