package apikey

import (
	"strings"
	"testing"
)

func TestParseToken(t *testing.T) {
	for _, prefix := range []string{DefaultPrefix, "ab", "z9", "a_b", "a__b", "old_prefix_2", "abcdefghijklmnopqrst"} {
		s := withChecksum(prefix + "_" + secret43)
		if got := mustParse(t, s).Reveal(); got != s {
			t.Errorf("ParseToken(%q).Reveal() = %q", s, got)
		}
	}
}

func TestParseToken_rejects(t *testing.T) {
	good := withChecksum("agk_" + secret43)
	mustParse(t, good)
	cases := map[string]string{
		"empty":                        "",
		"prefix alone":                 "agk_",
		"no prefix":                    withChecksum("_" + secret43),
		"prefix of one letter":         withChecksum("a_" + secret43),
		"prefix of 21":                 withChecksum("abcdefghijklmnopqrstu_" + secret43),
		"prefix of a digit":            withChecksum("1gk_" + secret43),
		"prefix begins with _":         withChecksum("_agk_" + secret43),
		"prefix ends in _":             withChecksum("agk__" + secret43),
		"prefix in upper case":         withChecksum("AGK_" + secret43),
		"prefix with a hyphen":         withChecksum("a-k_" + secret43),
		"prefix beyond ASCII":          withChecksum("ägk_" + secret43),
		"hyphen for the underscore":    withChecksum("agk-" + secret43),
		"no underscore":                withChecksum("agk" + secret43),
		"secret of 42":                 withChecksum("agk_" + secret43[1:]),
		"secret of 44":                 withChecksum("agk_A" + secret43),
		"truncated":                    good[:len(good)-1],
		"without its first character":  good[1:],
		"extended":                     good + "0",
		"space before":                 " " + good,
		"space after":                  good + " ",
		"line feed after":              good + "\n",
		"NUL after":                    good + "\x00",
		"twice":                        good + good,
		"two, comma between":           good + "," + good,
		"in quotes":                    `"` + good + `"`,
		"upper case":                   strings.ToUpper(good),
		"lower case":                   strings.ToLower(good),
		"dash in the secret":           withChecksum("agk_-" + secret43[1:]),
		"full-width digit":             withChecksum("agk_0" + secret43[3:]),
		"Cyrillic letter":              withChecksum("agk_А" + secret43[2:]),
		"invalid UTF-8":                withChecksum("agk_\xff" + secret43[1:]),
		"checksum of another prefix":   "agk_" + secret43 + modelChecksum("agj_"+secret43),
		"checksum of the secret alone": "agk_" + secret43 + modelChecksum(secret43),
		"checksum of zeros":            "agk_" + secret43 + "000000",
		"longer than a header":         strings.Repeat("a", 1<<16),
	}
	for name, s := range cases {
		if token, ok := ParseToken(s); ok || token.Reveal() != "" {
			t.Errorf("%s: ParseToken(%q) = %q, %t, want no token", name, s, token.Reveal(), ok)
		}
	}
}

// A CRC finds every error within 32 bits: no single typing error, no flipped
// case and no two swapped neighbours get past it.
func TestParseToken_typingErrors(t *testing.T) {
	good := withChecksum("agk_" + secret43)
	reject := func(s string) {
		t.Helper()
		if _, ok := ParseToken(s); ok && s != good {
			t.Errorf("ParseToken(%q) accepted a typing error", s)
		}
	}
	for i := range len(good) {
		for c := range 256 {
			changed := []byte(good)
			changed[i] = byte(c)
			reject(string(changed))
		}
		reject(good[:i] + good[i+1:])
		reject(good[:i] + "0" + good[i:])
		if i > 0 {
			swapped := []byte(good)
			swapped[i-1], swapped[i] = swapped[i], swapped[i-1]
			reject(string(swapped))
		}
	}
}

func TestParseToken_allocatesNothing(t *testing.T) {
	s := withChecksum("agk_" + secret43)
	var sink Digest
	if got := testing.AllocsPerRun(100, func() {
		token, _ := ParseToken(s)
		sink = token.Digest()
	}); got != 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
	_ = sink
}

// FuzzParseToken looks for a string that the parser and an independent reading
// of the form judge differently. As few strings have a right checksum, each is
// also tried with one put on.
func FuzzParseToken(f *testing.F) {
	f.Add(withChecksum("agk_" + secret43))
	f.Add(withChecksum("ab_" + secret43))
	f.Add(withChecksum("abcdefghijklmnopqrst_" + secret43))
	f.Add("agk_" + secret43)
	f.Add("agk__" + secret43)
	f.Add("1gk_" + secret43)
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		for _, s := range []string{s, withChecksum(s)} {
			token, ok := ParseToken(s)
			if want := isToken(s); ok != want {
				t.Errorf("ParseToken(%q) = %t, want %t", s, ok, want)
			}
			if ok && token.Reveal() != s || !ok && token.Reveal() != "" {
				t.Errorf("ParseToken(%q) holds %q", s, token.Reveal())
			}
		}
	})
}

func BenchmarkParseToken(b *testing.B) {
	s := withChecksum("agk_" + secret43)
	b.ReportAllocs()
	for b.Loop() {
		token, ok := ParseToken(s)
		if !ok || token.Digest() == (Digest{}) {
			b.Fatal("refused")
		}
	}
}
