package page

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Site is the application that the page is part of. Everything in it is optional, and
// accepted by the function of its name here: [CheckLogo], for example.
type Site struct {
	// Title is its name, which the page shows in place of its own. See [CheckWords].
	Title string `json:"title"`
	// Logo is the path of a picture on the page's own site.
	Logo string `json:"logo"`
	// Back leads from the page to the application.
	Back Link `json:"back"`
	// Accent is the colour of buttons and links, such as 4338ca.
	Accent string `json:"-"`
	// Language is the only language that the page speaks. Default: the reader's.
	Language string `json:"language"`
}

// A Link is a place that people can go to.
type Link struct {
	URL   string `json:"url"`
	Label string `json:"label"`
}

// Languages are those that the page speaks.
var Languages = languages()

func languages() (all []string) {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if dir, file := path.Split(name); dir == "/page/text/" {
			all = append(all, strings.TrimSuffix(file, ".js"))
		}
	}
	return all
}

// maxWords is how many characters fit on a phone.
const maxWords = 60

// CheckWords refuses a text that does not fit next to others, or that nobody could read.
func CheckWords(words string) error {
	switch {
	case strings.TrimSpace(words) == "" || utf8.RuneCountInString(words) > maxWords:
		return fmt.Errorf("%q: want 1 to %d characters", words, maxWords)
	case !utf8.ValidString(words) || strings.ContainsFunc(words, hidden):
		return fmt.Errorf("%q: want one line of text, without invisible characters", words)
	}
	return nil
}

// hidden reports whether a character is not seen where it stands, or changes how others are:
// the C categories have those that override the direction of writing.
func hidden(r rune) bool { return unicode.In(r, unicode.C, unicode.Zl, unicode.Zp) }

// CheckLogo refuses what is not a path on the page's own site: its policy loads nothing
// from other servers.
func CheckLogo(logo string) error {
	if !isPath(logo) {
		return fmt.Errorf("%q: want a path on this site, such as /logo.svg: the page loads nothing from other servers", logo)
	}
	return nil
}

// CheckLink refuses what is not a page to go to.
func CheckLink(link Link) error {
	u, err := url.Parse(link.URL)
	whole := err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil && !strings.Contains(link.URL, `\`)
	if !whole && !isPath(link.URL) {
		return fmt.Errorf("%q: want an address such as https://app.example.com/settings, or a path on this site", link.URL)
	}
	return CheckWords(link.Label)
}

// CheckAccent refuses what is not a colour.
func CheckAccent(accent string) error {
	_, err := parseColour(accent)
	return err
}

// CheckLanguage refuses a language that the page does not speak.
func CheckLanguage(language string) error {
	if !slices.Contains(Languages, language) {
		return fmt.Errorf("%q: want %s", language, strings.Join(Languages, " or "))
	}
	return nil
}

// isPath reports whether an address is a path on the same site. Browsers take a backslash
// for a slash, and two slashes for the beginning of another site.
func isPath(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Scheme == "" && strings.HasPrefix(address, "/") && !strings.HasPrefix(address, "//") && !strings.Contains(address, `\`)
}

// siteFiles returns the files that differ from mount to mount.
func siteFiles(site Site) map[string][]byte {
	description, err := json.Marshal(site)
	if err != nil {
		panic(err) // strings can always be encoded
	}
	style := ""
	if accent, err := parseColour(site.Accent); err == nil {
		style = accentStyle(accent)
	}
	return map[string][]byte{"/page/site.json": description, "/page/site.css": []byte(style)}
}
