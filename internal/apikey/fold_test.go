package apikey

import (
	"strings"
	"testing"
	"unicode"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

func TestFoldName(t *testing.T) {
	same := [][]string{
		{"Zapier production", "ZAPIER PRODUCTION", "zapier Production", "Zapier  production", "Zapier\u00a0production", "Zapier\u3000production"},
		{"Café", "Cafe\u0301", "CAFÉ"},
		{"Straße", "STRASSE", "strasse", "STRAẞE"},
		{"ﬁle sync", "File Sync"},
		{"Ｚａｐｉｅｒ", "Zapier"},
		{"ΟΔΟΣ", "οδος", "οδοσ"},
		{"I ❤️ bots", "I ❤ bots", "I ❤︎ bots"},
		// What looks alike, in one case or the other.
		{"Zapier", "Zаpier", "ΖΑΡΙΕR", "Zap1er", "Zapler", "ZAPIER", "Zap|er"},
		{"Export job 1", "Export job l", "Export job I", "export job i"},
		{"Job 0", "Job O", "Job о", "job ο"},
		{"Modern app", "Modem app"},
		{"НОТ", "HOT", "hot", "нот"},
		{"СОРЕ", "cope", "соре"},
		{"NATO", "ΝΑΤΟ"},
		{"sync-eu", "sync‐eu", "sync‑eu", "sync–eu", "sync−eu"},
		{"カタカナ", "力タ力ナ"},
		{"Zapier\u1680production", "Zapier production"},
	}
	for _, names := range same {
		for _, name := range names[1:] {
			if got, want := FoldName(name), FoldName(names[0]); got != want {
				t.Errorf("FoldName(%q) = %q, want %q as of %q", name, got, want, names[0])
			}
		}
	}
	for _, pair := range [][2]string{
		{"Zapier production", "Zapier-production"},
		{"Zapier production", "Zapierproduction"},
		{"Zapier 1", "Zapier 2"},
		{"cafe", "café"},
		{"👍🏽 bot", "👍 bot"},
		{"Zapier EU", "Zapier US"},
		{"Job 10", "Job 11"},
		{"Ключ от CRM", "Ключи от CRM"},
		{"東京都", "京都"},
	} {
		if FoldName(pair[0]) == FoldName(pair[1]) {
			t.Errorf("%q and %q are folded to the same", pair[0], pair[1])
		}
	}
}

func TestFoldText(t *testing.T) {
	for in, want := range map[string]string{
		"  Zapier\u00a0 PRODUCTION ": "zapier production",
		"Job 10 in Milan":            "job 10 in milan",
		"ＦＩＬＥ ﬁle":                   "file file",
		"❤️":                         "❤",
	} {
		if got := FoldText(in); got != want {
			t.Errorf("FoldText(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestFoldText_ascii: ASCII is folded on a shorter path, to the same text, and so are the
// hints of tokens.
func TestFoldText_ascii(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.RuneFrom(nil, &unicode.RangeTable{R16: []unicode.Range16{{Lo: 0, Hi: unicode.MaxASCII, Stride: 1}, {Lo: '…', Hi: '…', Stride: 1}}})).Draw(t, "text")
		if got, want := FoldText(text), foldUnicode(text); got != want {
			t.Errorf("FoldText(%q): got %q, want %q", text, got, want)
		}
	})
}

// No character is folded without end, to another form when folded again, or to
// so much that a name of them could not be stored.
func TestFoldName_everyCharacter(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if plane := r >> 16; plane > 3 && plane != 14 {
			r += 255 // of the planes without characters, some are enough
		}
		folded := FoldName("a" + string(r) + "b")
		if again := FoldName(folded); again != folded {
			t.Errorf("%U is folded to %q, and that to %q", r, folded, again)
		}
		if len(folded) > 40 {
			t.Errorf("%U is folded to %d bytes", r, len(folded))
		}
	}
}

// No letter of any script tells two names apart by its case.
func TestFoldName_everyLetter(t *testing.T) {
	for r := range rune(unicode.MaxRune) {
		if unicode.SimpleFold(r) == r {
			continue
		}
		want := FoldName(string(r))
		for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
			if got := FoldName(string(other)); got != want {
				t.Errorf("FoldName(%U) = %q, want %q as of %U", other, got, want, r)
			}
		}
	}
}

func TestFoldName_properties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.String().Draw(t, "name")
		folded := FoldName(name)
		if again := FoldName(folded); again != folded {
			t.Fatalf("FoldName(%q) = %q, and folded again %q", name, folded, again)
		}
		for _, form := range []norm.Form{norm.NFC, norm.NFD, norm.NFKC, norm.NFKD} {
			if got := FoldName(form.String(name)); got != folded {
				t.Fatalf("FoldName(%q) = %q, but %q in another normal form", name, folded, got)
			}
		}
	})
}

// FuzzFoldName looks for a text whose folding has no end, or another one when it
// is folded again or written in the other case.
func FuzzFoldName(f *testing.F) {
	for _, seed := range []string{"Zapier production", "Zаpier", "НОТ ΝΑΤΟ", "100% \ufdfa", "I ❤️ bots", "Æ m\u0301|\u0327", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		folded := FoldName(name)
		if again := FoldName(folded); again != folded {
			t.Errorf("FoldName(%q) = %q, and folded again %q", name, folded, again)
		}
		if got := FoldName(FoldText(name)); got != folded {
			t.Errorf("FoldName(%q) = %q, but %q once it is in one case", name, folded, got)
		}
		if parsed, err := ParseName(name); err == nil && (len(FoldName(parsed)) > maxFoldedName || FoldText(parsed) == "") {
			t.Errorf("ParseName(%q) takes what folds to %q", name, FoldName(parsed))
		}
	})
}

// BenchmarkParseName is what the longest names cost that a client can send.
func BenchmarkParseName(b *testing.B) {
	for name, text := range map[string]string{
		"ASCII": strings.Repeat("Zapier 1 ", 8), "Cyrillic": strings.Repeat("ж", 80), "Adlam": strings.Repeat("𞤢", 80), "refused": strings.Repeat("ﷺ", 80),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, _ = ParseName(text)
			}
		})
	}
}

// BenchmarkFoldName is what a change that names a key pays to compare the name;
// FoldText is what a search pays.
func BenchmarkFoldName(b *testing.B) {
	const name = "Zapier production mailing"
	b.Run("FoldName", func(b *testing.B) {
		for b.Loop() {
			FoldName(name)
		}
	})
	b.Run("FoldText", func(b *testing.B) {
		for b.Loop() {
			FoldText(name)
		}
	})
}

// The data that names are folded by is the same in each build that has it.
func TestFoldData(t *testing.T) {
	if first, second := FoldData(), FoldData(); first != second || len(first) != 64 {
		t.Errorf("got %q and %q, want one SHA-256", first, second)
	}
}
