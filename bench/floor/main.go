// Command floor is the gateway with a handler that does nothing but what each request
// carries because of a check: it removes the token, and sets the headers that api_key_auth
// sets, always to the same values.
package main

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/agiled/caddy-api-keys/caddymodule"
)

func main() {
	caddy.RegisterModule(sameHeaders{})
	httpcaddyfile.RegisterHandlerDirective("same_headers", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return sameHeaders{}, nil
	})
	httpcaddyfile.RegisterDirectiveOrder("same_headers", httpcaddyfile.Before, "reverse_proxy")
	caddycmd.Main()
}

type sameHeaders struct{}

func (sameHeaders) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.same_headers", New: func() caddy.Module { return sameHeaders{} }}
}

// ServeHTTP uses one array for all values, as api_key_auth does for each kind of header:
// anything that changes a value changes this request's.
func (sameHeaders) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	values := [5]string{
		"ws-42", "key_01890A5DAC96774BBCCEB30209", "full",
		`"key-read";q=60;w=60`, `"key-read";r=59;t=60`,
	}
	delete(r.Header, "Authorization")
	r.Header["X-Workspace-Id"] = values[0:1:1]
	r.Header["X-Api-Key-Id"] = values[1:2:2]
	r.Header["X-Api-Key-Access"] = values[2:3:3]
	response := w.Header()
	response["Ratelimit-Policy"] = values[3:4:4]
	response["Ratelimit"] = values[4:5:5]
	return next.ServeHTTP(w, r)
}
