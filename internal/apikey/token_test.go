package apikey

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math/big"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
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

func TestToken_neverPrintsItself(t *testing.T) {
	neverPrintsItself(t, mustParse(t, withChecksum("agk_"+secret43)))
	foreign, _ := ParseAnyToken("0190f1c2-8a4e-7c30-b0f5-0e6a3f1d2c4b", DefaultPrefix, nil)
	neverPrintsItself(t, foreign)
}

func neverPrintsItself(t *testing.T, token Token) {
	t.Helper()
	secret := token.Reveal()

	type exported struct{ Token Token }
	type unexported struct{ token Token }
	type nested struct {
		inner *unexported
		list  []Token
		named map[string]Token
		any   any
	}
	values := map[string]any{
		"itself":            token,
		"pointer":           &token,
		"exported field":    exported{token},
		"unexported field":  unexported{token},
		"pointer to struct": &unexported{token},
		"nested":            nested{&unexported{token}, []Token{token}, map[string]Token{"t": token}, token},
		"slice":             []Token{token},
		"array":             [1]Token{token},
		"map value":         map[string]Token{"t": token},
		"map key":           map[Token]bool{token: true},
		"error":             fmt.Errorf("refusing %v", token),
		"wrapped error":     fmt.Errorf("doing it: %w", fmt.Errorf("with %+v", unexported{token})),
		"joined errors":     errors.Join(fmt.Errorf("%s", token), fmt.Errorf("%#v", exported{token})),
	}
	for name, value := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%#x", "%d", "%b", "%c", "%U", "%p", "%t", "%e", "%60v", "%.60s"} {
			refuseSecret(t, name+" by "+verb, fmt.Sprintf(verb, value), secret)
		}
		refuseSecret(t, name+" by Print", fmt.Sprint(value)+fmt.Sprintln(value), secret)

		if encoded, err := json.Marshal(value); err == nil {
			refuseSecret(t, name+" as JSON", string(encoded), secret)
		}

		var out bytes.Buffer
		slog.New(slog.NewTextHandler(&out, nil)).Error("x", "value", value)
		slog.New(slog.NewJSONHandler(&out, nil)).Error("x", "value", value)
		refuseSecret(t, name+" by slog", out.String(), secret)

		for _, encoder := range []zapcore.Encoder{
			zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()),
			zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()),
		} {
			var out bytes.Buffer
			log := zap.New(zapcore.NewCore(encoder, zapcore.AddSync(&out), zap.DebugLevel))
			log.Error("x", zap.Any("any", value), zap.Reflect("reflect", value))
			log.Sugar().Errorw("x", "value", value)
			log.Sugar().Errorf("%v %+v", value, value)
			refuseSecret(t, name+" by zap", out.String(), secret)
		}
	}
}

// What is shown instead is the hint, so that a log still says which token it
// was.
func TestToken_showsItsHint(t *testing.T) {
	token := mustParse(t, withChecksum("agk_"+secret43))
	encoded, err := json.Marshal(token)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{
		fmt.Sprint(token), fmt.Sprintf("%s", token), fmt.Sprintf("%x", token), fmt.Sprintf("%#v", token),
		token.String(), token.LogValue().String(), strings.Trim(string(encoded), `"`),
	} {
		if got != token.Hint() {
			t.Errorf("got %q, want %q", got, token.Hint())
		}
	}
}

// refuseSecret fails if the secret, or more of it than a hint has, can be read
// in what was printed, in any of the ways in which Go prints bytes.
func refuseSecret(t *testing.T, where, printed, secret string) {
	t.Helper()
	part := secret[10:30]
	var decimal []string
	for _, b := range []byte(part) {
		decimal = append(decimal, fmt.Sprint(b))
	}
	forms := []string{
		part,
		hex.EncodeToString([]byte(part)),
		fmt.Sprintf("% x", part),
		fmt.Sprintf("%#x", part)[2:],
		base64.RawStdEncoding.EncodeToString([]byte(part))[:20],
		strings.Join(decimal, " "),
		strings.Join(decimal, ","),
	}
	if slices.ContainsFunc(forms, func(form string) bool {
		return strings.Contains(strings.ToLower(printed), strings.ToLower(form))
	}) {
		t.Errorf("%s: the token can be read in %q", where, printed)
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
