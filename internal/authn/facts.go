package authn

import (
	"net/http"
	"net/netip"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/ratelimit"
)

// Facts are the properties of a request that the decision depends on.
type Facts struct {
	Method string
	// Path is the path as the upstream will see it, still escaped.
	Path string
	// Authorization are all values of that header, in order.
	Authorization []string
	// TokenHeader are all values of the header that may be sent in its place, if there
	// is one. Each is nothing but a token.
	TokenHeader []string
	// OtherMethod says that a header names another method than Method.
	OtherMethod bool
	// OtherPath says that a header names another path than Path.
	OtherPath bool
	// WebSocket says that the request asks to become a WebSocket: by Upgrade, or,
	// if it is a CONNECT, by its :protocol (RFC 8441, RFC 9220).
	WebSocket bool
	// EarlyData says that the request could be a replay (RFC 8470).
	EarlyData bool
	// Preflight says that a browser asks whether a page may send a request.
	Preflight bool
	// Browser says that a browser sent the request.
	Browser bool
	// Client is who sent the request; nil if that is not needed.
	Client Client
	// Before is an earlier check that let the same request pass, if there was one.
	// Its key is judged, and the credentials are ignored.
	Before *Pass
}

// Pass is the result of a check that let a request pass.
type Pass struct {
	Key    *apikey.Grant
	Action Action
	// Limit and WorkspaceLimit are those that the request was counted against; zero for
	// none.
	Limit, WorkspaceLimit ratelimit.Limit
	// Before is the check before that one.
	Before *Pass
}

// counted reports whether the request counts against a limit already. Checks that
// have the same limit share one count.
func (p *Pass) counted(action Action, limit ratelimit.Limit) bool {
	for ; p != nil; p = p.Before {
		if p.Action == action && p.Limit == limit {
			return true
		}
	}
	return false
}

// countedForWorkspace is counted for the limit of a workspace, which is for all actions.
func (p *Pass) countedForWorkspace(limit ratelimit.Limit) bool {
	for ; p != nil; p = p.Before {
		if p.WorkspaceLimit == limit {
			return true
		}
	}
	return false
}

// credential returns the digest of the token that the request is judged by, or what is
// wrong with it. Tokens of the earlier prefixes are not foreign. The caller passes in the
// digest of what is presented if it has that already, otherwise zero.
func (f *Facts) credential(policy *Policy, earlier *apikey.Prefixes, digest apikey.Digest) (apikey.Digest, Result) {
	if f.Before != nil {
		return f.Before.Key.Digest, ""
	}
	presented, problem := f.presented()
	if problem != "" {
		return apikey.Digest{}, problem
	}
	token, ok := apikey.Token{}, false
	if policy.ForeignTokens {
		token, ok = apikey.ParseAnyToken(presented, policy.TokenPrefix, earlier)
	} else {
		token, ok = apikey.ParseToken(presented)
	}
	if !ok {
		return apikey.Digest{}, Malformed
	}
	if digest == (apikey.Digest{}) {
		digest = token.Digest()
	}
	return digest, ""
}

// Client is who sent a request.
type Client interface {
	// Address returns the client's IP address. It is called rarely: when the use of a
	// key is recorded.
	Address() netip.Addr
}

// forbiddenMethod reports whether the method is never allowed: TRACE echoes
// credentials, CONNECT asks for a tunnel.
func (f *Facts) forbiddenMethod() bool {
	return f.Method == http.MethodTrace || f.Method == http.MethodConnect && !f.WebSocket
}

// presented returns what the request's one credential presents as a token, or what is
// wrong.
func (f *Facts) presented() (string, Result) {
	switch bearers, tokens := len(f.Authorization), len(f.TokenHeader); {
	case bearers+tokens == 0:
		return "", Missing
	case bearers+tokens > 1:
		return "", Malformed
	case tokens == 1:
		return f.TokenHeader[0], ""
	}
	presented, ok := apikey.Bearer(f.Authorization[0])
	if !ok {
		return "", Malformed
	}
	return presented, ""
}
