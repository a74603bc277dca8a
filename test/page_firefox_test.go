package test

import (
	"net/http"
	"strings"
	"testing"
)

// TestPage_firefox is a key's whole life on the page in another browser, in another
// language, and partly by keyboard alone.
func TestPage_firefox(t *testing.T) {
	t.Parallel()
	s := start(t, pageConfig)
	b := newFirefox(t)
	b.open(s.page() + "#/acme")
	b.sees("Noch keine Schlüssel")
	if got := b.value(`document.documentElement.lang`); got != "de" {
		t.Errorf("got the language %q, want de", got)
	}

	b.click("button", "Schlüssel erstellen")
	b.sees("Nur Lesen")
	b.keys("test" + firefoxTab)
	b.sees("Das sagt nicht, was den Schlüssel verwendet")
	b.fill("textbox", "Name", "Lagerabgleich Staging"+firefoxTab+"Einkauf"+firefoxEnter)
	b.sees("Kopieren Sie das Token von „Lagerabgleich Staging“ in acme")
	b.keys(firefoxEscape)
	b.sees("Sie haben das Token noch nicht kopiert")
	b.click("button", "Geöffnet lassen")
	token := b.copyToken()
	b.keys(firefoxEscape)
	b.sees("Lagerabgleich Staging Einkauf Nur Lesen", "in 90 Tagen")
	s.wantGateway(token, http.StatusOK)

	b.click("link", "Lagerabgleich Staging")
	b.sees("Zuerst verwendet", "von dana@acme.example")
	b.click("button", "Umbenennen")
	b.fill("textbox", "Name", "Lagerabgleich Produktion"+firefoxEnter)
	b.sees("Gespeichert.", "Lagerabgleich Produktion")
	b.click("button", "Rotieren")
	b.fill("textbox", "Name des Ersatzes", "Lagerabgleich Produktion 2"+firefoxEnter)
	next := b.copyToken()
	b.keys(firefoxEscape)
	b.sees("Wird rotiert", "Der neue Schlüssel wurde noch nicht verwendet")
	b.click("button", "Alten Schlüssel widerrufen")
	b.fill("textbox", "Grund optional", "Umgestellt"+firefoxEnter)
	b.sees("Er kann nicht wieder aktiviert werden", "Umgestellt")
	s.wantGateway(token, http.StatusUnauthorized)
	s.wantGateway(next, http.StatusOK)

	b.click("link", "Aktivität")
	b.sees(
		"dana@acme.example hat Lagerabgleich Produktion", "widerrufen", "Grund: Umgestellt", "rotiert",
		"hat Lagerabgleich Staging in Lagerabgleich Produktion umbenannt", "(Nur Lesen) erstellt",
	)
	b.click("link", "Schlüssel")
	b.fill("searchbox", "Name, Zuständige oder letzte Zeichen", "nirgends")
	b.sees("Kein passender aktiver Schlüssel")
	b.click("button", "Alle Schlüssel durchsuchen")
	b.sees("Kein passender Schlüssel")
	b.click("button", "Suche löschen")
	b.sees("Lagerabgleich Produktion 2", "Widerrufen")

	row := "Lagerabgleich Produktion 2 agk_…" + hint(next)
	b.click("button", "Aktionen für "+row)
	b.sees("ID kopieren")
	b.keys(firefoxEscape)
	b.misses("ID kopieren")
	b.click("checkbox", row+" auswählen")
	b.click("button", "Auswahl widerrufen")
	b.sees("1 Schlüssel widerrufen?", "Lagerabgleich Produktion 2", "zuletzt verwendet")
	b.click("button", "1 Schlüssel widerrufen")
	b.sees("1 Schlüssel wurde widerrufen")
	s.wantGateway(next, http.StatusUnauthorized)
	b.calm(s.origin(), token, next)

	b.value(`document.body.setAttribute("style", "color: red"), ""`)
	b.await("a complaint of what the policy forbids", func() error {
		if !b.complains("style-src") {
			return errNotYet
		}
		return nil
	})
}

// copyToken copies the token that is shown, and returns what was copied.
func (b *firefox) copyToken() string {
	b.t.Helper()
	b.click("button", "Token kopieren")
	b.sees("Kopiert")
	token := b.value(`navigator.clipboard.readText()`)
	if len(token) != 53 || !strings.HasPrefix(token, "agk_") {
		b.t.Fatalf("got %q copied, want a token", token)
	}
	return token
}
