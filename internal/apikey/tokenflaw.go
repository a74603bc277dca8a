package apikey

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// TokenFlaw says what is wrong with a text that is not a token, so that the person who
// copied or typed it can see what happened. It does not repeat the text.
func TokenFlaw(s string) string {
	if tokens := FindTokens(s); len(tokens) == 1 && tokens[0] != s && wellFormed(tokens[0]) {
		return "There is more here than the token: leave out what is around it."
	}
	position, imported := 0, 0
	for _, r := range s {
		position++
		switch {
		case r < utf8.RuneSelf && (isAlphanumeric(byte(r)) || r == '_'):
		case r == ' ':
			return fmt.Sprintf("Character %d of this is a space.", position)
		case !strings.ContainsRune("-._~+/=", r):
			return fmt.Sprintf("Character %d of this is %U, which no token has.", position, r)
		case imported == 0:
			imported = position
		}
	}
	if imported > 0 {
		return fmt.Sprintf("Character %d of this is %q, which only tokens of imported keys have.", imported, []rune(s)[imported-1])
	}
	split := strings.LastIndexByte(s, '_')
	if split < 0 || !validPrefix(s[:split]) {
		return fmt.Sprintf("This has %d characters and does not begin with such a prefix and an underscore.", position)
	}
	if length := len(s) - split - 1; length != secretLength+checksumLength {
		return fmt.Sprintf("This has %d after the underscore.", length)
	}
	return "This is as long as one, but its checksum does not match: a character is wrong."
}
