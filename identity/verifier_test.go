package identity_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/identity"
)

var (
	update = flag.Bool("update", false, "write testdata/cases.json")
	silent = slog.New(slog.DiscardHandler)
)

// reason returns the words in which an assertion was refused.
func reason(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	text, refused := strings.CutPrefix(err.Error(), identity.ErrRefused.Error()+": ")
	if !refused || !errors.Is(err, identity.ErrRefused) || errors.Is(err, identity.ErrUnavailable) {
		t.Errorf("got the error %v, want an ErrRefused", err)
	}
	return text
}

// bothKeys are the keys of the gateway in the cases.
func bothKeys() string { return jwks(jwk(testKID, signingKey("a")), jwk("2026-11-b", signingKey("b"))) }

func TestVerify(t *testing.T) {
	v := serveKeys(t, bothKeys()).verifier(t)
	for _, c := range tokenCases() {
		t.Run(c.Name, func(t *testing.T) {
			got, err := v.Verify(t.Context(), c.Token)
			if got := reason(t, err); got != c.Refused {
				t.Fatalf("got refused %q, want %q", got, c.Refused)
			}
			if c.Refused != "" && got != (identity.Claims{}) {
				t.Errorf("got %+v from a refused assertion, want nothing", got)
			}
			if err != nil && len(c.Token) > 8 && strings.Contains(err.Error(), c.Token[:8]) {
				t.Errorf("the error contains the token: %v", err)
			}
		})
	}
}

