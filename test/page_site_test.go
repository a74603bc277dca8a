package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

const logo = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 60 20"><rect width="60" height="20" rx="4" fill="#0a7f5a"/></svg>`

// siteConfig is pageConfig, with a page that belongs to an application.
func siteConfig(title, label string) string {
	config := strings.Replace(pageConfig, "\t\t\tactor dana@acme.example\n", fmt.Sprintf(`			actor dana@acme.example
			page {
				title %q
				logo /logo.svg
				back /settings?tab=api %q
				accent 00ff88
				language de
			}
`, title, label), 1)
	return strings.Replace(config, "\thandle /settings/api* {", "\thandle /logo.svg {\n\t\theader Content-Type image/svg+xml\n\t\trespond `"+logo+"`\n\t}\n\thandle /settings/api* {", 1)
}

// TestPage_site verifies that the page looks as the application it belongs to says, under a
// policy that is as strict as ever, and that nothing of that becomes markup.
func TestPage_site(t *testing.T) {
	t.Parallel()
	const title, label = `Acme <b onclick=alert(1)>Suite</b>`, `<img src=x onerror=alert(1)>`
	s := start(t, siteConfig(title, label))
	b := newTab(t)
	b.prefer("prefers-reduced-motion", "reduce")
	b.open(s.page() + "#/acme")
	b.sees(title, label, "API-Schlüssel", "Noch keine Schlüssel")
	if got, want := eval[string](b, `document.title`), "API-Schlüssel · acme · "+title; got != want {
		t.Errorf("got the title %q, want %q", got, want)
	}
	if got := eval[[]string](b, `[...document.querySelectorAll("img")].map((img) => img.getAttribute("src") + " " + (img.naturalWidth > 0))`); len(got) != 1 || got[0] != "/logo.svg true" {
		t.Errorf("got the pictures %q, want the logo, loaded", got)
	}
	if got, want := eval[string](b, `document.querySelector(".home").href`), s.origin()+"/settings?tab=api"; got != want {
		t.Errorf("got the link back to %s, want %s", got, want)
	}
	for _, scheme := range []struct{ name, button string }{
		{"light", "rgb(0, 128, 68) rgb(255, 255, 255)"},
		{"dark", "rgb(0, 255, 136) rgb(14, 17, 22)"},
	} {
		b.prefer("prefers-color-scheme", scheme.name, "prefers-reduced-motion", "reduce")
		const button = `(({backgroundColor, color}) => backgroundColor + " " + color)(getComputedStyle(document.querySelector("button.primary")))`
		if got := eval[string](b, button); got != scheme.button {
			t.Errorf("%s: got a button in %s, want %s", scheme.name, got, scheme.button)
		}
	}
	b.open(s.origin() + "/token/")
	b.sees("Admin token")
	b.misses(label)
	b.calm(s.origin())

	answer, err := http.Get(s.page() + "page/site.json")
	must(t, err)
	defer answer.Body.Close()
	if got, want := answer.Header.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self'; style-src 'self';"; !strings.HasPrefix(got, want) {
		t.Errorf("got the policy %q, want %q first", got, want)
	}
}

// siteStates are the main ones of a page that belongs to an application, in German and
// from an empty store on, in an order in which each leads to the next.
func siteStates(b *tab, s *server) []state {
	return []state{
		{"no keys at all", func() { b.open(s.page()); b.sees("Noch kein Arbeitsbereich hat Schlüssel") }},
		{"empty list", func() { b.open(s.page() + "#/acme"); b.sees("Noch keine Schlüssel") }},
		{"create", func() {
			b.click("button", "Schlüssel erstellen")
			b.fill("Name", "test")
			b.keys(tabKey)
			b.sees("Das sagt nicht")
		}},
		{"token", func() {
			b.fill("Name", "Lagerabgleich")
			b.keys(enter)
			b.sees("Kopieren Sie das Token", "Erinnerung herunterladen")
		}},
		{"list", func() { b.click("button", "Token kopieren"); b.sees("Kopiert"); b.keys(escape); b.sees("Nur Lesen") }},
		{"key", func() { b.click("link", "Lagerabgleich"); b.sees("Zuletzt verwendet") }},
		{"rotate", func() { b.click("button", "Rotieren"); b.sees("Der alte Schlüssel") }},
		{"revoke", func() { b.keys(escape); b.click("button", "Widerrufen"); b.sees("Diesen Schlüssel widerrufen?") }},
		{"activity", func() { b.keys(escape); b.click("link", "Aktivität"); b.sees("hat Lagerabgleich") }},
		{"choose", func() { b.open(s.page() + "#/"); b.sees("Arbeitsbereich auswählen", "Nicht gesperrt") }},
	}
}

// TestPage_siteSizes verifies that the longest names, and German words, fit every screen.
func TestPage_siteSizes(t *testing.T) {
	t.Parallel()
	s := start(t, siteConfig(strings.Repeat("W", 60), strings.Repeat("W", 60)))
	b := newTab(t)
	b.mayCopy(s.origin())
	for _, state := range siteStates(b, s) {
		state.show()
		for _, size := range []size{{320, usualText}, {320, 2 * usualText}, {768, usualText}, {1280, usualText}} {
			b.resize(size)
			for _, found := range eval[[]string](b, outside) {
				t.Errorf("%s, %d pixels wide, text of %d: %s", state.name, size.width, size.text, found)
			}
		}
	}
}
