package caddymodule

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/intercept"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/identity"
)

// neighbours walks the routes of a server in the order in which they run, and finds
// handlers that undo what an api_key_auth does:
//
//   - before it, those that copy a header that it removes, or that answer every request;
//   - after it, those that change the method that it has judged;
//   - in error routes, proxies that get no identity because no api_key_auth comes
//     before them.
//
// It sees what is configured, not what a request will match, so it only warns. It
// also finds out whether a proxy may hold requests back.
type neighbours struct {
	copies   []copied // seen so far
	guarded  bool     // an api_key_auth came before
	answered string   // the handler that answers all requests that come here, if any
	seen     bool     // there is one in these routes
	errors   bool     // these are error routes of a server that has one
	holds    bool     // a proxy may send a request long after it got it
	warnings []string
}

// lookAround walks the routes of every server, and logs warnings about them. Start
// calls it, because not all routes are provisioned before.
func (a *App) lookAround() {
	app, err := a.ctx.AppIfConfigured("http")
	if err != nil { // there are no routes
		a.sendsAtOnce.Store(true)
		return
	}
	holds := false
	for name, server := range app.(*caddyhttp.App).Servers {
		n := neighboursOf(server)
		holds = holds || n.holds
		for _, warning := range n.warnings {
			a.log.Warn(warning, zap.String("server", name))
		}
	}
	a.sendsAtOnce.Store(!holds)
}

// copied is a request header that a handler copies.
type copied struct{ by, header string }

// neighboursOf walks the routes of a server.
func neighboursOf(server *caddyhttp.Server) (n neighbours) {
	n.routes(server.Routes)
	for _, name := range slices.Sorted(maps.Keys(server.NamedRoutes)) {
		n.copies, n.guarded, n.answered = nil, false, ""
		n.routes(caddyhttp.RouteList{*server.NamedRoutes[name]})
	}
	if server.Errors != nil && n.seen {
		n.copies, n.guarded, n.answered, n.errors = nil, false, "", true
		n.routes(server.Errors.Routes)
	}
	slices.Sort(n.warnings)
	n.warnings = slices.Compact(n.warnings)
	return n
}

// routes walks a list of routes. Only one route of a group runs, so each starts from
// what came before the group. If another route of the group, or a matcher, may have kept
// requests from a route, it does not answer all of them.
func (n *neighbours) routes(routes caddyhttp.RouteList) {
	type state struct {
		copies  []copied
		guarded bool
	}
	groups := make(map[string]state)
	for _, route := range routes {
		before, ok := groups[route.Group]
		if route.Group != "" && ok {
			n.copies, n.guarded = before.copies, before.guarded
		} else {
			groups[route.Group] = state{slices.Clip(n.copies), n.guarded}
		}
		answered := n.answered
		for _, handler := range route.Handlers {
			n.handler(handler)
		}
		if len(route.MatcherSets) > 0 || route.Group != "" && ok {
			n.answered = answered
		}
	}
}

func (n *neighbours) handler(handler caddyhttp.MiddlewareHandler) {
	switch h := handler.(type) {
	case *caddyhttp.Subroute:
		n.routes(h.Routes)
		if h.Errors != nil {
			n.later(h.Errors.Routes)
		}
	case *intercept.Intercept:
		for _, response := range h.HandleResponse {
			n.later(response.Routes)
		}
	case *Auth:
		n.auth(h)
	case *caddyhttp.VarsMiddleware:
		for _, name := range slices.Sorted(maps.Keys(*h)) {
			n.copyIn("vars", fmt.Sprint((*h)[name]))
		}
	case *headers.Handler:
		if h.Request != nil {
			n.copyIn("request_header", headerValues(h.Request)...)
		}
	case *rewrite.Rewrite:
		n.method("method", h.Method)
	case *reverseproxy.Handler:
		n.proxy(h)
	case *caddyhttp.StaticResponse:
		if h.StatusCode != "103" && !strings.Contains(string(h.StatusCode), "{") { // 103 does not answer
			n.answers("respond or redir")
		}
	case *caddyhttp.StaticError:
		n.answers("error")
	case *fileserver.FileServer:
		if !h.PassThru {
			n.answers("file_server")
		}
	}
}

