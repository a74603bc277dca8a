package caddymodule

import (
	"net/http"
	"strings"

	"github.com/agiled/caddy-api-keys/identity"
	"github.com/agiled/caddy-api-keys/internal/authn"
)

// clean reads from a request what the decision depends on, and removes from it
// what must not reach an upstream, or an error route, whatever the decision is.
// It walks over the header once: with the dozen fields that clients send, that
// costs less than to look for each of those that could be there.
func (h *Auth) clean(r *http.Request) authn.Facts {
	facts := authn.Facts{
		Method:    r.Method,
		WebSocket: asksWebSocket(r),
		EarlyData: r.TLS != nil && !r.TLS.HandshakeComplete,
		Preflight: preflight(r),
		Client:    sender{r},
	}
	if len(h.ReadPaths) > 0 {
		facts.Path = pathOf(r)
	}
	connection, upgrade := false, false
	for name, values := range r.Header {
		switch name {
		case "Authorization":
			facts.Authorization = values
			if !h.ForwardToken {
				delete(r.Header, name)
			}
		case "Connection":
			connection = true
		case "Early-Data":
			facts.EarlyData = facts.EarlyData || len(values) > 0
		case "Sec-Fetch-Site":
			facts.Browser = fromBrowser(values)
		case "Upgrade":
			upgrade = true
		case ":protocol":
			if r.Method != http.MethodConnect { // which alone has one
				delete(r.Header, name)
			}
		}
		if h.notable.Match(name) {
			facts.OtherMethod = facts.OtherMethod || namesMethod.Match(name)
			facts.OtherPath = facts.OtherPath || namesPath.Match(name)
			if !namesPrefix.Match(name) {
				delete(r.Header, name)
			}
		}
	}
	if connection {
		h.notable.StripConnection(r.Header)
	}
	if upgrade && (!facts.WebSocket || r.Method == http.MethodConnect) {
		declineUpgrade(r.Header)
	}
	r.Trailer = nil
	return facts
}

// preflight reports whether a browser asks if a page may send a request.
func preflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && len(r.Header["Origin"]) > 0 && len(r.Header["Access-Control-Request-Method"]) > 0
}

// sender is who sent a request.
type sender struct{ *http.Request }

// Address returns the client's address, as the site sees it.
func (s sender) Address() string { return remoteIP(s.Request) }

// pathOf returns the path as the upstream will see it, or "" for a target without
// a path ("x:public/me").
func pathOf(r *http.Request) string {
	if r.URL.Opaque != "" {
		return ""
	}
	return r.URL.EscapedPath()
}

// http2Settings goes with an offer to speak HTTP/2 (RFC 7540, section 3.2.1).
const http2Settings = "HTTP2-Settings"

var upgradeHeader = identity.NewHeaders("Upgrade")

// declineUpgrade removes an offer to speak another protocol. Whoever makes one
// must be content with an answer to the request as it stands (RFC 9110, section
// 7.8). Nobody judges what follows an upgrade, and in HTTP/2 that is requests.
func declineUpgrade(header http.Header) {
	delete(header, "Upgrade")
	upgradeHeader.StripConnection(header)
}

// asksWebSocket reports whether a request asks to become a WebSocket, and
// nothing else. Of a list reverse_proxy lets the upstream choose.
func asksWebSocket(r *http.Request) bool {
	if r.Method == http.MethodConnect {
		return extendedConnect(r)
	}
	const protocol = "websocket"
	values := r.Header["Upgrade"]
	// The length tells it from what Unicode folds to the same letters.
	return len(values) == 1 && len(values[0]) == len(protocol) && strings.EqualFold(values[0], protocol)
}

// extendedConnect reports whether a CONNECT asks for a WebSocket. HTTP/2 names
// the protocol in a pseudo-header (RFC 8441), HTTP/3 as that of the request
// (RFC 9220). No other protocol can be handed on: reverse_proxy would send the
// upstream a CONNECT that names none, which asks for a tunnel.
func extendedConnect(r *http.Request) bool {
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
