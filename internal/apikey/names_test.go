package apikey

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestParseName(t *testing.T) {
	cases := []struct{ in, want string }{
		{"abc", "abc"},
		{"Zapier production", "Zapier production"},
		{" \t\n\u00a0Zapier production\u2003\r\n", "Zapier production"},
		{"Düsseldorf", "Düsseldorf"},
		{"東京都", "東京都"},
		{"परीक्षण केंद्र", "परीक्षण केंद्र"},
		{"جدول المبيعات", "جدول المبيعات"},
		{"🚀🚀🚀", "🚀🚀🚀"},
		{"Love ❤️ bot 👍🏽 🇩🇪 1️⃣", "Love ❤️ bot 👍🏽 🇩🇪 1️⃣"},
		{strings.Repeat("x", 80), strings.Repeat("x", 80)},
		{strings.Repeat("🚀", 80), strings.Repeat("🚀", 80)},
		{" " + strings.Repeat("é", 80) + " ", strings.Repeat("é", 80)},
		// What only other readers would understand is plain text here.
		{"<script>alert(1)</script>", "<script>alert(1)</script>"},
		{"=cmd()", "=cmd()"},
		{"{env.HOME} {file./etc/passwd}", "{env.HOME} {file./etc/passwd}"},
		{`"; DROP TABLE keys; --`, `"; DROP TABLE keys; --`},
	}
	for _, c := range cases {
		if got, err := ParseName(c.in); err != nil || got != c.want {
			t.Errorf("ParseName(%q) = %q, %v, want %q", c.in, got, err, c.want)
		}
	}
}

// unprintables are texts that hold, each at another place, what a person could
// not see or could be misled by. They are long enough for a name.
var unprintables = map[string]string{
	"NUL":                        "abc\x00def",
	"escape":                     "\x1b[31mred",
	"tab":                        "abc\tdef",
	"line feed":                  "abc\ndef",
	"carriage return":            "abc\rdef",
	"vertical tab":               "abc\vdef",
	"delete":                     "abc\x7fdef",
	"C1 control":                 "abc\u009bdef",
	"next line":                  "abc\u0085def",
	"line separator":             "abc\u2028def",
	"paragraph separator":        "abc\u2029def",
	"right-to-left override":     "abc\u202edef",
	"left-to-right override":     "abc\u202ddef",
	"right-to-left embedding":    "abc\u202bdef",
	"pop directional":            "abc\u202cdef",
	"right-to-left isolate":      "abc\u2067def",
	"pop isolate":                "abc\u2069def",
	"left-to-right mark":         "abc\u200edef",
	"Arabic letter mark":         "abc\u061cdef",
	"zero-width space":           "abc\u200bdef",
	"zero-width non-joiner":      "abc\u200cdef",
	"zero-width joiner":          "👩\u200d🚀 bot",
	"word joiner":                "abc\u2060def",
	"byte order mark":            "\ufeffabcdef",
	"soft hyphen":                "abc\u00addef",
	"combining grapheme joiner":  "abc\u034fdef",
	"Hangul filler":              "abc\u3164def",
	"half-width Hangul filler":   "abc\uffa0def",
	"interlinear annotation":     "abc\ufff9def",
	"tag character":              "abc\U000e0041def",
	"empty Braille cell":         "abc\u2800def",
	"Hangul initial filler":      "abc\u115fdef",
	"Hangul medial filler":       "abc\u1160def",
	"Khmer inherent vowel":       "abc\u17b4def",
	"Khitan filler":              "abc\U00016fe4def",
	"hieroglyphic blank":         "abc\U00013441def",
	"note without a head":        "abc\U0001d159def",
	"object replacement":         "abc\ufffcdef",
	"variation of nothing":       "\ufe0fabcdef",
	"variation of a space":       "abc \ufe0fdef",
	"variation of a variation":   "abc\ufe0f\ufe0fdef",
	"private use":                "abc\ue000def",
	"replacement character":      "abc\ufffddef",
	"unassigned, ignorable":      "abc\U000e0fffdef",
	"lone continuation byte":     "abc\x80def",
	"truncated sequence":         "abcdef\xc3",
	"overlong encoding":          "abc\xc0\xafdef",
	"surrogate half":             "abc\xed\xa0\x80def",
	"code point beyond U+10FFFF": "abc\xf4\x90\x80\x80def",
}

func TestParseName_rejects(t *testing.T) {
	cases := map[string]string{
		"empty":                    "",
		"blank":                    " \u3000\t ",
		"two characters":           "ab",
		"two, six bytes":           "東京",
		"two after trimming":       "  ab  ",
		"81 characters":            strings.Repeat("x", 81),
		"81 of several bytes":      strings.Repeat("🚀", 81),
		"as long as a body may be": strings.Repeat("x", 64<<10),
	}
	for name, in := range unprintables {
		cases[name] = in
	}
	for name, in := range cases {
		checkRefused(t, name, ErrInvalidName, func() (string, error) { return ParseName(in) })
	}
}

