package apikey

import (
	"strings"
	"testing"
)

func TestPublicURL(t *testing.T) {
	token := NewToken("agk").Reveal()
	for reported, want := range map[string]string{
		"https://github.com/acme/x/blob/main/a.sh#L3":     "https://github.com/acme/x/blob/main/a.sh#L3",
		"http://example.com/":                             "http://example.com/",
		"https://example.com/?key=" + token:               "https://example.com/?key=[a token]",
		"":                                                "",
		"javascript:alert(1)":                             "",
		"/relative":                                       "",
		"https://user:password@example.com/":              "",
		"https://example.com/\u202e":                      "https://example.com/%E2%80%AE",
		"https://example.com/ a":                          "https://example.com/%20a",
		"https://example.com/\n":                          "",
		"https://example.com/" + strings.Repeat("a", 500): "",
	} {
		if got := PublicURL(reported); got != want {
			t.Errorf("%q: got %q, want %q", reported, got, want)
		}
	}
	if _, err := ParseReason(LeakReason("https://example.com/" + strings.Repeat("a", maxPublicURL-20))); err != nil {
		t.Errorf("the longest reason: got %v, want it accepted", err)
	}
}
