package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"testing"

	"github.com/spf13/cobra"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// The command line and the Settings page keep the same texts out of addresses.
func TestInAddress(t *testing.T) {
	content, err := os.ReadFile("../../test/testdata/addresses.json")
	if err != nil {
		t.Fatal(err)
	}
	var tests []struct{ Name, Text, Address string }
	if err := json.Unmarshal(content, &tests); err != nil || len(tests) == 0 {
		t.Fatalf("got %d texts, error %v, want some", len(tests), err)
	}
	for _, tt := range tests {
		if got := inAddress(tt.Text); got != tt.Address {
			t.Errorf("%s: %q: got %q in an address, want %q", tt.Name, tt.Text, got, tt.Address)
		}
	}
}

// A shell that completes a token in place of an id asks the server nothing.
func TestKeyIDs_foreignToken(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked++ }))
	defer server.Close()
	group := &cobra.Command{Use: "api-keys"}
	addCommands(group, nil)
	show, _, err := group.Find([]string{"show"})
	if err != nil {
		t.Fatal(err)
	}
	if err := show.ParseFlags([]string{"--address", server.Listener.Addr().String()}); err != nil {
		t.Fatal(err)
	}
	keyIDs(show, nil, "0190f1c2-8a4e-7c30-b0f5-0e6a3f1d2c4b")
	if asked != 0 {
		t.Errorf("got %d requests for a token, want none", asked)
	}
	keyIDs(show, nil, "key_01M85PQ3XS81J")
	if asked != 1 {
		t.Errorf("got %d requests for part of an id, want 1", asked)
	}
}

// A token in place of an id is not searched for.
func TestUnknownKey_foreignToken(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.String())
		w.WriteHeader(http.StatusNotFound)
	}))
	defer server.Close()
	term := &terminal{client: &client.Client{BaseURL: server.URL}}
	refusal := &client.Error{StatusCode: http.StatusNotFound, Code: client.CodeNotFound}
	_ = term.unknownKey(t.Context(), "acme", "0190f1c2-8a4e-7c30-b0f5-0e6a3f1d2c4b", refusal)
	if len(asked) > 0 {
		t.Errorf("got the requests %q, want none", asked)
	}
	_ = term.unknownKey(t.Context(), "acme", "Zapier production", refusal)
	if len(asked) == 0 {
		t.Error("got no request for a name, want a search")
	}
}

// The key of a token of another program is found also by a text that has what surrounds a
// token in a header or a file.
func TestMeant_token(t *testing.T) {
	const uuid = "0190f1c2-8a4e-7c30-b0f5-0e6a3f1d2c4b"
	found := []client.Key{{ID: "of this token", TokenHint: "…2c4b"}, {ID: "of another", TokenHint: "…2c4c", Name: "2c4b"}}
	for text, want := range map[string]bool{
		uuid:                           true,
		"Bearer " + uuid:               true,
		`"bearer ` + uuid + `"`:        true,
		" '" + uuid + "' ":             true,
		`Bearer "` + uuid + `"`:        true,
		"Basic " + uuid:                false,
		"Bearer " + uuid + " and more": false,
	} {
		got := meant(slices.Clone(found), text, inAddress(text))
		if is := len(got) == 1 && got[0].ID == "of this token"; is != want || !want && len(got) > 0 {
			t.Errorf("%s: got %v, want the key of the token: %t", text, got, want)
		}
	}
}
