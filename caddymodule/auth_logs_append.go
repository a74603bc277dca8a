package caddymodule

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/intercept"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/logging"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/agiled/caddy-api-keys/identity"
)

// refuseAppendedTokens refuses a configuration that has a log_append write one of the
// headers with tokens to the access log, which no format redacts. As in
// refuseLoggedTokens, all requests count.
func (a *App) refuseAppendedTokens(ctx caddy.Context, tokenHeader string) error {
	app, err := ctx.AppIfConfigured("http")
	if err != nil {
		return nil // there are no routes
	}
	secret := identity.NewHeaders("Authorization", cmp.Or(tokenHeader, "Authorization"))
	servers := app.(*caddyhttp.App).Servers
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		for _, value := range a.appended.of(servers[name]) {
			for header := range headersIn(value) {
				if secret.Match(header) {
					return fmt.Errorf("log_append with %s would write tokens to the access log: remove it. Of a request with an API key, the access log has the id of the key, as api_key_id", value)
				}
			}
		}
	}
	return nil
}

// refuseAppendedBodies refuses a server that has a log_append write bodies to the access
// log: those of the admin API have tokens, which are shown once.
func (a *App) refuseAppendedBodies(ctx caddy.Context, directive string) error {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return nil
	}
	for _, value := range a.appended.of(server) {
		if strings.Contains(value, "http.request.body") || strings.Contains(value, "http.response.body") {
			return fmt.Errorf("log_append with %s would write tokens to the access log: remove it from the server that uses %s", value, directive)
		}
	}
	return nil
}

// appendedTo are the values of all log_append of servers. Each server is searched once, and
// not again for each of the handlers that ask, of which there may be one on every site.
type appendedTo map[*caddyhttp.Server][]string

// of returns the values of all log_append of a server.
func (all *appendedTo) of(server *caddyhttp.Server) []string {
	if known, ok := (*all)[server]; ok {
		return known
	}
	var found appended
	found.routes(server.Routes)
	for _, route := range server.NamedRoutes {
		found.routes(caddyhttp.RouteList{*route})
	}
	found.errors(server.Errors)
	slices.Sort(found)
	if *all == nil {
		*all = make(appendedTo)
	}
	(*all)[server] = slices.Compact(found)
	return (*all)[server]
}

// appended are the values of those log_append that were found in routes. Some routes are
// provisioned already, and others are still JSON.
type appended []string

func (a *appended) routes(routes caddyhttp.RouteList) {
	for _, route := range routes {
		for _, handler := range route.Handlers {
			a.handler(handler)
		}
		for _, config := range route.HandlersRaw {
			a.config(config)
		}
	}
}

func (a *appended) errors(errors *caddyhttp.HTTPErrorConfig) {
	if errors != nil {
		a.routes(errors.Routes)
	}
}

func (a *appended) handler(handler caddyhttp.MiddlewareHandler) {
	var responses []caddyhttp.ResponseHandler
	switch h := handler.(type) {
	case *logging.LogAppend:
		*a = append(*a, h.Value)
	case *caddyhttp.Subroute:
		a.routes(h.Routes)
		a.errors(h.Errors)
	case *reverseproxy.Handler:
		responses = h.HandleResponse
	case *intercept.Intercept:
		responses = h.HandleResponse
	}
	for _, response := range responses {
		a.routes(response.Routes)
	}
}

// config finds them in the JSON of a handler. Most of it is not parsed: a large
// configuration is searched for every api_key_auth in it.
func (a *appended) config(text json.RawMessage) {
	var parsed any
	if bytes.Contains(text, []byte("log_append")) && json.Unmarshal(text, &parsed) == nil {
		a.value(parsed)
	}
}

func (a *appended) value(parsed any) {
	switch v := parsed.(type) {
	case []any:
		for _, element := range v {
			a.value(element)
		}
	case map[string]any:
		if value, ok := v["value"].(string); ok && v["handler"] == "log_append" {
			*a = append(*a, value)
		}
		for _, member := range v {
			a.value(member)
		}
	}
}
