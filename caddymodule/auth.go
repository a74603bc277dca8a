package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/identity"
	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/authn"
)

// Auth lets a request pass only if it carries a valid API key, and tells the
// handlers after it whose key it is.
//
// A request passes if it has exactly one `Authorization` header with a bearer
// token, the token is that of a key which has neither expired nor been revoked,
// the key's workspace is not suspended, and the key may do what the request
// asks for: a read-only key may not write. Anything else is refused with a JSON
// body, or by the site's `handle_errors`, and reaches no later handler. A request
// under way ends within a second after its key: neither its body nor its answer
// is passed on any further, and WebSockets are closed.
//
// Where a request meets a second one, such as a stricter one for a part of the
// site, that judges the key which the first has found, by its own rules.
//
// The identity headers are removed from every request in all their spellings,
// and set anew on those that pass.
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

	// Paths to which a POST only reads: each exact, or ending in `*`. A path
	// that two servers could read differently is never one of them.
	ReadPaths []string `json:"read_paths,omitempty"`

	// How often a key may be used. Default: no limit.
	RateLimit RateLimits `json:"rate_limit,omitzero"`

	// A path at which GET and HEAD are answered with the key's own workspace,
	// name, preset and expiry, and do not reach the upstream. Default: none.
	Whoami string `json:"whoami,omitempty"`

	// Whether a key may be used from a browser: `refuse` or `allow`. Whoever
	// can read a page's code can reuse its key. Default: `refuse`.
	Browsers string `json:"browsers,omitempty"`

	// Whether to hand `Authorization` on to the upstream. It is removed
	// otherwise.
	ForwardToken bool `json:"forward_token,omitempty"`

	log      *zap.Logger // of what goes wrong
	app      *App
	policy   authn.Policy
	notable  identity.Headers // what clean looks for in every spelling
	refusals map[authn.Result]refusal
}

// CaddyModule returns the Caddy module information.
func (Auth) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.api_key_auth", New: func() caddy.Module { return new(Auth) }}
}

// Provision sets defaults, and prepares what every request needs.
func (h *Auth) Provision(ctx caddy.Context) error {
	setDefault(&h.WorkspaceHeader, identity.WorkspaceHeader)
	setDefault(&h.KeyIDHeader, identity.KeyIDHeader)
	setDefault(&h.AccessHeader, identity.AccessHeader)
	setDefault(&h.Realm, "api")
	setDefault(&h.Browsers, refuse)
	if len(h.ReadMethods) == 0 {
		h.ReadMethods = []string{http.MethodGet, http.MethodHead, http.MethodOptions}
	}
	if err := h.check(); err != nil {
		return err
	}
	if err := refuseLoggedCredentials(ctx); err != nil {
		return err
	}
	app, err := ctx.App(appName)
	if err != nil {
		return fmt.Errorf("loading the api_keys app: %w", err)
	}
	h.app = app.(*App)
	h.app.keepDescriptors(ctx)
	h.log = sampledLogger()
	h.policy = authn.Policy{
		ReadMethods: h.ReadMethods, ReadPaths: h.ReadPaths,
		ReadLimit: h.RateLimit.Read.limit(), WriteLimit: h.RateLimit.Write.limit(),
		AllowBrowsers: h.Browsers == allow,
	}
	h.notable = identity.NewHeaders(slices.Concat(methodHeaders, pathHeaders, prefixHeaders, []string{
		h.WorkspaceHeader, h.KeyIDHeader, h.AccessHeader, http2Settings,
		identity.WorkspaceHeader, identity.KeyIDHeader, identity.AccessHeader, identity.AssertionHeader,
	})...)
	h.refusals = refusals(h.Realm)
	// net/http sends and looks up canonical names: any other spelling would
	// stand beside the client's own header instead of in its place.
	for _, name := range []*string{&h.WorkspaceHeader, &h.KeyIDHeader, &h.AccessHeader} {
		*name = http.CanonicalHeaderKey(*name)
	}
	return nil
}

// refuseLoggedCredentials refuses a server whose access log would have tokens.
// Caddy takes the copy for its log before any handler runs.
func refuseLoggedCredentials(ctx caddy.Context) error {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if ok && server.Logs != nil && server.Logs.ShouldLogCredentials {
		return errors.New("log_credentials would write every token into the access log: remove it from the server that has api_key_auth or api_key_admin")
	}
	return nil
}

