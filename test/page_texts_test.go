package test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// described imports the texts of languages, and says of each one, by its path, what kind
// it is, and which of the values that it is given and which elements it shows.
const described = `(async (languages) => {
	const given = (_, i) => new Proxy(new Number(1001 + i), {get: (number, name) =>
		typeof name === "symbol" ? undefined : name in number ? number[name].bind(number) : "{" + name + "}"});
	const shown = (value) => Array.isArray(value?.strings)
		? value.strings.map((part, i) => part + (i < value.values.length ? shown(value.values[i]) : "")).join("")
		: String(value);
	const describe = (value, path, found) => {
		if (typeof value === "object" && !value.strings) {
			Object.entries(value).forEach(([name, inner]) => describe(inner, path + "." + name, found));
			return;
		}
		const said = shown(typeof value === "function" ? value(...Array.from({length: value.length}, given)) : value);
		const parts = said.replaceAll(/[.,](?=\d{3})/g, "").match(/100\d|\{\w+\}|<[^>]+>/g) ?? [];
		found[path] = [typeof value, said.trim() === "" ? "empty" : "", ...new Set(parts.sort())].join(" ");
	};
	return Promise.all(languages.map(async (language) => {
		const found = {};
		describe((await import("./page/text/" + language + ".js")).text, "", found);
		return found;
	}));
})`

// TestPage_texts verifies that the page says the same in every language: a text for each
// that the others have, with the same values in it.
func TestPage_texts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../admin/page/files/text/*.js")
	must(t, err)
	var languages []string
	for _, file := range files {
		languages = append(languages, strings.TrimSuffix(filepath.Base(file), ".js"))
	}
	asked, err := json.Marshal(languages)
	must(t, err)
	s := start(t, pageConfig)
	b := newTab(t)
	b.open(s.page())
	texts := eval[[]map[string]string](b, described+fmt.Sprintf("(%s)", asked))
	if len(texts) < 2 || len(texts[0]) < 200 {
		t.Fatalf("got %d languages with %d texts, want more", len(texts), len(texts[0]))
	}
	for i, language := range languages {
		for path, want := range texts[0] {
			if got := texts[i][path]; got != want {
				t.Errorf("%s: %s is %q, in %s it is %q", language, path, got, languages[0], want)
			}
		}
		for path := range texts[i] {
			if _, ok := texts[0][path]; !ok {
				t.Errorf("%s: %s is not in %s", language, path, languages[0])
			}
		}
	}
}

// speak makes the tab's reader prefer languages, as the header Accept-Language has them.
func (b *tab) speak(languages string) {
	b.t.Helper()
	agent := eval[string](b, `navigator.userAgent`)
	_, err := chromedp.Call(b.ctx, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: agent, AcceptLanguage: languages})
	must(b.t, err)
}

// TestPage_language verifies that the page speaks the first of the reader's languages that
// it knows, and writes numbers and dates as they do there.
func TestPage_language(t *testing.T) {
	t.Parallel()
	s := start(t, pageConfig)
	key, _ := s.Create("acme", "Zapier production", "read_only")
	b := newTab(t)
	german := key.CreatedAt.Local().Format("02.01.2006")
	tests := []struct{ prefers, lang, title, created string }{
		{"en-US,de", "en", "API keys", key.CreatedAt.Local().Format("Jan 2, 2006")},
		{"en-GB", "en", "API keys", key.CreatedAt.Local().Format("2 Jan 2006")},
		{"de-DE,en", "de", "API-Schlüssel", german},
		{"fr-FR,de-AT,en", "de", "API-Schlüssel", ""},
		{"fr-FR", "en", "API keys", key.CreatedAt.Local().Format("Jan 2, 2006")},
	}
	for _, tt := range tests {
		b.speak(tt.prefers)
		b.open("about:blank")
		b.open(s.page() + "#/acme")
		b.sees(tt.title, "Zapier production", tt.created)
		if got := eval[string](b, `document.documentElement.lang`); got != tt.lang {
			t.Errorf("%s: got the language %q, want %q", tt.prefers, got, tt.lang)
		}
	}
	b.calm(s.origin())
}
