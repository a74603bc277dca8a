package apikey

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// b64token is a second reading of RFC 6750's syntax, that shares nothing with the code
// under test.
var b64token = regexp.MustCompile(`\A[A-Za-z0-9._~+/-]+=*\z`)

func isForeign(s string) bool { return len(s) >= 16 && len(s) <= 512 && b64token.MatchString(s) }

func TestParseAnyToken(t *testing.T) {
	earlier := new(Prefixes)
	earlier.Add("old", "older_one")
	for name, s := range map[string]string{
		"ours":                     withChecksum("agk_" + secret43),
		"ours, of another gateway": withChecksum("elsewhere_" + secret43),
		"a UUID":                   "0190f1c2-8a4e-7c30-b0f5-0e6a3f1d2c4b",
		"with a prefix like ours":  "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
		"base64":                   "c29tZSB0ZXh0IHRoYXQ/aXMrbG9uZw==",
		"a JWT":                    "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2ln",
		"of 16":                    strings.Repeat("a", 16),
		"of 512":                   strings.Repeat("~", 511) + "=",
		"more = than text":         "a===============",
		"a prefix without its _":   "agk-0123456789abcdef",
		"a longer prefix":          "agks_0123456789abcdef",
		"_ in another place":       "xagk_0123456789abcdef",
		"a prefix in upper case":   "AGK_0123456789abcdef",
	} {
		token, ok := ParseAnyToken(s, "agk", earlier)
		if !ok || token.Reveal() != s || token.Digest() != sha256.Sum256([]byte(s)) {
			t.Errorf("%s: ParseAnyToken(%q): got %t and another token", name, s, ok)
		}
	}
	good := withChecksum("agk_" + secret43)
	for name, s := range map[string]string{
		"empty":                      "",
		"of 15":                      strings.Repeat("a", 15),
		"of 513":                     strings.Repeat("a", 513),
		"only =":                     strings.Repeat("=", 20),
		"= within":                   "0123456789=abcdef",
		"space":                      "0123456789 abcdef",
		"tab after":                  "0123456789abcdef\t",
		"line feed":                  "0123456789abcdef\n",
		"NUL":                        "0123456789abcdef\x00",
		"colon":                      "user:0123456789abcdef",
		"comma":                      "0123456789abcdef,0123456789abcdef",
		"quotes":                     `"0123456789abcdef"`,
		"beyond ASCII":               "0123456789abcdéf",
		"full-width":                 "０123456789abcdef",
		"ours, truncated":            good[:len(good)-1],
		"ours, extended":             good + "0",
		"ours, mistyped":             good[:20] + "-" + good[21:],
		"ours, with = after":         good + "==",
		"ours, far too long":         "agk_" + strings.Repeat("a", 300),
		"of an earlier prefix":       "old_" + secret43 + "000000",
		"of a prefix with _":         "older_one_0123456789",
		"an earlier prefix, foreign": "old_0123456789/abc",
	} {
		if token, ok := ParseAnyToken(s, "agk", earlier); ok || token.Reveal() != "" {
			t.Errorf("%s: ParseAnyToken(%q): got %q, want no token", name, s, token.Reveal())
		}
	}
	if _, ok := ParseAnyToken("old_0123456789abcdef", "agk", nil); !ok {
		t.Error("without earlier prefixes: got no token, want a foreign one")
	}
}

func TestParseAnyToken_allocatesNothing(t *testing.T) {
	earlier := new(Prefixes)
	earlier.Add("old", "older_one")
	for _, s := range []string{withChecksum("agk_" + secret43), strings.Repeat("a_", 16), strings.Repeat("a_", 256)} {
		var sink Digest
		if got := testing.AllocsPerRun(100, func() {
			token, _ := ParseAnyToken(s, "agk", earlier)
			sink = token.Digest()
		}); got != 0 {
			t.Errorf("%d characters: got %v allocations, want 0", len(s), got)
		}
		_ = sink
	}
}

// FuzzParseAnyToken compares the parser with its model: what is ours is judged by its
// checksum alone, and all else is foreign or nothing.
func FuzzParseAnyToken(f *testing.F) {
	for _, s := range []string{
		withChecksum("agk_" + secret43), withChecksum("old_" + secret43), "agk_0123456789abcdef", "old_0123456789abcdef",
		"a_b_c_d_e_f_g_h_i_j_k_l_m_n_o_p_q_r", "sk_live_4eC39HqLyjWDarjtT1zdp7dc", "c29tZSB0ZXh0IHRoYXQ/aXMrbG9uZw==", "=", "",
		strings.Repeat("a", 512), strings.Repeat("a", 513), "0123456789abcdef\xff",
	} {
		f.Add(s)
	}
	earlier := new(Prefixes)
	earlier.Add("old", "a_b")
	f.Fuzz(func(t *testing.T, s string) {
		ours := false
		for _, prefix := range []string{"agk_", "old_", "a_b_"} {
			ours = ours || strings.HasPrefix(s, prefix)
		}
		want := isToken(s) || !ours && isForeign(s)
		token, ok := ParseAnyToken(s, "agk", earlier)
		if ok != want || ok && (token.Reveal() != s || token.Digest() != sha256.Sum256([]byte(s))) {
			t.Errorf("ParseAnyToken(%q): got %t, want %t", s, ok, want)
		}
		if _, shown, _ := strings.Cut(token.Hint(), "…"); len(shown) > 4 {
			t.Errorf("the hint of %q shows %q", s, shown)
		}
	})
}

func TestToken_foreignHint(t *testing.T) {
	for s, want := range map[string]string{
		strings.Repeat("a", 19) + "wxyz":                   "…",
		strings.Repeat("a", 20) + "wxyz":                   "…wxyz",
		"sk_live_" + strings.Repeat("a", 20) + "wxyz":      "…wxyz",
		"sk_live_" + strings.Repeat("a", 45) + "wxyz":      "…wxyz", // as long as one of ours
		withChecksum("elsewhere_" + secret43):              "elsewhere_…" + modelChecksum("elsewhere_" + secret43)[2:],
		"c29tZSB0ZXh0IHRoYXQgaXMgbG9uZyBlbm91Z2ggZm9y/w==": "…/w==",
	} {
		token, ok := ParseAnyToken(s, "agk", nil)
		if !ok {
			t.Fatalf("ParseAnyToken(%q) refused a token", s)
		}
		for _, got := range []string{token.Hint(), token.String(), fmt.Sprintf("%#v", token)} {
			if got != want {
				t.Errorf("the hint of %q: got %q, want %q", s, got, want)
			}
		}
	}
}

func TestHintPrefix(t *testing.T) {
	for hint, want := range map[string]string{
		NewToken("agk").Hint():       "agk",
		NewToken("acme_live").Hint(): "acme_live",
		"…wxyz":                      "",
		"…":                          "",
		"":                           "",
		"agk":                        "",
		"agk_wxyz":                   "",
		"AGK_…wxyz":                  "",
		"a much too long hint_…wxyz": "",
	} {
		if got := HintPrefix(hint); got != want {
			t.Errorf("HintPrefix(%q): got %q, want %q", hint, got, want)
		}
	}
}
