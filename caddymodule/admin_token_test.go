package caddymodule

import "testing"

// TestAdmin_tokenFile holds that a byte-order mark and a line's end are no part
// of the token, which clients present without them.
func TestAdmin_tokenFile(t *testing.T) {
	got, err := (&Admin{TokenFile: "testdata/tokens/marked"}).token()
	if want := "admin-token-for-tests"; got != want || err != nil {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}