// ServeHTTP reads from the request what matters, and cleans it; judges it;
// and refuses it, answers it itself, or hands it on.
//
// Where another api_key_auth has let the request pass before, it is judged again,
// by this one's rules and with what that one saw of it.
func (h *Auth) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if len(r.Trailer) > 0 {
		next = withoutTrailers{next, r.Trailer, r.Body}
	}
	facts := h.clean(r)
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	first := firstPassage(repl)
	if first != nil {
		first.last.retract(w.Header())
		first.last.inherit(&facts)
	}

	shared := h.app.instance(r.Context())
	begun := time.Since(processStart)
	decision, ok := h.decide(r.Context(), shared, &facts)
	took := time.Since(processStart) - begun
	if !ok {
		return internalError.write(w, r)
	}
	collectors.CountRequest(&decision, took)
	annotate(r.Context(), &decision)
	announce(w.Header(), &decision)
	if facts.Browser && first == nil && decision.Key != nil && decision.Key.ExposedAt.IsZero() {
		shared.exposed(decision.Key, remoteIP(r))
	}
	if decision.Key != nil && decision.Key.Status(decision.At) == apikey.Active {
		announceReplacement(w.Header(), decision.Key)
	}
	if !decision.Allowed() {
		return h.refuse(w, r, &decision)
	}

	passed := new(passage)
	passed.begin(h, &decision, &facts, first)
	passed.identify(r, repl)
	if h.asksWhoami(r) {
		return answerWhoami(w, decision.Key)
	}
	announceExpiry(w.Header(), decision.Key, decision.At)
	onward := passed.stream.begin(w, r, shared.authn, decision.Key, facts.WebSocket)
	passed.announce(&passed.stream, &decision)
	return h.serve(passed, r, onward, next, &decision)
}

// serve has the handlers after this one answer a request that passed, for as long
// as its key may be used. If the key ends before an answer has begun, it is that
// of any other request with the key. One that has begun is cut off, so that
// nobody takes it for complete.
func (h *Auth) serve(passed *passage, r, onward *http.Request, next caddyhttp.Handler, d *authn.Decision) (err error) {
	flow, returned := &passed.stream, false
	descriptors.requests.Add(1)
	defer func() {
		descriptors.requests.Add(-1)
		flow.done()
		if why := flow.Ended(); why != "" && (!returned || err != nil || flow.cut.Load()) {
			ended := *d
			ended.Result = why
			err = h.cutOff(flow, r, &ended, err, recover())
		}
	}()
	err = next.ServeHTTP(passed, onward)
	returned = true
	dropTrailers(passed.Header())
	return err
}

// cutOff ends the answer to a request whose key has ended, after its handlers have
// returned an error or panicked.
func (h *Auth) cutOff(flow *stream, r *http.Request, ended *authn.Decision, err error, panicked any) error {
	annotate(r.Context(), ended)
	if panicked != nil && panicked != http.ErrAbortHandler {
		panic(panicked)
	}
	if flow.begun {
		if flow.socket && panicked == nil {
			return err
		}
		panic(http.ErrAbortHandler) // as reverse_proxy does
	}
	if flow.body.ReadCloser != nil {
		r.Body = flow.body.rest()
	}
	w := flow.ResponseWriter
	announceNothing(w.Header())
	if len(w.Header()[limitHeader]) == 0 { // it was dropped with the answer that is not given
		announce(w.Header(), ended)
	}
	return h.refuse(w, r, ended)
}

// withoutTrailers keeps a client's trailers from the error routes too. If a
// handler before this one has copied the request, they see Caddy's own, and
// net/http fills in its trailers when the body has been read to its end.
type withoutTrailers struct {
	caddyhttp.Handler
	trailers http.Header
	body     io.Closer
}

func (h withoutTrailers) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	err := h.Handler.ServeHTTP(w, r)
	if err != nil {
		_ = h.body.Close()
		clear(h.trailers)
	}
	return err
}

// processStart is what durations are measured from: reading the monotonic clock
// alone takes half as long as time.Now.
var processStart = time.Now()

// decide asks the authenticator. It is not ok where the check panics: that is to
// end in an answer, and in a refusal.
func (h *Auth) decide(ctx context.Context, shared *instance, facts *authn.Facts) (decision authn.Decision, ok bool) {
	defer func() {
		if p := recover(); p != nil {
			h.log.Error("panic while judging a request", zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			decision, ok = authn.Decision{}, false
		}
	}()
	if shared == nil || !roomForRequest() {
		return authn.Decision{Result: authn.Unavailable, Action: authn.Read}, true
	}
	return shared.authn.Check(ctx, &h.policy, facts), true
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Auth)(nil)
	_ caddyhttp.MiddlewareHandler = (*Auth)(nil)
)