// answers records a handler that answers every request that it gets.
func (n *neighbours) answers(handler string) {
	n.answered = cmp.Or(n.answered, handler)
}

func (n *neighbours) proxy(h *reverseproxy.Handler) {
	if n.errors && !n.guarded {
		n.warnings = append(n.warnings, "reverse_proxy in handle_errors has no api_key_auth before it: its upstream is not told whose key a request has. Put api_key_auth before it if the upstream needs to know")
	}
	if h.Rewrite != nil {
		n.method("method of reverse_proxy", h.Rewrite.Method)
	}
	n.holds = n.holds || mayHold(h)
	for _, response := range h.HandleResponse { // as of forward_auth
		n.later(response.Routes)
	}
	if len(h.HandleResponse) == 0 {
		n.answers("reverse_proxy")
	}
}

// later walks routes that run once an upstream has responded, which may take long. After
// them, even if there are none, forward_auth passes the request on. They run for some
// requests only, and for some that a handler has not answered.
func (n *neighbours) later(routes caddyhttp.RouteList) {
	defer func(answered string) { n.answered = answered }(n.answered)
	n.holds, n.answered = true, ""
	n.routes(routes)
}

// mayHold reports whether a proxy may send a request long after it got it: while it retries,
// or waits for a connection, for a TLS handshake, or for a name to be resolved.
func mayHold(h *reverseproxy.Handler) bool {
	if lb := h.LoadBalancing; lb != nil && (lb.TryDuration > 0 || lb.Retries > 0) {
		return true
	}
	transport, ok := h.Transport.(*reverseproxy.HTTPTransport)
	return h.DynamicUpstreams != nil || ok && (transport.MaxConnsPerHost > 0 || transport.TLS != nil)
}

func headerValues(ops *headers.HeaderOps) (values []string) {
	for _, fields := range []map[string][]string{ops.Add, ops.Set} {
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			values = append(values, fields[name]...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(ops.Replace)) {
		for _, replacement := range ops.Replace[name] {
			values = append(values, replacement.Replace)
		}
	}
	return values
}

// copyIn records the request headers that a handler's values refer to.
func (n *neighbours) copyIn(by string, texts ...string) {
	for _, text := range texts {
		for header := range headersIn(text) {
			n.copies = append(n.copies, copied{by, header})
		}
	}
}

// headersIn returns the request headers whose placeholders are in a text.
func headersIn(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, part := range strings.Split(text, "{http.request.header.")[1:] {
			if header, _, _ := strings.Cut(part, "}"); !yield(header) {
				return
			}
		}
	}
}

func (n *neighbours) auth(h *Auth) {
	removed := identity.NewHeaders(append(h.ownHeaders(), "Authorization")...)
	for _, c := range n.copies {
		if removed.Match(c.header) {
			n.warnings = append(n.warnings, fmt.Sprintf("%s before api_key_auth copies the client's %s. api_key_auth removes the header but not the copy, and anything that reads the copy trusts the client. Remove it, or move it after api_key_auth", c.by, c.header))
		}
	}
	if n.answered != "" {
		n.warnings = append(n.warnings, n.answered+" before api_key_auth answers every request, so that api_key_auth checks none. Move it after api_key_auth")
	}
	n.guarded, n.seen = true, true
}

// method records a handler that changes the method of a judged request. A
// placeholder can be any method.
func (n *neighbours) method(by, method string) {
	if method == "" || !n.guarded {
		return
	}
	n.warnings = append(n.warnings, fmt.Sprintf("%s %s after api_key_auth changes the method that was checked: a read-only key's GET reaches the upstream as %s. Move it before api_key_auth", by, method, method))
}
