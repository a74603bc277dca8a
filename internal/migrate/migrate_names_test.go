package migrate

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// A key has one of the same two names, and another one than the other keys of its workspace,
// whatever order they are exported in.
func TestRead_names(t *testing.T) {
	keys := []string{`{"plaintext":"secret-token-0123456789"}`, `{"plaintext":"secret-token-9876543210"}`, `{"plaintext":"secret-token-5555555555","name":"ACME key"}`}
	names := make(map[string][]string) // by digest, sorted
	for _, order := range [][]int{{0, 1, 2}, {2, 0, 1}, {1, 2, 0}, {1, 0}} {
		var in []string
		for _, i := range order {
			in = append(in, keys[i])
		}
		taken := make(map[string]bool)
		for entry, err := range Read(strings.NewReader("["+strings.Join(in, ",")+"]"), Unkey, Options{Workspace: "acme", Preset: "read_only", Now: testNow}) {
			if err != nil || entry.Err != nil {
				t.Fatalf("got %v, %v", err, entry.Err)
			}
			if name := apikey.FoldName(entry.Key.Name); taken[name] {
				t.Errorf("got the name %q again", entry.Key.Name)
			} else {
				taken[name] = true
			}
			both := []string{entry.Key.Name, entry.OtherName}
			slices.Sort(both)
			if before := names[entry.Key.TokenSHA256]; before != nil && !slices.Equal(both, before) {
				t.Errorf("got the names %q, want %q as in another order", both, before)
			}
			names[entry.Key.TokenSHA256] = both
		}
	}
}

// Keys whose digests begin alike have different names too.
func TestRead_namesAlike(t *testing.T) {
	taken := make(map[string]bool)
	var in strings.Builder
	for i := range 4 {
		fmt.Fprintf(&in, `{"key_hash":"%064x"}`, i)
	}
	for entry, err := range Read(strings.NewReader(in.String()), Tyk, Options{Workspace: "acme", Preset: "read_only", Now: testNow}) {
		if name := entry.Key.Name; err != nil || entry.Err != nil || taken[name] {
			t.Errorf("got the name %q, %v and %v", name, err, entry.Err)
		}
		taken[entry.Key.Name] = true
	}
	if len(taken) != 4 {
		t.Errorf("got %d names, want 4", len(taken))
	}
}

// A token that begins with the gateway's prefix and is none of its own is refused, in each
// format: no request could pass with it.
func TestRead_tokenPrefix(t *testing.T) {
	const foreign = "acme_live_0123456789abcdef"
	native := apikey.NewToken("acme").Reveal()
	for format, in := range map[Format]string{
		Kong:  "consumers:\n- username: acme\n  keyauth_credentials:\n  - key: TOKEN\n",
		Unkey: `[{"plaintext":"TOKEN","externalId":"acme"}]`,
		Tyk:   `[{"key":"TOKEN","org_id":"acme"}]`,
		CSV:   "name,token\nSync,TOKEN\n",
		JSONL: `{"name":"Sync","token":"TOKEN"}`,
	} {
		for _, test := range []struct {
			prefix, token string
			refused       bool
		}{{"acme", foreign, true}, {"agk", foreign, false}, {"", foreign, false}, {"acme", native, false}} {
			options := Options{Workspace: "acme", Preset: "read_only", Now: testNow, TokenPrefix: test.prefix}
			got := printed(strings.NewReader(strings.ReplaceAll(in, "TOKEN", test.token)), format, options)
			if strings.Contains(got, "token_prefix") != test.refused {
				t.Errorf("%s, %q: got %s, want it refused: %t", format, test.prefix, got, test.refused)
			}
		}
	}
}

// A workspace that is given stands in for consumers, but not for what a line of one's own
// says.
func TestRead_workspace(t *testing.T) {
	options := Options{Workspace: "acme", Preset: "read_only", Now: testNow}
	for format, in := range map[Format]string{
		Kong:  "consumers:\n- username: Jane Doe\n  keyauth_credentials:\n  - key: secret-token-0123456789\n",
		Unkey: `[{"plaintext":"secret-token-0123456789","externalId":"globex"}]`,
		CSV:   "name,token\nSync,secret-token-0123456789\n",
		JSONL: `{"name":"Sync","token":"secret-token-0123456789"}`,
	} {
		if got := printed(strings.NewReader(in), format, options); !strings.Contains(got, `"workspace_id":"acme"`) || !strings.Contains(got, `"preset":"read_only"`) {
			t.Errorf("%s: got %s", format, got)
		}
	}
	own := `{"name":"Sync","token":"secret-token-0123456789","workspace_id":"globex","preset":"full_access"}`
	if got := printed(strings.NewReader(own), JSONL, options); !strings.Contains(got, `"workspace_id":"globex"`) || !strings.Contains(got, `"preset":"full_access"`) {
		t.Errorf("got %s", got)
	}
}
