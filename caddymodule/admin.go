package caddymodule

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"os"
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

// Admin serves the admin API of the keys to others than Caddy's own admin
// endpoint: to the application that makes keys for its customers, say. At its
// root is the Settings > API page, on which people do the same.
//
// It needs to know who may call it. That is either whoever presents the admin
// token as a bearer token, or whoever gets that far, where something before it
// has authenticated the request already.
type Admin struct {
	// The path below which the API is, which the handler removes. Requests for
	// other paths go on to the next handler. Default: `/`.
	BasePath string `json:"base_path,omitempty"`

	// The admin token. May be a placeholder such as `{env.API_KEYS_ADMIN_TOKEN}`,
	// which keeps the token out of the configuration.
	Token string `json:"token,omitempty"`

	// A file that holds the admin token. May hold placeholders such as
	// `{env.CREDENTIALS_DIRECTORY}`.
	TokenFile string `json:"token_file,omitempty"`

	// Whether to answer every request, because a handler before this one has
	// made sure of who sends it.
	TrustUpstreamAuth bool `json:"trust_upstream_auth,omitempty"`

	// The one workspace that requests may be about, as a placeholder. A request
	// for which it is empty is refused. Default: all workspaces.
	Workspace string `json:"workspace,omitempty"`

	// Who is recorded in the audit trail, as a placeholder. Default:
	// `admin_token` or `upstream_auth`.
	Actor string `json:"actor,omitempty"`

	// Where the Settings page tells the holder of a new key to try it: an
	// address such as `https://api.example.com/public/v1/me`, or a path on the
	// site of this handler. Default: `/public/v1/me`.
	TestURL string `json:"test_url,omitempty"`

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
	h.BasePath = "/" + strings.Trim(h.BasePath, "/")
	if err := h.readToken(ctx.Logger()); err != nil {
		return err
	}
	app, err := ctx.App(appName)
	if err != nil {
		return fmt.Errorf("loading the api_keys app: %w", err)
	}
	config := admin.Config{Actor: h.actor, TestURL: h.TestURL}
	if h.Workspace != "" {
		config.Workspace = h.pin
	}
	h.api = app.(*App).newAPI(config)
	h.accessLog = ctx.Logger(caddyhttp.App{}).Named("log.access")
	return nil
}

// shortToken is the length below which an admin token is worth a warning.
const shortToken = 32

var errNoAdminAuth = errors.New("api_key_admin needs to know who may call it: set token, token_file or trust_upstream_auth")

