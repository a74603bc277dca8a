package caddymodule

import (
	"fmt"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/agiled/caddy-api-keys/admin/page"
)

// Page makes the Settings page look like a part of the application that it belongs
// to. Everything that it shows is text, never markup.
type Page struct {
	// The name of the application, which the page shows at its top in place of "API keys". At most 60 characters.
	Title string `json:"title,omitempty"`

	// The path of the application's logo on the site of this handler, such as `/assets/logo.svg`. It is shown 28 pixels high.
	Logo string `json:"logo,omitempty"`

	// A link from the page to the application.
	Back BackLink `json:"back,omitzero"`

	// The colour of buttons and links, as three or six hexadecimal digits, such as `4338ca`. Where it would be hard to read, the page uses
	// a darker one in its light scheme, and a lighter one in its dark scheme.
	Accent string `json:"accent,omitempty"`

	// The language of the page: `de` or `en`. Default: the one of these that the reader's browser prefers, or `en`.
	Language string `json:"language,omitempty"`
}

// BackLink is a link from the Settings page to the application that it belongs to.
type BackLink struct {
	// Where it leads: an address that begins with `https://` or `http://`, or a path on the site of this handler.
	URL string `json:"url,omitempty"`

	// What it is called. At most 60 characters.
	Label string `json:"label,omitempty"`
}

// parsePage parses the option page of api_key_admin. Syntax:
//
//	page {
//	    title    <name>
//	    logo     <path>
//	    back     <address> <label>
//	    accent   <colour>
//	    language de|en
//	}
func parsePage(d *caddyfile.Dispenser, p *Page) error {
	if err := onlyBlock(d); err != nil {
		return err
	}
	return parseBlock(d, "page", options{
		"title":    text(d, &p.Title, "<name>", written(page.CheckWords)),
		"logo":     text(d, &p.Logo, "<path>", written(page.CheckLogo)),
		"back":     func() error { return parseBack(d, &p.Back) },
		"accent":   func() error { return parseAccent(d, &p.Accent) },
		"language": choice(d, &p.Language, page.Languages...),
	})
}

func parseAccent(d *caddyfile.Dispenser, into *string) error {
	name := d.Val()
	if !d.AllArgs(into) {
		return d.Errf("%s takes a colour, without #, which begins a comment: %s 4338ca", name, name)
	}
	return located(d, name, written(page.CheckAccent)(*into))
}

func parseBack(d *caddyfile.Dispenser, into *BackLink) error {
	name := d.Val()
	if !d.AllArgs(&into.URL, &into.Label) {
		return d.Errf(`%s takes an address and a label: %s /settings "Back to the settings"`, name, name)
	}
	return located(d, name, into.check())
}

// written is a check that refuses placeholders too.
func written(check func(string) error) func(string) error {
	return func(value string) error {
		if err := literal(value); err != nil {
			return err
		}
		return check(value)
	}
}

func (b BackLink) check() error {
	for _, value := range []string{b.URL, b.Label} {
		if err := literal(value); err != nil {
			return err
		}
	}
	return page.CheckLink(page.Link(b))
}

// check refuses values that a JSON configuration can have and a Caddyfile cannot.
func (p Page) check() error {
	for _, option := range []struct {
		name, value string
		check       func(string) error
	}{
		{"title", p.Title, page.CheckWords}, {"logo", p.Logo, page.CheckLogo}, {"accent", p.Accent, page.CheckAccent},
		{"language", p.Language, page.CheckLanguage},
	} {
		if option.value == "" {
			continue
		}
		if err := written(option.check)(option.value); err != nil {
			return fmt.Errorf("%s: %w", option.name, err)
		}
	}
	if p.Back == (BackLink{}) {
		return nil
	}
	if err := p.Back.check(); err != nil {
		return fmt.Errorf("back: %w", err)
	}
	return nil
}

// site returns what the page is told.
func (p Page) site() page.Site {
	return page.Site{Title: p.Title, Logo: p.Logo, Back: page.Link(p.Back), Accent: p.Accent, Language: p.Language}
}