// Whoever has chosen such a name is told which character to replace.
func TestParseName_namesTheWidestCharacter(t *testing.T) {
	_, err := ParseName("Zapier " + strings.Repeat("ﷺ", 40) + "㎢")
	want := `A name cannot have so many characters that stand for several others, such as "ﷺ" (U+FDFA). Write out what they stand for, or use fewer of them.`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestParseOwnerAndReason(t *testing.T) {
	for _, p := range []struct {
		name    string
		parse   func(string) (string, error)
		most    int
		refusal *Error
	}{
		{"ParseOwner", ParseOwner, 80, ErrInvalidOwner},
		{"ParseReason", ParseReason, 500, ErrInvalidReason},
	} {
		for in, want := range map[string]string{
			"": "", " \n ": "", "x": "x", " Ops ": "Ops",
			strings.Repeat("é", p.most): strings.Repeat("é", p.most),
		} {
			if got, err := p.parse(in); err != nil || got != want {
				t.Errorf("%s(%q) = %q, %v, want %q", p.name, in, got, err, want)
			}
		}
		checkRefused(t, p.name+": too long", p.refusal, func() (string, error) { return p.parse(strings.Repeat("é", p.most+1)) })
		for name, in := range unprintables {
			checkRefused(t, p.name+": "+name, p.refusal, func() (string, error) { return p.parse(in) })
		}
	}
}

func checkRefused(t *testing.T, what string, want *Error, parse func() (string, error)) {
	t.Helper()
	got, err := parse()
	if !errors.Is(err, want) || got != "" {
		t.Errorf("%s: got %q, %v, want the refusal %s", what, got, err, want.Code)
		return
	}
	refusal := err.(*Error)
	if refusal.Field != want.Field {
		t.Errorf("%s: got field %q, want %q", what, refusal.Field, want.Field)
	}
	if !utf8.ValidString(refusal.Message) || unprintable(refusal.Message) != "" || refusal.Message == "" {
		t.Errorf("%s: got the message %q, want one that can be printed", what, refusal.Message)
	}
}

func TestIsVague(t *testing.T) {
	for _, name := range []string{
		"test", "Test", "TEST", "test2", "test 2", "test-002", "Test #3", "t.e.s.t", "test!", "(test)",
		"new key", "New Key 2", "key", "Key1", "api key", "API-Key", "api_key_2024", "my key", "My API key",
		"untitled", "Untitled 7", "foo", "xxx", "123", "2024-01-01", "---", "...", "🔑🔑🔑",
		"ｔｅｓｔ", "𝐭𝐞𝐬𝐭", "ⓣⓔⓢⓣ", "test②", "test٣", "  token  ",
	} {
		if !IsVague(name) {
			t.Errorf("IsVague(%q) = false, want true", name)
		}
	}
	for _, name := range []string{
		"Zapier production", "test of the billing import", "Testflight", "contest", "keyring", "monkey", "CI",
		"key for Zapier", "2024 import", "3cx", "東京都", "Ключ от CRM", "परीक्षण",
	} {
		if IsVague(name) {
			t.Errorf("IsVague(%q) = true, want false", name)
		}
	}
}

// Every accepted name can be stored, compared and shown unchanged.
func TestParseName_properties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-zA-Z ]{1,90}`), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "name")
		name, err := ParseName(in)
		if err != nil {
			return
		}
		if n := utf8.RuneCountInString(name); !utf8.ValidString(name) || n < 3 || n > 80 {
			t.Fatalf("ParseName(%q) = %q", in, name)
		}
		if again, err := ParseName(name); err != nil || again != name {
			t.Fatalf("ParseName(%q) = %q, but of that %q, %v", in, name, again, err)
		}
	})
}

// mistyped returns a token with another character in its secret.
func mistyped(token string) string {
	other := "0"
	if token[10] == '0' {
		other = "1"
	}
	return token[:10] + other + token[11:]
}

// A name that is short enough may not be long once it is folded.
func TestParseName_folded(t *testing.T) {
	const many = "\ufdfa" // stands for 18 characters
	if _, err := ParseName("Sync " + strings.Repeat(many, 5)); err != nil {
		t.Errorf("got error %v for a few, want none", err)
	}
	if _, err := ParseName("Sync " + strings.Repeat(many, 72)); !errors.Is(err, ErrInvalidName) {
		t.Errorf("got error %v for many, want %v", err, ErrInvalidName)
	}
	for _, legal := range []string{strings.Repeat("m", 80), strings.Repeat("%", 80), strings.Repeat("औ", 60), strings.Repeat("ش", 80)} {
		if _, err := ParseName(legal); err != nil {
			t.Errorf("ParseName(%q): got error %v, want none", legal, err)
		}
	}
}

func TestValidateWorkspaceID_token(t *testing.T) {
	for _, id := range []string{NewToken("agk").Reveal(), "x" + NewToken("agk").Reveal(), NewFeedToken().Reveal()} {
		if err := ValidateWorkspaceID(id); !errors.Is(err, ErrInvalidWorkspace) {
			t.Errorf("ValidateWorkspaceID(%q) = %v, want %v", id, err, ErrInvalidWorkspace)
		}
	}
}

func TestValidateWorkspaceID(t *testing.T) {
	for _, id := range []string{
		"a", "A", "0", "_", "-", "acme", "Acme-Corp_2.eu", "a.", "a..b", "-.", "123", strings.Repeat("a", 64),
	} {
		if err := ValidateWorkspaceID(id); err != nil {
			t.Errorf("ValidateWorkspaceID(%q) = %v, want nil", id, err)
		}
	}
	for _, id := range []string{
		"", ".", "..", ".a", "a/b", "/a", "a/", `a\b`, "%2e%2e", "a%2fb", "a b", " a", "a ", "a\n", "\x00", "a\x00", "a:b", "a;b",
		"a,b", "a*", "a?b", "a#b", "{a}", "ä", "аcme", "a\xff", "a\u200b", strings.Repeat("a", 65), strings.Repeat("é", 33),
	} {
		if err := ValidateWorkspaceID(id); !errors.Is(err, ErrInvalidWorkspace) {
			t.Errorf("ValidateWorkspaceID(%q) = %v, want %v", id, err, ErrInvalidWorkspace)
		}
	}
}
