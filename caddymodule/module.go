// Package caddymodule makes the gateway part of Caddy. It registers
//
//   - the app api_keys ([App]), which opens the key store,
//   - the handler api_key_auth ([Auth]), which protects an API,
//   - the handler api_key_admin ([Admin]), which serves the admin API on a site,
//   - the handler api_key_leaks ([Leaks]), which takes reports of leaked tokens,
//   - the admin module admin.api.api_keys, which serves it on Caddy's admin endpoint,
//   - the log format lazy (package lazylog), and
//   - the command api-keys (package cli).
//
// Only it and the packages below it import Caddy. It decides nothing about a request
// itself: it reads the [authn.Facts], asks the authenticator, and turns the
// decision into headers or a refusal.
package caddymodule

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/agiled/caddy-api-keys/caddymodule/cli"
	_ "github.com/agiled/caddy-api-keys/caddymodule/lazylog" // the log format lazy
)

func init() {
	caddy.RegisterModule(new(App))
	caddy.RegisterModule(Auth{})
	caddy.RegisterModule(Admin{})
	caddy.RegisterModule(Leaks{})
	caddy.RegisterModule(adminEndpoint{})

	httpcaddyfile.RegisterGlobalOption("api_keys", parseGlobalOption)
	httpcaddyfile.RegisterHandlerDirective("api_key_auth", parseAuth)
	httpcaddyfile.RegisterHandlerDirective("api_key_admin", parseAdmin)
	httpcaddyfile.RegisterHandlerDirective("api_key_leaks", parseLeaks)
	// Each goes directly before basic_auth, so the first stays the first: api_key_auth would
	// refuse the reports that are for api_key_leaks.
	httpcaddyfile.RegisterDirectiveOrder("api_key_leaks", httpcaddyfile.Before, "basic_auth")
	httpcaddyfile.RegisterDirectiveOrder("api_key_auth", httpcaddyfile.Before, "basic_auth")
	httpcaddyfile.RegisterDirectiveOrder("api_key_admin", httpcaddyfile.Before, "respond")

	caddycmd.RegisterCommand(cli.Command(mover{}))
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
