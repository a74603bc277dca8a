package apikey

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Which scripts a word may mix follows the level "moderately restrictive" of
// UTS 39, section 5.2: those that Chinese, Japanese and Korean are written in,
// and Latin with one other script, but not with one of those whose letters are
// taken for Latin ones.
var (
	writingSystems = [][]string{
		{"Latin", "Han", "Hiragana", "Katakana"},
		{"Latin", "Han", "Bopomofo"},
		{"Latin", "Han", "Hangul"},
	}
	mixableWithLatin = []string{
		"Arabic", "Armenian", "Bengali", "Bopomofo", "Devanagari", "Ethiopic", "Georgian", "Gujarati", "Gurmukhi", "Han", "Hangul",
		"Hebrew", "Hiragana", "Kannada", "Katakana", "Khmer", "Lao", "Malayalam", "Myanmar", "Oriya", "Sinhala", "Tamil", "Telugu",
		"Thaana", "Thai", "Tibetan",
	}
)

// mixedScripts says which letters of a name make a word that a person would
// read as another one, or "".
func mixedScripts(name string) string {
	words := strings.FieldsFunc(name, func(r rune) bool { return !unicode.In(r, unicode.L, unicode.M, unicode.N) })
	for _, word := range words {
		if problem := mixedWord(word); problem != "" {
			return problem
		}
	}
	return ""
}

func mixedWord(word string) string {
	var scripts []string
	var first rune
	for _, r := range word {
		if slices.ContainsFunc(scripts, func(name string) bool { return unicode.Is(unicode.Scripts[name], r) }) {
			continue
		}
		script := scriptOf(r)
		if script == "" {
			continue
		}
		if scripts = append(scripts, script); len(scripts) == 1 {
			first = r
		}
		if !mayMix(scripts) {
			return fmt.Sprintf(`"%s" has the %s letter "%c" (%U) and the %s letter "%c" (%U)`, word, scripts[0], first, first, script, r, r)
		}
	}
	return ""
}

func mayMix(scripts []string) bool {
	if len(scripts) == 1 {
		return true
	}
	if len(scripts) == 2 {
		if at := slices.Index(scripts, "Latin"); at >= 0 && slices.Contains(mixableWithLatin, scripts[1-at]) {
			return true
		}
	}
	return slices.ContainsFunc(writingSystems, func(language []string) bool {
		return !slices.ContainsFunc(scripts, func(script string) bool { return !slices.Contains(language, script) })
	})
}

// scriptOf returns the script that a letter belongs to, or "" if several share
// it.
func scriptOf(r rune) string {
	switch {
	case unicode.Is(unicode.Latin, r):
		return "Latin"
	case unicode.In(r, unicode.Common, unicode.Inherited):
		return ""
	}
	for name, table := range unicode.Scripts {
		if unicode.Is(table, r) {
			return name
		}
	}
	return ""
}
