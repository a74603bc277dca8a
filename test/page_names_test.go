package test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// taken reports whether the server takes a name.
func taken(name string) bool {
	_, err := apikey.ParseName(name)
	return err == nil && !apikey.IsVague(name)
}

// TestPage_names verifies that the page says of a name and of a token, while they are
// typed, what the server would say of them.
func TestPage_names(t *testing.T) {
	t.Parallel()
	s := start(t, pageConfig)
	b := newTab(t)
	b.open(s.page())
	b.sees("Choose a workspace")
	t.Run("names", func(t *testing.T) { testNames(t, b) })
	t.Run("every character", func(t *testing.T) { testEveryCharacter(t, b) })
	t.Run("tokens", func(t *testing.T) { testTokens(t, b) })
	t.Run("addresses", func(t *testing.T) { testAddresses(t, b) })
}

// judge has the page judge texts, by a function of what its modules export.
func judge[T any](b *tab, judgement string, texts any) T {
	b.t.Helper()
	given, err := json.Marshal(texts)
	must(b.t, err)
	vague, err := json.Marshal(apikey.VagueNames())
	must(b.t, err)
	return eval[T](b, fmt.Sprintf(`(async (texts, vague) => {
		const {problemOf} = await import("./page/names.js");
		const {holdsToken, inAddress, tokenIn} = await import("./page/tokens.js");
		return texts.map(%s);
	})(%s, %s)`, judgement, given, vague))
}

func testNames(t *testing.T, b *tab) {
	const vague = "nothing about what uses"
	token := apikey.NewToken("agk").Reveal()
	tests := []struct {
		name, said string
		taken      bool
	}{
		{"Zapier production", "", true},
		{"ab", "at least 3", false},
		{" \t ab \u3000", "at least 3", false},
		{"\u0085 Ops\u00a0x \u0085", "", true},
		{"東京", "at least 3", false},
		{"東京都", "", true},
		{"Love ❤️ bot 👍🏽 🇩🇪 1️⃣", "", true},
		{"جدول المبيعات", "", true},
		{strings.Repeat("x", 81), "at most 80 characters. This one has 81", false},
		{"  " + strings.Repeat("x", 80) + "  ", "", true},
		{strings.Repeat("🚀b", 40), "", true},
		{strings.Repeat("🚀", 81), "at most 80 characters. This one has 81", false},
		{"abc", vague, false},
		{"Test 12", vague, false},
		{"- new_key -", vague, false},
		{"123", vague, false},
		{"test bench", "", true},
		{"<script>alert(1)</script>", "", true},
		{"abc\u200bdef", "U+200B", false},
		{"abc\u202edef", "U+202E", false},
		{"\ufeffabcdef", "U+FEFF", false},
		{"abc\ue000def", "U+E000", false},
		{"abc\tdef", "U+0009", false},
		{"abc\u3164def", "U+3164", false},
		{"abc\u2800def", "U+2800", false},
		{"abc\U0001d159def", "U+1D159", false},
		// Which scripts a word mixes is for the server to find.
		{"Z\u0430pier", "", false},
		{token, "This is a token", false},
		{"Zapier (" + token + ")", "This is a token", false},
		{mistyped(token), "This is a token", false},
		{token[:len(token)-6], "This is a token", false},
		{token[:len(token)-7], "", true},
		// Which letters these are is a matter of folding, and so for the server.
		{"ＴＥＳＴ ２", "", false},
		{"test ٣", "", false},
		{"🚀🚀🚀", "", false},
		{"te\u0345st", "", true},
		{"te\ufe00\u0301st", "", true},
	}
	var names []string
	for _, tt := range tests {
		names = append(names, tt.name)
	}
	judged := judge[[]string](b, `(name) => problemOf(name, vague)`, names)
	if len(judged) != len(tests) {
		t.Fatalf("got %d verdicts, want %d", len(judged), len(tests))
	}
	for i, got := range judged {
		tt := tests[i]
		if (tt.said == "") != (got == "") || !strings.Contains(got, tt.said) {
			t.Errorf("%q: the page says %q, want %q", tt.name, got, tt.said)
		}
		if taken(tt.name) != tt.taken {
			t.Errorf("%q: that the server takes it is %t, want %t", tt.name, taken(tt.name), tt.taken)
		}
	}
}

// mistyped returns a token with a wrong checksum.
func mistyped(token string) string {
	wrong := "0"
	if strings.HasSuffix(token, wrong) {
		wrong = "1"
	}
	return token[:len(token)-1] + wrong
}

