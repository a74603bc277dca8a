package caddymodule

import (
	"net/http"

	"github.com/agiled/caddy-api-keys/internal/authn"
)

// clean reads from a request what the decision depends on, and removes from it
// what must not reach an upstream, or an error route, whatever the decision is.
func (h *Auth) clean(r *http.Request) authn.Facts {
	header := r.Header
	facts := authn.Facts{
		Method:          r.Method,
		Path:            pathOf(r),
		Authorization:   header["Authorization"],
		Upgrade:         len(header["Upgrade"]) > 0 || r.Method != http.MethodConnect && len(header[":protocol"]) > 0,
		ExtendedConnect: extendedConnect(r),
		EarlyData:       r.TLS != nil && !r.TLS.HandshakeComplete || len(header["Early-Data"]) > 0,
		Browser:         fromBrowser(header["Sec-Fetch-Site"]),
		Client:          sender{r},
		Preflight:       r.Method == http.MethodOptions && len(header["Origin"]) > 0 && len(header["Access-Control-Request-Method"]) > 0,
	}
	h.forged.Strip(r)
	facts.Override = h.override.Strip(r)
	if !h.ForwardToken {
		delete(header, "Authorization")
	}
	return facts
}

// sender is who sent a request.
type sender struct{ *http.Request }

// Address returns the client's address, as the site sees it.
func (s sender) Address() string { return remoteIP(s.Request) }

// pathOf returns the path as the upstream will see it, or "" where that is not
// sure: for a target without a path ("x:public/me"), and where a header names
// another one, which some servers obey.
func pathOf(r *http.Request) string {
	if r.URL.Opaque != "" || len(r.Header["X-Original-Url"]) > 0 || len(r.Header["X-Rewrite-Url"]) > 0 {
		return ""
	}
	return r.URL.EscapedPath()
}

// extendedConnect reports whether a CONNECT asks for a WebSocket. HTTP/2 names
// the protocol in a pseudo-header (RFC 8441), HTTP/3 as that of the request
// (RFC 9220). No other protocol can be handed on: reverse_proxy would send the
// upstream a CONNECT that names none, which asks for a tunnel.
func extendedConnect(r *http.Request) bool {
	if r.Method != http.MethodConnect {
		return false
	}
	switch r.ProtoMajor {
	case 2:
		protocol := r.Header[":protocol"]
		return len(protocol) == 1 && protocol[0] == "websocket"
	case 3:
		return r.Proto == "websocket"
	}
	return false
}

// fromBrowser reports whether Sec-Fetch-Site says that a page sent the request.
// Scripts cannot set it, and only browsers send it. "none" is a person at the
// address bar.
func fromBrowser(values []string) bool {
	for _, value := range values {
		switch value {
		case "cross-site", "same-site", "same-origin":
			return true
		}
	}
	return false
}
