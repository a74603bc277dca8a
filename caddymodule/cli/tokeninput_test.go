package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

func TestTokenIn_encodings(t *testing.T) {
	token := apikey.NewToken("agk").Reveal()
	for _, in := range []string{token, "\ufeff" + token + "\r\n"} {
		if got, err := tokenIn(strings.NewReader(in)); got != token || err != nil {
			t.Errorf("of %d bytes: got %v and %t, want the token", len(in), err, got == token)
		}
	}
	if got, err := tokenIn(strings.NewReader("\ufeffsome-other-credential\n")); got != "some-other-credential" || err != nil {
		t.Errorf("got %q, %v, want it without the mark", got, err)
	}
	var wide strings.Builder
	wide.WriteString("\xff\xfe")
	for i := range token {
		wide.WriteString(token[i:i+1] + "\x00")
	}
	if _, err := tokenIn(strings.NewReader(wide.String())); err == nil || !strings.Contains(err.Error(), "UTF-16") {
		t.Errorf("got %v, want UTF-16 named", err)
	}
}

// The whole of a foreign token is read, even where a part of it looks like one of ours.
func TestTokenIn_foreign(t *testing.T) {
	ours := apikey.NewToken("agk").Reveal()
	foreign := "key:" + ours[:52] + "~" // of which no part is a token
	for in, want := range map[string]string{
		"0190f1c2-8a4e-7c30-b0f5-0e6a3f1d2c4b\n": "0190f1c2-8a4e-7c30-b0f5-0e6a3f1d2c4b",
		"x.sk_live_" + strings.Repeat("a", 49):   "x.sk_live_" + strings.Repeat("a", 49),
		"x.sk_live_" + strings.Repeat("a", 60):   "x.sk_live_" + strings.Repeat("a", 60),
		"token/" + ours:                          ours,
		"Bearer " + ours:                         ours,
		foreign:                                  foreign,
	} {
		if got, err := tokenIn(strings.NewReader(in)); got != want || err != nil {
			t.Errorf("%q: got %q, %v, want %q", in, got, err, want)
		}
	}
}

func TestRefuseToken(t *testing.T) {
	const token = "agk_Nlw7AIHMw9BoPOgMM7rooQuETnzxu5piBdz8Ns3X2k53mEzCI"
	for _, c := range []struct {
		what, text string
		refused    bool
	}{
		{"a token", token, true},
		{"two tokens", token + " " + token, true},
		{"a token that was cut short", token[:len(token)-12], true},
		{"a token without its prefix", strings.TrimPrefix(token, "agk_"), true},
		{"a token's last characters", token[len(token)-4:], false},
		{"an id", apikey.NewKeyID(time.Now()), false},
		{"an id with a character too many", apikey.NewKeyID(time.Now()) + "0", false},
		{"a long word", "Donaudampfschifffahrtsgesellschaft", false},
		{"a name", strings.TrimSpace(strings.Repeat("Zapier production ", apikey.MaxName/18)), false},
	} {
		if err := refuseToken(c.text); (err != nil) != c.refused {
			t.Errorf("%s: got %v, want it refused: %t", c.what, err, c.refused)
		}
	}
}

// The key that a server finds has the hint of the token that was sent, unless an import has
// said something else of it.
func TestSameToken(t *testing.T) {
	token, other := apikey.NewToken("agk"), apikey.NewToken("agk")
	for _, tt := range []struct {
		token, hint string
		same        bool
	}{
		{token.Reveal(), token.Hint(), true},
		{token.Reveal(), other.Hint(), other.Hint() == token.Hint()},
		{token.Reveal(), "", true},
		{token.Reveal(), "…x7Qz", true},
		{token.Reveal(), "sk_live_…7dc", true},
		{"0190f1c2-8a4e-7c30-b0f5-0e6a3f1d2c4b", other.Hint(), true},
	} {
		if err := sameToken(tt.token, client.Key{TokenHint: tt.hint}); (err == nil) != tt.same {
			t.Errorf("hint %q: got %v, want the same token: %t", tt.hint, err, tt.same)
		}
	}
}
