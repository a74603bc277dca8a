package apikey

import (
	"errors"
	"strings"
	"testing"
)

// A token that somebody pasted into the wrong field must not be kept.
func TestParseName_refusesToken(t *testing.T) {
	token := NewToken("agk").Reveal()
	for _, text := range []string{token, "Zapier " + token, "(" + token + ")", "key=" + token + ", prod", NewToken("live_key").Reveal()} {
		if _, err := ParseName(text); !errors.Is(err, ErrInvalidName) {
			t.Errorf("a name with a token: got %v, want it refused", err)
		}
		if _, err := ParseOwner(text); !errors.Is(err, ErrInvalidOwner) {
			t.Errorf("an owner with a token: got %v, want it refused", err)
		}
		_, err := ParseReason(text)
		if !errors.Is(err, ErrInvalidReason) {
			t.Errorf("a reason with a token: got %v, want it refused", err)
		} else if strings.Contains(err.Error(), token) {
			t.Error("the refusal repeats the token")
		}
	}
	for _, text := range []string{"agk_ and 53 characters", "Leaked token agk_…x7Qz", token[:46], token[4:]} {
		if _, err := ParseReason(text); err != nil {
			t.Errorf("a reason without a token: got %v, want it taken", err)
		}
	}
}
