package apikey

import (
	"strings"
	"unicode"
)

// Visible returns a text with U+FFFD for every character that a person would not see,
// or that a terminal or the reader of a log would obey.
func Visible(s string) string {
	return ReplaceInvisible(s, func(rune) string { return string(unicode.ReplacementChar) })
}

// ReplaceInvisible returns a text with what instead returns for every such character.
func ReplaceInvisible(s string, instead func(rune) string) string {
	var out strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			out.WriteRune(r)
		} else {
			out.WriteString(instead(r))
		}
	}
	return out.String()
}
