package caddymodule

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/admin"
	"github.com/agiled/caddy-api-keys/admin/page"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// Admin serves the admin API outside Caddy's own admin endpoint: to an application
// that creates keys for its customers, for example. At its root is the Settings >
// API page, where people do the same.
//
// It needs to know who may call it: either callers that present the admin token as
// a bearer token, or all requests that reach it, if a handler before it has
// authenticated them.
type Admin struct {
	// The path below which the API is served. Requests for other paths are passed to
	// the next handler. Default: `/`.
	BasePath string `json:"base_path,omitempty"`

	// The admin token. May be a placeholder such as `{env.API_KEYS_ADMIN_TOKEN}`,
	// which keeps the token out of the configuration.
	Token string `json:"token,omitempty"`

	// A file that holds the admin token. May hold placeholders such as
	// `{env.CREDENTIALS_DIRECTORY}`.
	TokenFile string `json:"token_file,omitempty"`

	// Whether to answer every request, because a handler before this one has
	// authenticated it.
	TrustUpstreamAuth bool `json:"trust_upstream_auth,omitempty"`

	// The only workspace that requests may be about, as a placeholder. Requests for
	// which it is empty are refused. Default: all workspaces.
	Workspace string `json:"workspace,omitempty"`

	// Who is recorded in the audit trail, as a placeholder. Default:
	// `admin_token` or `upstream_auth`.
	Actor string `json:"actor,omitempty"`

	// Where the Settings page suggests trying a new key: an address such as `https://api.example.com/public/v1/me`, or a path on the
	// site of this handler. Default: `/public/v1/me`.
	TestURL string `json:"test_url,omitempty"`

	// How the Settings page fits into the application that it belongs to. Default: it looks like a page of its own.
	Page Page `json:"page,omitzero"`

	page   *page.Page
	api    *admin.Handler
	secret [sha256.Size]byte // the digest of the admin token

	accessLog *zap.Logger // where Caddy logs requests
}

// CaddyModule returns the Caddy module information.
func (Admin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.api_key_admin", New: func() caddy.Module { return new(Admin) }}
}

// Provision reads the admin token and prepares the API.
func (h *Admin) Provision(ctx caddy.Context) error {
	if err := errors.Join(h.check(), h.checkValues(), refuseLoggedCredentials(ctx)); err != nil {
		return err
	}
	loaded, err := ctx.App(appName)
	if err != nil {
		return fmt.Errorf("loading the api_keys app: %w", err)
	}
	app := loaded.(*App)
	if err := errors.Join(app.refuseAppendedTokens(ctx, ""), app.refuseAppendedBodies(ctx, "api_key_admin")); err != nil {
		return err
	}
	h.BasePath = "/" + strings.Trim(h.BasePath, "/")
	if err := h.readToken(ctx.Logger()); err != nil {
		return err
	}
	app.reserveDescriptors(ctx)
	config := admin.Config{Actor: h.actor, TestURL: h.TestURL}
	if h.Workspace != "" {
		config.Workspace = h.pin
	}
	h.api = app.newAPI(config)
	h.page = page.New(h.Page.site())
	h.accessLog = ctx.Logger(caddyhttp.App{}).Named("log.access")
	h.unlogRedirects(ctx)
	return nil
}

var errNoAdminAuth = errors.New("api_key_admin needs to know who may call it: set token, token_file or trust_upstream_auth")

// check refuses a mount that would be open to everybody, or that has more than one
// way to authenticate.
func (h *Admin) check() error {
	stated := 0
	for _, set := range []bool{h.Token != "", h.TokenFile != "", h.TrustUpstreamAuth} {
		if set {
			stated++
		}
	}
	switch {
	case stated == 0:
		return errNoAdminAuth
	case stated > 1:
		return errors.New("api_key_admin takes one of token, token_file and trust_upstream_auth")
	}
	return nil
}

// checkValues refuses values that only a JSON configuration can have.
func (h *Admin) checkValues() error {
	setDefault(&h.BasePath, "/")
	if err := validateBasePath(h.BasePath); err != nil {
		return fmt.Errorf("base_path: %w", err)
	}
	setDefault(&h.TestURL, "/public/v1/me")
	if err := validateTestURL(h.TestURL); err != nil {
		return fmt.Errorf("test_url: %w", err)
	}
	if err := h.Page.check(); err != nil {
		return fmt.Errorf("page: %w", err)
	}
	if h.Workspace == "" {
		return nil
	}
	if err := validateWorkspace(h.Workspace); err != nil {
		return fmt.Errorf("workspace: %w", err)
	}
	return nil
}

// ServeHTTP answers the requests below the base path.
func (h *Admin) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	below := h.BasePath == "/" || r.URL.Path == h.BasePath || strings.HasPrefix(r.URL.Path, h.BasePath+"/")
	if !below {
		return next.ServeHTTP(w, r)
	}
	call := withoutPrefix(r, strings.TrimSuffix(h.BasePath, "/"))
	h.withoutSecretPath(w, r, func(w http.ResponseWriter) { h.serve(w, call) })
	return nil
}

// serve answers a request whose path is relative to the base path.
func (h *Admin) serve(w http.ResponseWriter, call *http.Request) {
	switch {
	case h.page.Has(call.URL.Path):
		h.servePage(w, call)
	case !h.authorized(call) && !h.api.IsOpen(call):
		h.api.Unauthorized(w, call)
	default:
		h.api.ServeHTTP(w, call)
	}
}

// servePage serves a file of the Settings page, which calls the API itself.
func (h *Admin) servePage(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.api.MethodNotAllowed(w, r, "GET, HEAD")
		return
	}
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && r.URL.Path == "/" && !strings.HasSuffix(original.URL.Path, "/") {
		r.URL.Path, r.RequestURI = "", original.RequestURI // handle_path turns an empty path into a slash
	}
	h.page.Serve(w, r)
}

// actor returns who makes a request.
func (h *Admin) actor(r *http.Request) string {
	if h.Actor != "" {
		return quoteOwn(expand(r, h.Actor))
	}
	if h.TrustUpstreamAuth {
		return "upstream_auth"
	}
	return "admin_token"
}

// ownActors are the names that the gateway itself records as actors.
var ownActors = []string{gatewayActor, endpointActor, apikey.CommandLine, "admin_token", "upstream_auth", "unknown"}

// quoteOwn returns the name of an actor, in quotes if it is one of the gateway's
// own, so that the audit trail distinguishes the two.
func quoteOwn(name string) string {
	if slices.Contains(ownActors, strings.TrimSpace(name)) {
		return strconv.Quote(name)
	}
	return name
}

// pin returns the workspace that a request may be about, or "" if one of its
// placeholders has no value: the text around it is not a workspace.
func (h *Admin) pin(r *http.Request) string {
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	ws, err := repl.ReplaceOrErr(h.Workspace, true, true)
	if err != nil {
		return ""
	}
	return ws
}

// expand evaluates the operator's placeholders for a request. Their values are not
// evaluated again.
func expand(r *http.Request, placeholder string) string {
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	return repl.ReplaceAll(placeholder, "")
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Admin)(nil)
	_ caddyhttp.MiddlewareHandler = (*Admin)(nil)
)
