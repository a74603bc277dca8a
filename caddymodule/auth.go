package caddymodule

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/identity"
	"github.com/agiled/caddy-api-keys/internal/authn"
)

// Auth lets a request pass only if it carries a valid API key, and tells the
// handlers after it whose key it is.
//
// A request passes if it has exactly one `Authorization` header with a bearer
// token, or the one that `token_header` names, the token belongs to a key that has neither expired nor been revoked,
// the key's workspace is not suspended, and the key may do what the request
// asks for: a read-only key may not write. Anything else is refused with a JSON
// body, or by the site's `handle_errors`, and reaches no later handler. A request
// in flight ends within a second of its key: no more of its body or its response
// is passed on, and WebSockets are closed.
//
// A request may pass through a second `api_key_auth`, such as a stricter one for
// a part of the site. That one judges the key that the first has found, by its own
// rules.
//
// The identity headers are removed from every request in all their spellings, and
// set on those that pass.
//
// Placeholders that it sets: `{http.api_key.id}`, `{http.api_key.workspace_id}`,
// `{http.api_key.name}`, `{http.api_key.access}` (`full_access` or `read_only`),
// and `{http.auth.user.id}`, which is the key's id. Fields that it adds to the
// access log: `api_key_id`, `workspace_id` and `api_key_result`.
type Auth struct {
	// The header that tells the upstream which workspace the key belongs to.
	// Default: `X-Workspace-ID`.
	WorkspaceHeader string `json:"workspace_header,omitempty"`

	// The header that tells the upstream the key's id. Default: `X-API-Key-ID`.
	KeyIDHeader string `json:"key_id_header,omitempty"`

	// The header that tells the upstream what the key may do: `full_access` or
	// `read_only`. Default: `X-API-Key-Access`.
	AccessHeader string `json:"access_header,omitempty"`

	// The realm that refusals name in `WWW-Authenticate`. Default: `api`.
	Realm string `json:"realm,omitempty"`

	// The methods that only read, compared exactly. All others write.
	// Default: `GET`, `HEAD` and `OPTIONS`.
	ReadMethods []string `json:"read_methods,omitempty"`

	// Paths to which a POST only reads: each exact, or ending in `*`. A path that
	// two servers could interpret differently never matches.
	ReadPaths []string `json:"read_paths,omitempty"`

	// How often a key may be used, and all keys of a workspace together. Default: no limit.
	RateLimit RateLimits `json:"rate_limit,omitzero"`

	// A path at which GET and HEAD are answered with the key's own workspace,
	// name, preset and expiry, and do not reach the upstream. Default: none.
	Whoami string `json:"whoami,omitempty"`

	// Whether a key may be used from a browser: `refuse` or `allow`. Anybody who
	// can read a page's code can reuse its key. Default: `refuse`.
	Browsers string `json:"browsers,omitempty"`

	// A request header, such as `X-API-Key`, that is nothing but the token, and may be
	// sent in place of `Authorization`; both together are refused. It is removed like
	// `Authorization`. Caddy does not redact it in its logs, so each log that requests
	// can be in must have the format `lazy`, or leave out the headers of requests.
	// Default: none.
	TokenHeader string `json:"token_header,omitempty"`

	// Whether to forward `Authorization` and the header of `token_header` to the
	// upstream. Default: they are removed.
	ForwardToken bool `json:"forward_token,omitempty"`

	// Signs what the identity headers say, so that upstreams can verify it. Default: it
	// is not signed.
	Assertion *Assertion `json:"assertion,omitempty"`

	log      *zap.Logger // sampled
	app      *App
	policy   authn.Policy
	notable  identity.Headers // matched in every spelling by readFacts
	refusals map[authn.Result]refusal
	unlogged bool // the server has no access log
	limits   *limitTexts
}

// CaddyModule returns the Caddy module information.
func (Auth) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.api_key_auth", New: func() caddy.Module { return new(Auth) }}
}

// Provision sets defaults and precomputes what every request needs.
func (h *Auth) Provision(ctx caddy.Context) error {
	setDefault(&h.WorkspaceHeader, identity.WorkspaceHeader)
	setDefault(&h.KeyIDHeader, identity.KeyIDHeader)
	setDefault(&h.AccessHeader, identity.AccessHeader)
	setDefault(&h.Realm, "api")
	setDefault(&h.Browsers, refuse)
	if len(h.ReadMethods) == 0 {
		h.ReadMethods = []string{http.MethodGet, http.MethodHead, http.MethodOptions}
	}
	if h.Assertion != nil {
		h.Assertion.provision()
	}
	if err := h.check(); err != nil {
		return err
	}
	if err := refuseLoggedCredentials(ctx); err != nil {
		return err
	}
	if err := refuseLoggedTokens(ctx, h.TokenHeader); err != nil {
		return err
	}
	app, err := ctx.App(appName)
	if err != nil {
		return fmt.Errorf("loading the api_keys app: %w", err)
	}
	h.app = app.(*App)
	if err := h.app.refuseAppendedTokens(ctx, h.TokenHeader); err != nil {
		return err
	}
	h.app.reserveDescriptors(ctx)
	h.log = sampledLogger()
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	h.unlogged = ok && server.Logs == nil
	h.policy = authn.Policy{
		ReadMethods: h.ReadMethods, ReadPaths: h.ReadPaths,
		ReadLimit: h.RateLimit.Read.limit(), WriteLimit: h.RateLimit.Write.limit(),
		WorkspaceLimit: h.RateLimit.Workspace.limit(),
		AllowBrowsers:  h.Browsers == allow,
		ForeignTokens:  h.app.ForeignTokens == accept, TokenPrefix: h.app.TokenPrefix,
	}
	if err := h.useAssertions(); err != nil {
		return err
	}
	h.notable = identity.NewHeaders(slices.Concat(methodHeaders, pathHeaders, prefixHeaders, h.ownHeaders(), []string{
		identity.WorkspaceHeader, identity.KeyIDHeader, identity.AccessHeader, identity.AssertionHeader, http2Settings,
	})...)
	h.refusals = refusals(h.Realm)
	h.limits = new(limitTexts)
	// net/http looks up and sends canonical names: any other spelling would be
	// added to the client's header instead of replacing it.
	for _, name := range []*string{&h.WorkspaceHeader, &h.KeyIDHeader, &h.AccessHeader, &h.TokenHeader} {
		*name = http.CanonicalHeaderKey(*name)
	}
	return nil
}

// ownHeaders returns the names of the headers that are set for the upstream or have the
// token.
func (h *Auth) ownHeaders() []string {
	names := []string{h.WorkspaceHeader, h.KeyIDHeader, h.AccessHeader}
	if h.TokenHeader != "" {
		names = append(names, h.TokenHeader)
	}
	if h.Assertion != nil {
		names = append(names, h.Assertion.Header)
	}
	return names
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Auth)(nil)
	_ caddyhttp.MiddlewareHandler = (*Auth)(nil)
)
