package page

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// What an operator writes is data: it cannot end the file that it is in.
func TestSite_isData(t *testing.T) {
	want := Site{
		Title: `</script><script>alert(1)</script>"`, Logo: "/logo.svg?<", Back: Link{"/?a=b&c='d'", `<b onclick="alert(1)">Back</b>`}, Language: "de",
	}
	content := siteFiles(want)["/page/site.json"]
	var got Site
	if err := json.Unmarshal(content, &got); err != nil || got != want {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
	if strings.ContainsAny(string(content), "<>&") {
		t.Errorf("got %s, want nothing in it that could be markup", content)
	}
}

// A page without a site looks as its own style says.
func TestSite_none(t *testing.T) {
	if got := siteFiles(Site{})["/page/site.css"]; len(got) != 0 {
		t.Errorf("got the style %q, want none", got)
	}
}

func TestCheckLink(t *testing.T) {
	long := strings.Repeat("é", 60)
	tests := []struct {
		url, label string
		ok         bool
	}{
		{"/", "Home", true},
		{"/settings?tab=api&x=1#keys", "Settings", true},
		{"https://app.example.com", long, true},
		{"HTTP://localhost:3000/a b", "Local", true},
		{"https://app.example.com", long + "é", false},
		{"/", "", false},
		{"/", "two\nlines", false},
		{"/", "\xff", false},
		{"/", "Zurück\u00a0zur App", true},
		{"/", "two\u2028lines", false},
		{"/", "\u202egnp.exe", false},
		{"/", "\u200b", false},
		{"", "Home", false},
		{"javascript:alert(1)", "Home", false},
		{"jAvAsCrIpT:alert(1)", "Home", false},
		{"java\tscript:alert(1)", "Home", false},
		{"\x01javascript:alert(1)", "Home", false},
		{"vbscript:x", "Home", false},
		{"blob:https://app.example.com/1", "Home", false},
		{"//evil.example", "Home", false},
		{`/\evil.example`, "Home", false},
		{`\\evil.example`, "Home", false},
		{"/\t/evil.example", "Home", false},
		{"/\n/evil.example", "Home", false},
		{`https:\\evil.example`, "Home", false},
		{"https:evil.example", "Home", false},
		{"https://user@app.example.com/", "Home", false},
		{"settings", "Home", false},
		{"../settings", "Home", false},
	}
	for _, tt := range tests {
		if err := CheckLink(Link{tt.url, tt.label}); (err == nil) != tt.ok {
			t.Errorf("%q, %q: got the error %v, want one: %v", tt.url, tt.label, err, !tt.ok)
		}
	}
}

// Every language that the page has can be chosen, and no other.
func TestLanguages(t *testing.T) {
	if want := []string{"de", "en"}; !slices.Equal(Languages, want) {
		t.Errorf("got the languages %q, want %q", Languages, want)
	}
	if want := "const texts = {en, de};\n"; !strings.Contains(string(files["/page/text.js"]), want) {
		t.Errorf("text.js: want %q in it", want)
	}
}
