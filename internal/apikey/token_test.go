package apikey

import (
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"math/big"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

// tokenForm and modelChecksum are a second reading of what a token is, that shares
// nothing with the code under test.
var tokenForm = regexp.MustCompile(`\A[a-z][a-z0-9_]{0,18}[a-z0-9]_[0-9A-Za-z]{49}\z`)

func modelChecksum(body string) string {
	digits := big.NewInt(int64(crc32.ChecksumIEEE([]byte(body)))).Text(62)
	// big.Int counts 0-9a-zA-Z, a token 0-9A-Za-z.
	swapped := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		}
		return r
	}, digits)
	return strings.Repeat("0", 6-len(swapped)) + swapped
}

func isToken(s string) bool {
	return tokenForm.MatchString(s) && modelChecksum(s[:len(s)-6]) == s[len(s)-6:]
}

// secret43 is the random part of the tokens in these tests.
const secret43 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg"

func withChecksum(body string) string { return body + modelChecksum(body) }

func mustParse(t testing.TB, s string) Token {
	t.Helper()
	token, ok := ParseToken(s)
	if !ok {
		t.Fatalf("ParseToken(%q) refused a well-formed token", s)
	}
	return token
}

func TestNewToken(t *testing.T) {
	for _, prefix := range []string{DefaultPrefix, "ab", "a0", "acme_live", "abcdefghijklmnopqrst"} {
		token := NewToken(prefix).Reveal()
		if !isToken(token) {
			t.Errorf("NewToken(%q) = %q, which is not well-formed", prefix, token)
		}
		if !strings.HasPrefix(token, prefix+"_") {
			t.Errorf("NewToken(%q) = %q, want that prefix", prefix, token)
		}
		if got, want := len(token), len(prefix)+50; got != want {
			t.Errorf("NewToken(%q) has %d characters, want %d", prefix, got, want)
		}
		mustParse(t, token)
	}
	if got := len(NewToken(DefaultPrefix).Reveal()); got != 53 {
		t.Errorf("a default token has %d characters, want 53", got)
	}
	if first, second := NewToken(DefaultPrefix), NewToken(DefaultPrefix); first.Digest() == second.Digest() {
		t.Error("two new tokens are the same")
	}
}

// Every character of the alphabet is as likely as any other: with a plain
// b%62, the first eight would come up a quarter more often.
func TestNewToken_uniform(t *testing.T) {
	const tokens = 20_000
	random := rand.NewChaCha8([32]byte([]byte("the same bytes at every test run")))
	counts := make(map[rune]int)
	for range tokens {
		for _, c := range newToken(DefaultPrefix, random).Reveal()[4:47] {
			counts[c]++
		}
	}
	if got := len(counts); got != 62 {
		t.Fatalf("got %d different characters, want 62", got)
	}
	want := float64(tokens*43) / 62
	var chi2 float64
	for _, n := range counts {
		d := float64(n) - want
		chi2 += d * d / want
	}
	// 61 degrees of freedom: 99.9 % of fair draws stay below 100.9. The bias
	// of b%62 would give more than 10 000.
	if chi2 > 100.9 {
		t.Errorf("chi-square is %.1f, want less than 100.9", chi2)
	}
}

func TestNewToken_noRandomness(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a token was made without random bytes")
		}
	}()
	newToken(DefaultPrefix, strings.NewReader("too few"))
}

// The vectors were computed outside Go (Python's zlib.crc32), so that other
// implementations can check themselves against them too.
func TestChecksum(t *testing.T) {
	for _, want := range []string{
		"agk_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg3a2L9p",
		"agk_000000000000000000000000000000000000000034100TvNF",
		"acme_live_zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz4ZPjXr",
	} {
		body := want[:len(want)-6]
		if sum := checksum(body); body+string(sum[:]) != want {
			t.Errorf("got %s, want %q", sum, want)
		}
		if got := withChecksum(body); got != want {
			t.Errorf("the model says %q, want %q", got, want)
		}
	}
}

func TestToken_Digest(t *testing.T) {
	// echo -n agk_… | sha256sum
	got := mustParse(t, withChecksum("agk_"+secret43)).Digest()
	if want := "40bfada5501795dfdbe23ab464b1613819f89ed086cb74d03966560ca7fb7296"; hex.EncodeToString(got[:]) != want {
		t.Errorf("got %x, want %s", got, want)
	}
}

func TestToken_Hint(t *testing.T) {
	cases := []struct{ token, want string }{
		{withChecksum("agk_" + secret43), "agk_…2L9p"},
		{withChecksum("acme_live_" + secret43), "acme_live_…" + withChecksum("acme_live_" + secret43)[55:]},
	}
	for _, c := range cases {
		if got := mustParse(t, c.token).Hint(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	if got := (Token{}).Hint(); got != "" {
		t.Errorf("the hint of no token is %q, want none", got)
	}
}

func TestValidatePrefix(t *testing.T) {
	for _, prefix := range []string{"agk", "ab", "a1", "acme_live", "a_1", "abcdefghijklmnopqrst"} {
		if err := ValidatePrefix(prefix); err != nil {
			t.Errorf("ValidatePrefix(%q) = %v, want nil", prefix, err)
		}
	}
	for _, prefix := range []string{"", "a", "1a", "_a", "a_", "ab_", "Agk", "aGk", "a-b", "a.b", "a b", "ägk", "ag\n", "abcdefghijklmnopqrstu"} {
		if err := ValidatePrefix(prefix); err == nil {
			t.Errorf("ValidatePrefix(%q) = nil, want an error", prefix)
		} else if !strings.Contains(err.Error(), fmt.Sprintf("%q", prefix)) {
			t.Errorf("ValidatePrefix(%q) = %q, which does not name it", prefix, err)
		}
	}
}
