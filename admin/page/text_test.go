package page

import (
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

// No module shows words of its own: all of them are in the texts of the languages.
func TestFiles_noTextOutsideText(t *testing.T) {
	templates := 0
	for name, content := range files {
		if path.Ext(name) != ".js" || strings.Contains(name, "/vendor/") || strings.HasPrefix(name, "/page/text/") {
			continue
		}
		found := templatesOf(string(content))
		templates += len(found)
		for _, words := range wordsOf(found) {
			t.Errorf("%s shows %q, which belongs in the texts", name, words)
		}
	}
	if templates < 50 {
		t.Errorf("got %d templates in all modules, want those of all views", templates)
	}
}

func TestTemplatesOf(t *testing.T) {
	tests := []struct{ module, want string }{
		{"html`<p>${text.lead}</p>`", ""},
		{"html`<p>Hello ${name}</p>`", "Hello"},
		{"html`<p>${of ? html`<b>inner</b>` : nothing}</p>`", "inner"},
		{"html`<p>${{a: 1}.a} outer</p>`", "outer"},
		{"html`<p aria-label=\"Close\">${a}</p>`", `aria-label="Close"`},
		{"html`<p title=${words} class=\"wide\">${a}</p>`", ""},
		{"const path = `key_${id}`; // the reader's `own`\nhtml`<p>after</p>`", "after"},
		{`const quote = "it's"; ` + "html`<p>after</p>`", "after"},
	}
	for _, tt := range tests {
		if got := strings.Join(wordsOf(templatesOf(tt.module)), "|"); got != tt.want {
			t.Errorf("%s: got the words %q, want %q", tt.module, got, tt.want)
		}
	}
}

var (
	tag       = regexp.MustCompile(`<[^>]*>`)
	attribute = regexp.MustCompile(`\b(?:aria-label|aria-description|title|placeholder|alt)="[^"]*\pL[^"]*"`)
	letters   = regexp.MustCompile(`\pL(?:[^<]*\pL)?`)
)

// wordsOf returns the words that templates show.
func wordsOf(templates []string) (words []string) {
	for _, template := range templates {
		words = append(words, attribute.FindAllString(template, -1)...)
		words = append(words, letters.FindAllString(tag.ReplaceAllString(template, "<"), -1)...)
	}
	return words
}

// templatesOf returns the templates of a module, without what is put into them.
func templatesOf(module string) []string {
	s := scanner{rest: module}
	s.code()
	return s.templates
}

// A scanner walks through a module. It knows as much JavaScript as there is in the page:
// no regular expression in it has a quote or a backtick.
type scanner struct {
	rest      string
	templates []string
}

var token = regexp.MustCompile("//[^\n]*|/\\*(?s:.*?)\\*/|\"(?:[^\"\\\\]|\\\\.)*\"|(?:html)?`|[{}]")

// code walks to the brace that ends the code, or to the end.
func (s *scanner) code() {
	for depth := 0; depth >= 0; {
		at := token.FindStringIndex(s.rest)
		if at == nil {
			s.rest = ""
			return
		}
		found := s.rest[at[0]:at[1]]
		s.rest = s.rest[at[1]:]
		switch found {
		case "{":
			depth++
		case "}":
			depth--
		case "html`":
			s.templates = append(s.templates, s.template())
		case "`":
			s.template()
		}
	}
}

// template walks to the end of a template, and returns it.
func (s *scanner) template() string {
	var own strings.Builder
	for s.rest != "" {
		switch {
		case strings.HasPrefix(s.rest, "`"):
			s.rest = s.rest[1:]
			return own.String()
		case strings.HasPrefix(s.rest, "${"):
			s.rest = s.rest[2:]
			s.code()
		default:
			own.WriteByte(s.rest[0])
			s.rest = s.rest[1:]
		}
	}
	return own.String()
}

// The texts of each language but English, which the server's answers are in, have words
// for every refusal that the page can meet.
func TestFiles_refusals(t *testing.T) {
	unmet := map[string]bool{ // what the page always gets right, or never asks for
		"invalid_json": true, "not_json": true, "invalid_cursor": true, "invalid_days": true, "invalid_limit": true, "invalid_query": true, "invalid_status": true,
		"method_not_allowed": true, "unauthorized": true, "token_taken": true, "clock_agrees": true, "integrity_key_differs": true,
		"invalid_token_sha256": true, "invalid_token_hint": true, "invalid_created_at": true, "invalid_expires_at": true, "invalid_backup": true,
	}
	declared, err := os.ReadFile("../client/errors.go")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`(?m)^\tCode\w+ += "(\w+)"`).FindAllSubmatch(declared, -1)
	if len(codes) < 30 {
		t.Fatalf("got %d codes, want all that the client knows", len(codes))
	}
	for _, language := range Languages {
		if language == "en" {
			continue
		}
		texts := string(files["/page/text/"+language+"/refusals.js"])
		for _, code := range codes {
			if is := strings.Contains(texts, "\n\t"+string(code[1])+": ("); is == unmet[string(code[1])] {
				t.Errorf("%s, %s: got words for it: %v, want %v", language, code[1], is, !is)
			}
		}
	}
}
