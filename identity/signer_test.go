package identity_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/identity"
)

// What the tests' gateway and upstream have agreed on.
const (
	testIssuer   = "https://api.example.com"
	testJWKS     = testIssuer + "/.well-known/api-keys/jwks.json"
	testAudience = "contacts"
	testKID      = "2026-11-a"
	second       = 1796000000 // of the tests' clock
	honestHeader = `{"alg":"EdDSA","typ":"api-key+jwt","kid":"` + testKID + `"}`
)

// signingKey returns the same private key each time.
func signingKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("the signing key " + name + " of a test"))
	return ed25519.NewKeyFromSeed(seed[:])
}

// jwk returns the public key as the gateway publishes it.
func jwk(kid string, key ed25519.PrivateKey) string {
	return fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":"%s","alg":"EdDSA","use":"sig","kid":"%s"}`, b64(key.Public().(ed25519.PublicKey)), kid)
}

func jwks(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }

func b64[T string | []byte | ed25519.PublicKey](data T) string {
	return base64.RawURLEncoding.EncodeToString([]byte(data))
}

// sign makes a token of any header and payload, without a library that would refuse to.
func sign(key ed25519.PrivateKey, header, payload string) string {
	input := b64(header) + "." + b64(payload)
	return input + "." + b64(ed25519.Sign(key, []byte(input)))
}

// honest returns the claims of an assertion that was issued ten seconds ago.
func honest() identity.Claims {
	return identity.Claims{
		Issuer: testIssuer, Audience: testAudience, IssuedAt: second - 10, ExpiresAt: second + 50,
		KeyID: "key_01M85NMXCRPQAH7NX5PN817E75", WorkspaceID: "acme", Access: "read_only",
	}
}

// claims returns the JSON of honest claims after a change.
func claims(change func(c *identity.Claims)) string {
	c := honest()
	if change != nil {
		change(&c)
	}
	text, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// token returns an assertion as the gateway makes it.
func token(change func(c *identity.Claims)) string {
	return sign(signingKey("a"), honestHeader, claims(change))
}

func testClock() time.Time { return time.Unix(second, 0) }

// endpoint serves keys as the gateway does, and says what it was asked.
type endpoint struct {
	*httptest.Server
	body    atomic.Pointer[string]
	maxAge  atomic.Int64 // seconds
	status  atomic.Int64 // other than 200
	fetches atomic.Int64
	same    atomic.Int64              // how many were answered with 304
	hang    atomic.Pointer[chan bool] // answers nothing before it is closed
}

// serveKeys starts an endpoint with a set of keys.
func serveKeys(t testing.TB, set string) *endpoint {
	t.Helper()
	e := &endpoint{}
	e.body.Store(&set)
	e.maxAge.Store(300)
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.fetches.Add(1)
		if hang := e.hang.Load(); hang != nil {
			<-*hang
		}
		if status := e.status.Load(); status != 0 {
			w.WriteHeader(int(status))
			return
		}
		body := *e.body.Load()
		etag := fmt.Sprintf(`"%x"`, sha256.Sum256([]byte(body)))
		w.Header().Set("ETag", etag)
		w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d", e.maxAge.Load()))
		if slices.Contains(r.Header.Values("If-None-Match"), etag) {
			e.same.Add(1)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(e.Close)
	return e
}

// verifier returns a verifier of the tests' assertions, with the tests' clock.
func (e *endpoint) verifier(t testing.TB, options ...identity.Option) *identity.Verifier {
	t.Helper()
	options = append([]identity.Option{identity.WithIssuer(testIssuer), identity.WithLogger(silent)}, options...)
	v, err := identity.NewVerifier(e.URL+"/.well-known/api-keys/jwks.json", testAudience, options...)
	if err != nil {
		t.Fatal(err)
	}
	v.SetClock(testClock)
	return v
}
