package apikey

import "regexp"

// TokenPattern finds what looks like a token of a key or of a calendar feed in a text:
// a prefix, an underscore, at least as many characters as a secret has, and the rest of
// the word, which may be a second token. It asks for no checksum: a token that was cut
// short within its own can be completed by anybody, and that of a feed has none. Its
// group is the secret with what may be a checksum.
//
// The Settings page and package admin/client have the same pattern: testdata/tokens.json
// has what each of them has to make of some texts.
const TokenPattern = `[a-z][a-z0-9_]{0,18}[a-z0-9]_([0-9A-Za-z]{43,})\w*`

var tokenLike = regexp.MustCompile(TokenPattern)

// HoldsToken reports whether a text contains a token, whatever precedes or follows
// it. Nothing that is stored or shown may contain one.
func HoldsToken(s string) bool { return tokenLike.MatchString(s) }

// RedactTokens returns a text with a placeholder for each token in it.
func RedactTokens(s string) string { return tokenLike.ReplaceAllLiteralString(s, "[a token]") }

// FindTokens returns what in a text is as long as the whole token of a key. It says
// nothing of checksums.
func FindTokens(s string) (tokens []string) {
	for _, at := range tokenLike.FindAllStringSubmatchIndex(s, -1) {
		if begin, secret, end := at[0], at[2], at[3]; end-secret == secretLength+checksumLength {
			tokens = append(tokens, s[begin:end])
		}
	}
	return tokens
}
