package identity

import (
	"strings"
	"time"
)

// What the gateway and its upstreams agree on, besides [AssertionHeader].
const (
	// TokenType is the "typ" of an assertion, which no other kind of token has.
	TokenType = "api-key+jwt"
	// MaxLifetime is the longest time from an assertion's "iat" to its "exp".
	MaxLifetime = time.Minute
)

// leeway is how far the clocks of gateway and upstream may be apart.
const leeway = 5 * time.Second

// Claims are what an assertion says. The gateway fills them in; what [Verifier] returns
// has been verified, and its KeyID, WorkspaceID and Access are never empty.
type Claims struct {
	// Issuer is the gateway: its origin, unless configured otherwise.
	Issuer string `json:"iss"`
	// Audience is the upstream that the assertion is for.
	Audience string `json:"aud"`
	// IssuedAt and ExpiresAt are in seconds since 1970, at most [MaxLifetime] apart.
	IssuedAt  int64 `json:"iat"`
	ExpiresAt int64 `json:"exp"`
	// KeyID is the id of the API key, as in [KeyIDHeader].
	KeyID string `json:"sub"`
	// WorkspaceID is the workspace that the key belongs to, as in [WorkspaceHeader].
	WorkspaceID string `json:"workspace_id"`
	// Access is "full_access" or "read_only", as in [AccessHeader].
	Access string `json:"access"`
	// Method and Path are those of the one request that the assertion is for; the path
	// is escaped, without the query, as the upstream receives it. Both are empty if the
	// gateway does not bind assertions to requests.
	Method string `json:"method,omitempty"`
	Path   string `json:"path,omitempty"`
}

// check returns why an assertion with these claims is refused, or nil.
func (c *Claims) check(now time.Time, issuer, audience string) error {
	second, slack := now.Unix(), int64(leeway/time.Second)
	switch {
	case c.IssuedAt <= 0 || c.ExpiresAt <= 0 || !isName(c.KeyID) || !isName(c.WorkspaceID):
		return errClaims
	case c.Access != "full_access" && c.Access != "read_only":
		return errClaims
	case c.Issuer != issuer:
		return errIssuer
	case c.Audience != audience:
		return errAudience
	case c.ExpiresAt < c.IssuedAt || c.ExpiresAt-c.IssuedAt > int64(MaxLifetime/time.Second):
		return errLifetime
	case second >= c.ExpiresAt+slack:
		return errExpired
	case second+slack < c.IssuedAt:
		return errFuture
	}
	return nil
}

// isName reports whether s can be an id of the gateway's: it is safe in a header.
func isName(s string) bool {
	return s != "" && len(s) <= 128 && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}
