package apikey

import (
	"strings"
	"testing"
)

func TestTokenFlaw(t *testing.T) {
	token := NewToken(DefaultPrefix).Reveal()
	secret := token[len("agk_"):]
	const (
		around   = "There is more here than the token: leave out what is around it."
		checksum = "This is as long as one, but its checksum does not match: a character is wrong."
	)
	swapped := strings.Map(func(r rune) rune { // letters for letters, digits for digits
		switch {
		case isUpper(byte(r)):
			return r - 'A' + 'a'
		case isLower(byte(r)):
			return r - 'a' + 'A'
		}
		return r
	}, secret)
	for _, test := range []struct{ name, text, want string }{
		{"nothing", "", "This has 0 characters and does not begin with such a prefix and an underscore."},
		{"a word", "hello", "This has 5 characters and does not begin with such a prefix and an underscore."},
		{"cut off", token[:20], "This has 16 after the underscore."},
		{"the last character lost", token[:52], "This has 48 after the underscore."},
		{"one too many", token + "x", "This has 50 after the underscore."},
		{"mistyped", "agk_" + swapped, checksum},
		{"another prefix", "xyz_" + secret, checksum},
		{"a prefix in capitals", "AGK_" + secret, "This has 53 characters and does not begin with such a prefix and an underscore."},
		{"no prefix", secret, "This has 49 characters and does not begin with such a prefix and an underscore."},
		{"a scheme", "Bearer " + token, around},
		{"quotes", "“" + token + "”", around},
		{"a line end", token + "\n", around},
		{"a dash for the underscore", "agk—" + secret, "Character 4 of this is U+2014, which no token has."},
		{"a hyphen for the underscore", "agk-" + secret, "Character 4 of this is '-', which only tokens of imported keys have."},
		{"the name of a header", "X-API-Key: secret", "Character 10 of this is U+003A, which no token has."},
		{"a space within", token[:10] + " " + token[10:], "Character 11 of this is a space."},
		{"no UTF-8", token[:10] + "\xff", "Character 11 of this is U+FFFD, which no token has."},
		{"twice", token + token, "This has 106 characters and does not begin with such a prefix and an underscore."},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := TokenFlaw(test.text)
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if HoldsToken(got) {
				t.Error("the token is in it")
			}
		})
	}
}
