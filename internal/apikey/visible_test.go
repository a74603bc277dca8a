package apikey

import (
	"fmt"
	"testing"
)

func TestVisible(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  "",
		"Zapier 東京 Ops\u0308 – 🏬":           "Zapier 東京 Ops\u0308 – 🏬",
		"\x1b[2J\x1b]0;x\a\r\nline\u009b2J": "\ufffd[2J\ufffd]0;x\ufffd\ufffd\ufffdline\ufffd2J",
		"\u202eevil\u2028\u200b\u00a0":      "\ufffdevil\ufffd\ufffd\ufffd",
		"not UTF-8: \xff":                   "not UTF-8: \ufffd",
	} {
		if got := Visible(text); got != want {
			t.Errorf("Visible(%q): got %q, want %q", text, got, want)
		}
	}
	escape := func(r rune) string { return fmt.Sprintf("<%X>", r) }
	if got, want := ReplaceInvisible("a\tb\u202ec", escape), "a<9>b<202E>c"; got != want {
		t.Errorf("ReplaceInvisible: got %q, want %q", got, want)
	}
}
