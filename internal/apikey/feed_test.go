package apikey

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestFeedToken(t *testing.T) {
	token := NewFeedToken()
	text := token.Reveal()
	if len(text) != 47 || !strings.HasPrefix(text, "cal_") {
		t.Fatalf("got the feed token %q, want cal_ and 43 characters", text)
	}
	parsed, ok := ParseFeedToken(text)
	if !ok || parsed.Digest() != token.Digest() {
		t.Errorf("got %v and another digest, want the feed token back", ok)
	}
	if NewFeedToken().Reveal() == text {
		t.Error("got one feed token twice")
	}
	if _, ok := ParseToken(text); ok {
		t.Error("a feed token was taken for the token of a key")
	}
	if _, ok := ParseFeedToken(NewToken("cal").Reveal()); ok {
		t.Error("the token of a key was taken for a feed token")
	}
}

func TestParseFeedToken_refused(t *testing.T) {
	good := NewFeedToken().Reveal()
	for _, s := range []string{
		"", "cal_", good[4:], good[:46], good + "0", "CAL_" + good[4:], " " + good, good[:46] + "-", good[:46] + "\x00", good[:45] + "é",
	} {
		if _, ok := ParseFeedToken(s); ok {
			t.Errorf("%q was taken for a feed token", s)
		}
	}
}

func TestFeedToken_redactsItself(t *testing.T) {
	token := NewFeedToken()
	encoded, err := json.Marshal(map[string]any{"token": token})
	if err != nil {
		t.Fatal(err)
	}
	shown := string(encoded) + fmt.Sprintf("%s %v %+v %#v %q %x %d", token, token, struct{ T FeedToken }{token}, token, token, token, token)
	if strings.Contains(shown, token.Reveal()[4:]) || strings.Contains(shown, fmt.Sprintf("%x", token.Reveal()[4:])) {
		t.Errorf("got %s, want no feed token in it", shown)
	}
}
