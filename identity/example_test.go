package identity_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/agiled/caddy-api-keys/identity"
)

// What the examples take from the gateway: the URL of its keys, and an assertion that it
// makes for a request.
var (
	jwksURL   = exampleKeys()
	assertion = exampleAssertion
)

func exampleKeys() string {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(jwks(jwk(testKID, signingKey("a")))))
	})).URL
}

func exampleAssertion() string {
	return token(func(c *identity.Claims) {
		c.Issuer, c.IssuedAt, c.ExpiresAt = jwksURL, time.Now().Unix(), time.Now().Add(time.Minute).Unix()
	})
}

func Example() {
	verifier, err := identity.NewVerifier(jwksURL, "contacts")
	if err != nil {
		fmt.Println(err)
		return
	}
	api := verifier.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, _ := identity.FromContext(r.Context())
		fmt.Fprintf(w, "%s may see its contacts (%s)", caller.WorkspaceID, caller.Access)
	}))

	through := httptest.NewRequest("GET", "/public/v1/contacts", nil)
	through.Header.Set(identity.AssertionHeader, assertion())
	around := httptest.NewRequest("GET", "/public/v1/contacts", nil)
	around.Header.Set(identity.WorkspaceHeader, "globex")
	for _, r := range []*http.Request{through, around} {
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Body)
	}
	// Output:
	// 200 acme may see its contacts (read_only)
	// 401 {"error":"Unauthorized."}
}

// A server of something other than HTTP verifies assertions itself.
func ExampleVerifier_Verify() {
	verifier, err := identity.NewVerifier(jwksURL, "contacts")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, token := range []string{assertion(), "eyJhbGciOiJub25lIn0.e30."} {
		caller, err := verifier.Verify(context.Background(), token)
		switch {
		case errors.Is(err, identity.ErrUnavailable):
			fmt.Println("try again later")
		case err != nil:
			fmt.Println(err)
		default:
			fmt.Println(caller.KeyID, "of", caller.WorkspaceID)
		}
	}
	// Output:
	// key_01M85NMXCRPQAH7NX5PN817E75 of acme
	// identity: assertion refused: its header is not that of an assertion
}
