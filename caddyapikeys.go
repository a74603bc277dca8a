// Package caddyapikeys is an API-key gateway for Caddy: it creates, stores and revokes the
// API keys of many workspaces, lets a request through only with a valid one, and tells the
// upstream whose it is.
//
// The package exists to be built into a Caddy and exports nothing; importing
// it registers the modules of package caddymodule. Operators build with xcaddy:
//
//	xcaddy build --with github.com/agiled/caddy-api-keys
//
// Developers build the same server from a checkout with go build ./cmd/caddy.
package caddyapikeys

import _ "github.com/agiled/caddy-api-keys/caddymodule"