// check refuses a mount that would be open to everybody, or that says two
// things at once.
func (h *Admin) check() error {
	stated := 0
	for _, is := range []bool{h.Token != "", h.TokenFile != "", h.TrustUpstreamAuth} {
		if is {
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

// checkValues refuses what a Caddyfile cannot state.
func (h *Admin) checkValues() error {
	setDefault(&h.BasePath, "/")
	if err := validateBasePath(h.BasePath); err != nil {
		return fmt.Errorf("base_path: %w", err)
	}
	setDefault(&h.TestURL, "/public/v1/me")
	if err := validateTestURL(h.TestURL); err != nil {
		return fmt.Errorf("test_url: %w", err)
	}
	if h.Workspace == "" {
		return nil
	}
	if err := validateWorkspace(h.Workspace); err != nil {
		return fmt.Errorf("workspace: %w", err)
	}
	return nil
}

// readToken keeps the digest of the admin token: comparing digests takes the
// same time whatever was presented.
func (h *Admin) readToken(log *zap.Logger) error {
	if h.TrustUpstreamAuth {
		return nil
	}
	token, err := h.token()
	if err != nil {
		return err
	}
	if token == "" {
		return fmt.Errorf("the admin token of api_key_admin is empty: check its %s", h.source())
	}
	if err := validateToken(token); err != nil {
		return fmt.Errorf("the %s of api_key_admin: %w", h.source(), err)
	}
	h.secret = sha256.Sum256([]byte(token))
	if len(token) < shortToken {
		log.Warn("the admin token of api_key_admin is short: anybody who guesses it can create keys for every workspace. Make a longer one with: openssl rand -hex 32")
	}
	return nil
}

func (h *Admin) token() (string, error) {
	repl := caddy.NewReplacer()
	if h.TokenFile != "" {
		path, err := repl.ReplaceOrErr(h.TokenFile, true, true)
		if err != nil {
			return "", fmt.Errorf("the token_file of api_key_admin: %w", err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("reading the token_file of api_key_admin: %w", err)
		}
		text, err := apikey.PlainText(content)
		if err != nil {
			return "", fmt.Errorf("the token_file %s of api_key_admin: %w", path, err)
		}
		return trimmed(text), nil
	}
	token, err := repl.ReplaceOrErr(h.Token, true, true)
	if err != nil {
		return "", fmt.Errorf("resolving the token of api_key_admin, which must be known when the configuration is loaded: %w", err)
	}
	return trimmed(token), nil
}

// source says where the admin token comes from.
func (h *Admin) source() string {
	if h.TokenFile != "" {
		return "token_file " + h.TokenFile
	}
	return "token"
}

// trimmed returns a token without the spaces and line ends around it.
func trimmed(token string) string { return strings.Trim(token, " \t\r\n") }

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
	case page.Has(call.URL.Path):
		h.servePage(w, call)
	case !h.authorized(call) && !h.api.IsOpen(call):
		h.api.Unauthorized(w, call)
	default:
		h.api.ServeHTTP(w, call)
	}
}

// ownActors are the names by which the gateway speaks of itself, of its mounts,
// and of nobody.
var ownActors = []string{gatewayActor, endpointActor, apikey.CommandLine, "admin_token", "upstream_auth", "unknown"}

// someone returns who a placeholder names. Whoever has chosen a name of the
// gateway's own stands in quotes, so that the audit trail tells them apart.
func someone(name string) string {
	if slices.Contains(ownActors, strings.TrimSpace(name)) {
		return strconv.Quote(name)
	}
	return name
}

// servePage answers with a file of the Settings page, which calls the API in its
// turn.
func (h *Admin) servePage(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.api.MethodNotAllowed(w, r, "GET, HEAD")
		return
	}
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && r.URL.Path == "/" && !strings.HasSuffix(original.URL.Path, "/") {
		r.URL.Path, r.RequestURI = "", original.RequestURI // handle_path makes a slash of nothing
	}
	page.Serve(w, r)
}

// authorized reports whether a request carries the admin token, exactly once.
func (h *Admin) authorized(r *http.Request) bool {
	if h.TrustUpstreamAuth {
		return true
	}
	values := r.Header["Authorization"]
	if len(values) != 1 {
		return false
	}
	token, ok := apikey.Bearer(values[0])
	if !ok {
		return false
	}
	presented := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(presented[:], h.secret[:]) == 1
}

// actor says who makes a request.
func (h *Admin) actor(r *http.Request) string {
	if h.Actor != "" {
		return someone(expand(r, h.Actor))
	}
	if h.TrustUpstreamAuth {
		return "upstream_auth"
	}
	return "admin_token"
}

// pin returns the one workspace that a request may be about, or "" where any
// placeholder of it has no value: what stands around it is no workspace.
func (h *Admin) pin(r *http.Request) string {
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	ws, err := repl.ReplaceOrErr(h.Workspace, true, true)
	if err != nil {
		return ""
	}
	return ws
}

// expand evaluates the operator's placeholder for a request. What it evaluates
// to is not evaluated again.
func expand(r *http.Request, placeholder string) string {
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	return repl.ReplaceAll(placeholder, "")
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Admin)(nil)
	_ caddyhttp.MiddlewareHandler = (*Admin)(nil)
)
