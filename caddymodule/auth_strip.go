package caddymodule

import (
	"net/http"

	"github.com/agiled/caddy-api-keys/identity"
)

// strip removes from a request what must not reach an upstream or an error route,
// for any decision: suspect headers and their names in Connection, the token,
// trailers, and offers to speak any protocol but a WebSocket's.
func (h *Auth) strip(r *http.Request, suspect, webSocket bool) {
	r.Trailer = nil
	if suspect {
		h.stripHeaders(r.Header)
	}
	if !h.ForwardToken {
		h.removeToken(r.Header)
	}
	if r.Method != http.MethodConnect { // which alone has a protocol
		delete(r.Header, ":protocol")
	}
	h.notable.StripConnection(r.Header)
	if !webSocket || r.Method == http.MethodConnect {
		declineUpgrade(r.Header)
	}
}

// stripHeaders removes the headers that an upstream could take for the gateway's
// own, or for another request, and the other spellings of the one with the token.
func (h *Auth) stripHeaders(header http.Header) {
	for name := range header {
		if h.notable.Match(name) && !namesPrefix.Match(name) && (name != h.TokenHeader || !h.ForwardToken) {
			delete(header, name)
		}
	}
}

// removeToken removes the headers that can have the token.
func (h *Auth) removeToken(header http.Header) {
	delete(header, "Authorization")
	if h.TokenHeader != "" {
		delete(header, h.TokenHeader)
	}
}

// http2Settings accompanies an offer to speak HTTP/2 (RFC 7540, section 3.2.1).
const http2Settings = "HTTP2-Settings"

var upgradeHeader = identity.NewHeaders("Upgrade")

// declineUpgrade removes an offer to speak another protocol, which a server may
// always decline (RFC 9110, section 7.8). What follows an upgrade is not judged,
// and in HTTP/2 that would be requests.
func declineUpgrade(header http.Header) {
	if _, offered := header["Upgrade"]; !offered {
		return
	}
	delete(header, "Upgrade")
	upgradeHeader.StripConnection(header)
}

// Headers that make some upstreams handle a different request from the one that
// was judged. They are matched in every spelling and with any value: frameworks
// differ in the values that they obey.
var (
	// methodHeaders name another method. A request with one is a write. Rack,
	// Symfony, Express and many others read the first, OData services the second.
	// The next two tell a server for forward authentication, such as Authelia,
	// which request to judge. Single applications read the others, some of them
	// unconditionally.
	methodHeaders = []string{
		"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-HTTP-Verb-Override",
		"X-Forwarded-Method", "X-Original-Method",
		"X-Method", "X-REST-Method", "X-Override-Method", "X-Requested-Method", "Method-Override",
	}

	// pathHeaders name another path. The first two are those of IIS's modules, and
	// were obeyed on any server by Symfony (CVE-2018-14773), Drupal
	// (SA-CORE-2018-005) and Zend (ZF2018-01); Yii 2 still reads the second. The
	// next three are set by proxies (nginx's auth_request, Traefik and Caddy's
	// forward_auth, Kong), and read by what stands behind them. PATH_INFO is one of
	// Gunicorn's forwarder_headers. Astro's Vercel adapter obeyed x-astro-path
	// (CVE-2026-33768), Svelte's adapter for Azure Static Web Apps x-ms-original-url.
	// Single applications read the others.
	pathHeaders = []string{
		"X-Original-URL", "X-Rewrite-URL",
		"X-Original-URI", "X-Forwarded-URI", "X-Forwarded-Path",
		"Path-Info",
		"X-Forwarded-URL", "X-Original-Path", "X-Request-URI", "X-Override-URL", "X-HTTP-Path-Override",
		"X-Astro-Path", "X-MS-Original-URL", "X-WAWS-Unencoded-URL", "X-Now-Route-Matches",
		"X-Matched-Path", "X-Invoke-Path", "X-Envoy-Original-Path",
	}

	// prefixHeaders name the part of the path that an outer proxy has removed.
	// Applications build links with it, so these headers are forwarded. But some
	// applications also change the path that they route by (Gunicorn's SCRIPT_NAME,
	// Flask's recipe for X-Script-Name, mod_wsgi with WSGITrustedProxyHeaders).
	prefixHeaders = []string{"X-Forwarded-Prefix", "X-Script-Name", "Script-Name", "X-Forwarded-Script-Name", "X-Traversal-Path"}
)

var (
	namesMethod = identity.NewHeaders(methodHeaders...)
	namesPath   = identity.NewHeaders(append(pathHeaders, prefixHeaders...)...)
	namesPrefix = identity.NewHeaders(prefixHeaders...)
)
