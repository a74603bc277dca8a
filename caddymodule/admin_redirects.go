package caddymodule

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// Caddy redirects http:// to https://, and logs what it redirects like the site does: a
// feed's URL, and once more as Location. The request never comes to the mount, so the
// routes that redirect leave such a request out of the log themselves. They are made, and
// perhaps compiled, before a mount is provisioned, and from then on only the elements of
// their matcher sets can be replaced. So a matcher does it, as the last of its set: once
// the others have matched, the request is redirected.

// unlogRedirects keeps the tokens in paths out of the access log of redirects.
func (h *Admin) unlogRedirects(ctx caddy.Context) {
	app, err := ctx.AppIfConfigured("http")
	if err != nil {
		return
	}
	for _, server := range app.(*caddyhttp.App).Servers {
		for _, route := range server.Routes {
			if to, ok := redirectTarget(route); ok {
				set := &route.MatcherSets[0]
				*set = append(slices.Clip(*set), redirected{h, to})
			}
		}
	}
}

// requestURI ends the target of Caddy's redirects.
const requestURI = "{http.request.uri}"

// redirectTarget returns where a route redirects to, without the path, if it is one that
// Caddy has made for automatic HTTPS. A configuration has pointers to its handlers and
// matchers instead.
func redirectTarget(route caddyhttp.Route) (to string, ok bool) {
	if len(route.MatcherSets) != 1 || len(route.MatcherSets[0]) == 0 || len(route.Handlers) != 1 {
		return "", false
	}
	set := route.MatcherSets[0]
	_, byProtocol := set[0].(caddyhttp.MatchProtocol)
	_, twice := set[len(set)-1].(redirected)
	response, responds := route.Handlers[0].(caddyhttp.StaticResponse)
	if !byProtocol || twice || !responds {
		return "", false
	}
	return strings.CutSuffix(response.Headers.Get("Location"), requestURI)
}

// redirected is a matcher that matches every request, and leaves those with a token in the
// path out of the access log.
type redirected struct {
	admin *Admin
	to    string
}

// MatchWithError implements caddyhttp.RequestMatcherWithError.
func (m redirected) MatchWithError(r *http.Request) (bool, error) {
	if !apikey.HoldsToken(r.URL.Path) {
		return true, nil
	}
	if logs, ok := leaveOutOfLog(r); ok {
		logged := r.WithContext(r.Context())
		logged.RequestURI = redactedURI(r.URL)
		header := http.Header{"Connection": {"close"}, "Location": {expand(r, m.to) + logged.RequestURI}}
		m.admin.logAccess(logs, logged, answered{http.StatusPermanentRedirect, 0, header}, 0)
	}
	return true, nil
}

// Interface guards
var _ caddyhttp.RequestMatcherWithError = redirected{}
