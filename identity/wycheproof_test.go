package identity_test

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/agiled/caddy-api-keys/identity"
)

// wycheproof is what the test vectors have in common.
type wycheproof struct {
	NumberOfTests int `json:"numberOfTests"`
	TestGroups    []struct {
		PublicKey struct {
			PK string `json:"pk"`
		} `json:"publicKey"`
		Tests []struct {
			ID      int    `json:"tcId"`
			Comment string `json:"comment"`
			Message string `json:"msg"`
			Sig     string `json:"sig"`
			JWS     any    `json:"jws"` // a string, or a JSON serialization
			Result  string `json:"result"`
		} `json:"tests"`
	} `json:"testGroups"`
}

func readWycheproof(t *testing.T, name string) wycheproof {
	t.Helper()
	text, err := os.ReadFile("testdata/wycheproof/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var vectors wycheproof
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	if vectors.NumberOfTests == 0 {
		t.Fatalf("%s has no tests", name)
	}
	return vectors
}

// TestWycheproof_ed25519 is about what the verifier builds on: go-jose calls this function.
// Encodings that are not unique, S that is not reduced and what a faulty implementation
// would take for a signature are refused.
func TestWycheproof_ed25519(t *testing.T) {
	vectors := readWycheproof(t, "ed25519_test.json")
	done := 0
	for _, group := range vectors.TestGroups {
		public := unhex(t, group.PublicKey.PK)
		for _, c := range group.Tests {
			done++
			got := ed25519.Verify(public, unhex(t, c.Message), unhex(t, c.Sig))
			if want := c.Result == "valid"; got != want {
				t.Errorf("%d, %s: got %t, want %t", c.ID, c.Comment, got, want)
			}
		}
	}
	if done != vectors.NumberOfTests {
		t.Errorf("ran %d tests, want %d", done, vectors.NumberOfTests)
	}
}

// TestWycheproof_jws verifies that no token of another kind passes, valid or not.
func TestWycheproof_jws(t *testing.T) {
	vectors := readWycheproof(t, "json_web_signature_test.json")
	v := serveKeys(t, bothKeys()).verifier(t)
	for _, group := range vectors.TestGroups {
		for _, c := range group.Tests {
			token, compact := c.JWS.(string)
			if !compact {
				text, err := json.Marshal(c.JWS)
				if err != nil {
					t.Fatal(err)
				}
				token = string(text)
			}
			if _, err := v.Verify(t.Context(), token); !errors.Is(err, identity.ErrRefused) {
				t.Errorf("%d, %s: got the error %v, want an ErrRefused", c.ID, c.Comment, err)
			}
		}
	}
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	data, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
