package caddymodule

import (
	"bytes"
	"cmp"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/agiled/caddy-api-keys/identity"
	"github.com/agiled/caddy-api-keys/internal/assertion"
	"github.com/agiled/caddy-api-keys/internal/authn"
)

const defaultJWKSPath = "/.well-known/api-keys/jwks.json"

// What an assertion may be bound to.
const (
	bindNone    = "none"
	bindRequest = "request"
)

// Assertion configures the JSON Web Token with which the gateway proves to the upstream
// that it has let the request pass, and with which key. The public keys for it are served
// as a JWK set.
type Assertion struct {
	// Who signs: the `iss` of the token, such as `https://api.example.com`. Required.
	Issuer string `json:"issuer,omitempty"`

	// Whom it is for: the `aud` of the token. Each upstream should have its own, because it
	// could use the tokens that it receives at any other upstream with the same audience.
	// Required.
	Audience string `json:"audience,omitempty"`

	// How long a token is valid, in whole seconds, and so for how long an upstream may
	// accept a key after it was revoked: at most 60. One that lives for 30 seconds or less
	// is not reused, so each request then costs a signature. Default: `60s`.
	Lifetime caddy.Duration `json:"lifetime,omitempty"`

	// The header that carries the token. Default: `X-API-Key-Assertion`.
	Header string `json:"header,omitempty"`

	// The path at which GET and HEAD are answered with the public keys, without
	// credentials. Default: `/.well-known/api-keys/jwks.json`.
	JWKSPath string `json:"jwks_path,omitempty"`

	// How often another key begins to sign: `1m` to `400d`. All handlers sign with the same
	// keys, so those that state this must state the same. Default: `30d`.
	RotateEvery caddy.Duration `json:"rotate_every,omitempty"`

	// What a token is bound to: `none`, or the `request`, whose method and path it then
	// names. Such a token is not reused, so each request costs a signature. Default:
	// `none`.
	Bind string `json:"bind,omitempty"`

	terms assertion.Terms
}

// provision sets defaults. Whether the values are valid is for check to say.
func (a *Assertion) provision() {
	setDefault(&a.Lifetime, caddy.Duration(identity.MaxLifetime))
	setDefault(&a.Header, identity.AssertionHeader)
	setDefault(&a.JWKSPath, defaultJWKSPath)
	setDefault(&a.Bind, bindNone)
	a.terms = assertion.Terms{Issuer: a.Issuer, Audience: a.Audience, Lifetime: time.Duration(a.Lifetime)}
}

// useAssertions prepares a handler that signs assertions.
func (h *Auth) useAssertions() error {
	if h.Assertion == nil {
		return nil
	}
	h.Assertion.Header = http.CanonicalHeaderKey(h.Assertion.Header)
	if err := h.app.needSigning(time.Duration(h.Assertion.RotateEvery)); err != nil {
		return fmt.Errorf("assertion: %w", err)
	}
	return nil
}

// cannotSign reports whether the handler has to sign assertions, and there are no keys to
// sign with yet.
func (h *Auth) cannotSign(shared *instance) bool {
	return h.Assertion != nil && shared.signing.Ring() == nil
}

// sign returns the assertion for a request that passes.
func (h *Auth) sign(shared *instance, r *http.Request, d *authn.Decision) string {
	a := h.Assertion
	if a.Bind == bindRequest {
		return shared.signing.Bound(&a.terms, d.Key, d.At, upstreamMethod(r), cmp.Or(escapedPath(r), "/"))
	}
	return shared.signing.Assertion(&a.terms, d.Signed, d.Key, d.At)
}

// upstreamMethod returns the method that the upstream will see. Only requests for a
// WebSocket pass with CONNECT, and reverse_proxy opens that with GET.
func upstreamMethod(r *http.Request) string {
	if r.Method == http.MethodConnect {
		return http.MethodGet
	}
	return r.Method
}

// asksPublicKeys reports whether a request asks for the public keys.
func (h *Auth) asksPublicKeys(r *http.Request) bool {
	return h.Assertion != nil && r.URL.Path == h.Assertion.JWKSPath && (r.Method == http.MethodGet || r.Method == http.MethodHead)
}

// answerPublicKeys responds with the public keys, even while requests are refused.
func (h *Auth) answerPublicKeys(w http.ResponseWriter, r *http.Request) error {
	shared := h.app.instance(r.Context())
	if shared == nil || shared.signing.Ring() == nil {
		return unavailable.write(w, r)
	}
	set, tag := shared.signing.Ring().PublicKeys()
	maxAge := assertion.MaxAge(h.app.signingSettings().every)
	header := w.Header()
	header.Set("Content-Type", "application/jwk-set+json")
	header.Set("Cache-Control", fmt.Sprintf("public, max-age=%d", seconds(maxAge)))
	header.Set("ETag", tag)
	// What becomes of these, a shared cache could keep for everybody.
	for _, name := range []string{"If-Match", "If-Unmodified-Since", "Range"} {
		r.Header.Del(name)
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(set))
	return nil
}
