package apikey

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestTokenPattern goes through testdata/tokens.json. The Settings page has to make the
// same of these texts, and package admin/client of what could be an id.
func TestTokenPattern(t *testing.T) {
	content, err := os.ReadFile("testdata/tokens.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name, Text, Redacted string
		Whole                []string
	}
	if err := json.Unmarshal(content, &cases); err != nil || len(cases) == 0 {
		t.Fatalf("got %d cases, error %v, want some", len(cases), err)
	}
	for _, test := range cases {
		if got := RedactTokens(test.Text); got != test.Redacted {
			t.Errorf("%s: RedactTokens: got %q, want %q", test.Name, got, test.Redacted)
		}
		if got, want := HoldsToken(test.Text), test.Redacted != test.Text; got != want {
			t.Errorf("%s: HoldsToken: got %t, want %t", test.Name, got, want)
		}
		if got := append([]string{}, FindTokens(test.Text)...); !reflect.DeepEqual(got, test.Whole) {
			t.Errorf("%s: FindTokens: got %q, want %q", test.Name, got, test.Whole)
		}
	}
}

// The pattern has the lengths that tokens have.
func TestTokenPattern_lengths(t *testing.T) {
	if want := fmt.Sprintf(`[a-z][a-z0-9_]{0,%d}[a-z0-9]_([0-9A-Za-z]{%d,})\w*`, maxPrefix-minPrefix, secretLength); TokenPattern != want {
		t.Errorf("got %s, want %s", TokenPattern, want)
	}
}

// A token is found whatever precedes or follows it.
func TestHoldsToken(t *testing.T) {
	token, long, feed := NewToken("agk").Reveal(), NewToken("live_keys_of_somebod").Reveal(), NewFeedToken().Reveal()
	for _, text := range []string{
		token, long, feed, "Bearer " + token, token + "x", token + "_x", "x" + token, "x_" + token, "A" + token + "Z9", feed + "x", "x" + feed,
		token[:50] + token, "é" + token + "é", token[:52], token[:47], mistyped(token), feed[:47],
	} {
		if !HoldsToken(text) {
			t.Errorf("HoldsToken(%q) = false, want true", text)
		}
	}
	for _, text := range []string{"", "_", token[4:], token[:46], strings.ToUpper(token), feed[4:], feed[:46], strings.Repeat("_", 500), strings.Repeat("a", 500)} {
		if HoldsToken(text) {
			t.Errorf("HoldsToken(%q) = true, want false", text)
		}
	}
}