// What the server takes, the page never refuses, whichever version of Unicode the
// browser has. The other way round it may: the server refuses then.
func testEveryCharacter(t *testing.T, b *tab) {
	planes := [][2]rune{{0, 0xd7ff}, {0xe000, 0x2ffff}, {0xe0000, 0xe0fff}} // without those where nothing is
	for _, around := range [][2]string{{"abc", "def"}, {"te", "st"}} {
		refused := judge[[]string](b, fmt.Sprintf(`([first, last]) => Array.from({length: last - first + 1},
			(_, i) => (problemOf(%q + String.fromCodePoint(first + i) + %q, vague) ? "x" : ".")).join("")`, around[0], around[1]), planes)
		for i, plane := range planes {
			for at, verdict := range refused[i] {
				name := around[0] + string(plane[0]+rune(at)) + around[1]
				if verdict == 'x' && taken(name) {
					t.Errorf("%+q: the page refuses it, and the server takes it", name)
				}
			}
		}
		if !strings.Contains(refused[0], "x") {
			t.Errorf("%s…%s: the page refuses nothing", around[0], around[1])
		}
	}
}

func testTokens(t *testing.T, b *tab) {
	agk, live := apikey.NewToken("agk").Reveal(), apikey.NewToken("live_key").Reveal()
	longest, feed := apikey.NewToken(strings.Repeat("z", 20)).Reveal(), apikey.NewFeedToken().Reveal()
	tests := []struct {
		text  string
		holds bool
		last  string // what the search makes of it
	}{
		{agk, true, hint(agk)},
		{live, true, hint(live)},
		{longest, true, hint(longest)},
		{"Bearer " + agk, true, hint(agk)},
		{"key=" + agk + ", prod", true, hint(agk)},
		{"x1" + agk, true, hint(agk)},
		{agk + "_2", true, hint(agk)},
		{mistyped(agk) + " " + agk, true, hint(mistyped(agk))},
		{mistyped(agk), true, hint(mistyped(agk))},
		{agk + "x", true, hint(agk)},
		{feed, true, hint(feed)},
		// Without its last characters it can be completed by its checksum.
		{agk[:52], true, hint(agk[:52])},
		{agk[:47], true, hint(agk[:47])},
		// What nothing keeps the server from taking, no address should have.
		{agk[:30], false, hint(agk[:30])},
		{agk[4:], false, hint(agk)},
		{strings.Replace(agk, "_", "%5F", 1), false, hint(agk)},
		{agk[:20] + " " + agk[20:], false, hint(agk)},
		// What people search for is left alone.
		{"Leaked token agk_…x7Qz", false, ""},
		{"Donaudampfschifffahrtsgesellschaft", false, ""},
		{"Integration 070 of the warehouse 12", false, ""},
		{apikey.NewKeyID(time.Now()), false, ""},
		{apikey.NewKeyID(time.Now())[:24], false, ""},
	}
	var cases []struct{ Text, Redacted, Last string } // that apikey goes through too
	content, err := os.ReadFile("../internal/apikey/testdata/tokens.json")
	must(t, err)
	must(t, json.Unmarshal(content, &cases))
	for _, c := range cases {
		tests = append(tests, struct {
			text  string
			holds bool
			last  string
		}{c.Text, c.Redacted != c.Text, c.Last})
	}
	var texts []string
	for _, tt := range tests {
		texts = append(texts, tt.text)
	}
	holds := judge[[]bool](b, `(words) => holdsToken(words)`, texts)
	lasts := judge[[]string](b, `(words) => tokenIn(words)`, texts)
	for i, tt := range tests {
		if _, err := apikey.ParseReason(tt.text); holds[i] != tt.holds || holds[i] != (err != nil) {
			t.Errorf("%q: got %t for a token in it, want %t; the server says %v", tt.text, holds[i], tt.holds, err)
		}
		if lasts[i] != tt.last {
			t.Errorf("%q: got the last characters %q, want %q", tt.text, lasts[i], tt.last)
		}
	}
}

// hint returns the last characters of a token, by which people find it.
func hint(token string) string { return token[len(token)-4:] }

// No address has what may be a token, ours or that of another program; what people search
// for is left alone.
func testAddresses(t *testing.T, b *tab) {
	type address struct{ Text, Address string }
	var tests []address // that the command line goes through too
	content, err := os.ReadFile("testdata/addresses.json")
	must(t, err)
	must(t, json.Unmarshal(content, &tests))
	agk := apikey.NewToken("agk").Reveal()
	tests = append(tests,
		address{agk, hint(agk)},
		address{agk[:30], hint(agk[:30])},
		address{"0190f1c2%2D8a4e%2d7c30%2Db0f5%2D0e6a3f1d2c4b", "2c4b"},
		address{"0190f1c2-8a4e\u200b-7c30-b0f5", "b0f5"},
	)
	var texts []string
	for _, tt := range tests {
		texts = append(texts, tt.Text)
	}
	for i, got := range judge[[]string](b, `(words) => inAddress(words)`, texts) {
		if got != tests[i].Address {
			t.Errorf("%q: got %q in an address, want %q", tests[i].Text, got, tests[i].Address)
		}
	}
}