func TestVerify_claims(t *testing.T) {
	v := serveKeys(t, bothKeys()).verifier(t)
	want := honest()
	want.Method, want.Path = "GET", "/public/v1/contacts"
	got, err := v.Verify(t.Context(), token(bind(want.Method, want.Path)))
	if err != nil || got != want {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
}

// rfc8725 is the advice of RFC 8725 (JSON Web Token Best Current Practices), section 3,
// and how it is followed. Each row names cases, or why there is none.
var rfc8725 = []struct{ section, advice, done string }{
	{"3.1", "Perform Algorithm Verification", "cases: one algorithm, which is the verifier's to choose"},
	{"3.2", "Use Appropriate Algorithms", "cases: Ed25519 alone, by one name"},
	{"3.3", "Validate All Cryptographic Operations", "cases: one signature, which is always checked; no nesting"},
	{"3.4", "Validate Cryptographic Inputs", "cases: encodings and points; see also TestWycheproof and the sets of keys"},
	{"3.5", "Ensure Cryptographic Keys Have Sufficient Entropy", "sets: no keys but Ed25519's, whose size is fixed, are used"},
	{"3.6", "Avoid Compression of Encryption Inputs", "cases: nothing is encrypted or compressed"},
	{"3.7", "Use UTF-8", "cases"},
	{"3.8", "Validate Issuer and Subject", "cases"},
	{"3.9", "Use and Validate Audience", "cases"},
	{"3.10", "Do Not Trust Received Claims", "cases: kid only finds a key in memory, and no URL of a token is followed"},
	{"3.11", "Use Explicit Typing", "cases"},
	{"3.12", "Use Mutually Exclusive Validation Rules for Different Kinds of JWTs", "cases: type, issuer, audience and required claims"},
}

func TestRFC8725(t *testing.T) {
	cases := make(map[string]int)
	for _, c := range tokenCases() {
		cases[c.RFC8725]++
	}
	for i, row := range rfc8725 {
		if want := fmt.Sprintf("3.%d", i+1); row.section != want {
			t.Errorf("row %d is of section %s, want %s", i+1, row.section, want)
		}
		if strings.HasPrefix(row.done, "cases") != (cases[row.section] > 0) {
			t.Errorf("%s, %s: %d cases, but it says %q", row.section, row.advice, cases[row.section], row.done)
		}
		delete(cases, row.section)
	}
	delete(cases, "")
	if len(cases) > 0 {
		t.Errorf("there are cases of sections that are not in the table: %v", cases)
	}
}

// TestCases verifies that testdata has the cases of this package for other implementations.
// With -update it writes them.
func TestCases(t *testing.T) {
	names := make(map[string]bool)
	for _, c := range tokenCases() {
		if names[c.Name] {
			t.Errorf("two cases are called %q", c.Name)
		}
		names[c.Name] = true
	}
	var want bytes.Buffer
	encoder := json.NewEncoder(&want)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "\t")
	if err := encoder.Encode(map[string]any{
		"now": second, "issuer": testIssuer, "audience": testAudience, "jwks": bothKeys(), "renamed": append(renamedHeaders[:], renamedAssertion),
		"tokens": tokenCases(), "requests": requestCases(), "sets": setsAsBytes(),
	}); err != nil {
		t.Fatal(err)
	}
	const path = "testdata/cases.json"
	if *update {
		if err := os.WriteFile(path, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is out of date (%v): go test ./identity -run '^TestCases$' -update", path, err)
	}
}

// setsAsBytes returns the cases of sets in base64, because some are not UTF-8.
func setsAsBytes() []setCase {
	cases := setCases()
	for i := range cases {
		cases[i].Set = b64(cases[i].Set)
	}
	return cases
}

func TestNewVerifier(t *testing.T) {
	tests := []struct {
		url, audience string
		options       []identity.Option
		err           string
	}{
		{testJWKS, "contacts", nil, ""},
		{"HTTPS://API.EXAMPLE.COM/jwks.json", "contacts", nil, ""},
		{"http://localhost:8080/jwks.json", "contacts", nil, ""},
		{"http://127.0.0.1/jwks.json", "contacts", nil, ""},
		{"http://[::1]:8080/jwks.json", "contacts", nil, ""},
		{"http://gateway.internal/jwks.json", "contacts", []identity.Option{identity.WithPlainHTTP()}, ""},
		{"http://gateway.internal/jwks.json", "contacts", nil, "is http, and not on this machine"},
		{"http://127.0.0.1.example.com/jwks.json", "contacts", nil, "is http, and not on this machine"},
		{"http://localhost.example.com/jwks.json", "contacts", nil, "is http, and not on this machine"},
		{"http://0.0.0.0/jwks.json", "contacts", nil, "is http, and not on this machine"},
		{"http://169.254.169.254/jwks.json", "contacts", nil, "is http, and not on this machine"},
		{"", "contacts", nil, "is not an absolute URL"},
		{"/jwks.json", "contacts", nil, "is not an absolute URL"},
		{"https:///jwks.json", "contacts", nil, "is not an absolute URL"},
		{"https://:443/jwks.json", "contacts", nil, "is not an absolute URL"},
		{"file:///etc/jwks.json", "contacts", nil, "is not an absolute URL"},
		{"ftp://api.example.com/jwks.json", "contacts", nil, "is neither https nor http"},
		{"https://user:secret@api.example.com/jwks.json", "contacts", nil, "has credentials"},
		{"https://user:secret@api.example.com/%zz", "contacts", nil, "is not an absolute URL"},
		{testJWKS + "#a", "contacts", nil, "has a fragment"},
		{testJWKS, "", nil, "no audience"},
	}
	for _, test := range tests {
		v, err := identity.NewVerifier(test.url, test.audience, test.options...)
		switch {
		case test.err == "":
			if err != nil || v == nil {
				t.Errorf("%s: %v", test.url, err)
			}
		case err == nil || !strings.Contains(err.Error(), test.err) || v != nil:
			t.Errorf("%s for %q: got the error %v, want %q", test.url, test.audience, err, test.err)
		case strings.Contains(err.Error(), "secret"):
			t.Errorf("the error has the password: %v", err)
		}
	}
}

func TestNewVerifier_issuer(t *testing.T) {
	tests := map[string]string{
		testJWKS:                                 "https://api.example.com",
		"HTTPS://API.Example.COM:443/x?y=z":      "https://api.example.com",
		"https://api.example.com:8443/x":         "https://api.example.com:8443",
		"http://localhost:80/x":                  "http://localhost",
		"http://127.0.0.1:443/x":                 "http://127.0.0.1:443",
		"http://[::1]/x":                         "http://[::1]",
		"http://[::1]:8080/x":                    "http://[::1]:8080",
		"https://[2001:DB8::1]:443/x":            "https://[2001:db8::1]",
		"https://api.example.com:80/.well-known": "https://api.example.com:80",
	}
	for url, want := range tests {
		v, err := identity.NewVerifier(url, "contacts")
		if err != nil {
			t.Fatal(err)
		}
		if got := v.Issuer(); got != want {
			t.Errorf("%s: got the issuer %s, want %s", url, got, want)
		}
	}
}

func TestParseKeys(t *testing.T) {
	for _, c := range setCases() {
		keys, err := identity.ParseKeys([]byte(c.Set))
		if (err != nil) != c.Refused {
			t.Errorf("%s: got the error %v, want one: %t", c.Name, err, c.Refused)
		}
		var got []string
		for id := range keys {
			got = append(got, id)
		}
		slices.Sort(got)
		if !slices.Equal(got, c.Keys) {
			t.Errorf("%s: got the keys %q, want %q", c.Name, got, c.Keys)
		}
		if seed := b64(signingKey("a").Seed()); err != nil && strings.Contains(err.Error(), seed) {
			t.Errorf("%s: the error contains the private key: %v", c.Name, err)
		}
	}
}
