package caddymodule

import (
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// TestAdmin_tokenFile: a byte-order mark and a line end are not part of the token,
// because clients present it without them.
func TestAdmin_tokenFile(t *testing.T) {
	got, err := (&Admin{TokenFile: "testdata/tokens/marked"}).token()
	if want := "admin-token-for-tests"; got != want || err != nil {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// TestAdmin_shortToken verifies that a token that is easily guessed is accepted with a
// warning that says which mount has it, and not what it is.
func TestAdmin_shortToken(t *testing.T) {
	for _, test := range []struct {
		token string
		want  int // warnings
	}{
		{"abc", 1},
		{strings.Repeat("0", 31), 1},
		{strings.Repeat("0", 32), 0},
	} {
		core, logged := observer.New(zapcore.WarnLevel)
		h := Admin{BasePath: "/settings/api", Token: test.token}
		if err := h.readToken(zap.New(core)); err != nil {
			t.Fatalf("%d characters: got %v, want no error", len(test.token), err)
		}
		warnings := logged.TakeAll()
		if len(warnings) != test.want {
			t.Fatalf("%d characters: got %d warnings, want %d", len(test.token), len(warnings), test.want)
		}
		for _, warning := range warnings {
			got := warning.ContextMap()
			if got["base_path"] != "/settings/api" || got["characters"] != int64(len(test.token)) || len(got) != 2 {
				t.Errorf("%d characters: got %v, want the base_path and the number of characters alone", len(test.token), got)
			}
		}
	}
}
