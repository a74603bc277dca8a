package caddymodule

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/agiled/caddy-api-keys/internal/authn"
)

// readFacts returns what the decision depends on, and whether there are headers
// that strip must look for: an upstream could take them for something that the
// gateway decides. It changes nothing.
//
// It walks the header once: with the dozen fields that clients send, that costs
// less than looking up every field that could be there.
func (h *Auth) readFacts(r *http.Request) (facts authn.Facts, suspect bool) {
	facts = authn.Facts{
		Method:    r.Method,
		WebSocket: asksWebSocket(r),
		EarlyData: r.TLS != nil && !r.TLS.HandshakeComplete,
		Preflight: isPreflight(r),
		Client:    sender{r},
	}
	if len(h.ReadPaths) > 0 {
		facts.Path = escapedPath(r)
	}
	for name, values := range r.Header {
		switch name {
		case "Authorization":
			facts.Authorization = values
		case "Early-Data":
			facts.EarlyData = facts.EarlyData || len(values) > 0
		case "Sec-Fetch-Site":
			facts.Browser = fromBrowser(values)
		}
		if h.notable.Match(name) {
			suspect = true
			facts.OtherMethod = facts.OtherMethod || namesMethod.Match(name)
			facts.OtherPath = facts.OtherPath || namesPath.Match(name)
		}
	}
	if h.TokenHeader != "" {
		facts.TokenHeader = r.Header[h.TokenHeader]
	}
	return facts, suspect
}

// isPreflight reports whether a browser asks if a page may send a request.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && len(r.Header["Origin"]) > 0 && len(r.Header["Access-Control-Request-Method"]) > 0
}

// sender is the client that sent a request.
type sender struct{ *http.Request }

// Address returns the client's address, as the site sees it; the zero address if it has none.
func (s sender) Address() netip.Addr {
	address, _ := netip.ParseAddr(remoteIP(s.Request))
	return address
}

// escapedPath returns the path as the upstream will see it, or "" for a target
// without a path ("x:public/me").
func escapedPath(r *http.Request) string {
	if r.URL.Opaque != "" {
		return ""
	}
	return r.URL.EscapedPath()
}

// asksWebSocket reports whether a request asks to become a WebSocket, and nothing
// else: from a list, reverse_proxy would let the upstream choose.
func asksWebSocket(r *http.Request) bool {
	if r.Method == http.MethodConnect {
		return connectsWebSocket(r)
	}
	const protocol = "websocket"
	values := r.Header["Upgrade"]
	// The length excludes what Unicode folds to the same letters.
	return len(values) == 1 && len(values[0]) == len(protocol) && strings.EqualFold(values[0], protocol)
}

// connectsWebSocket reports whether a CONNECT asks for a WebSocket. HTTP/2 names
// the protocol in a pseudo-header (RFC 8441), HTTP/3 as that of the request
// (RFC 9220). No other protocol can be passed on: reverse_proxy would send the
// upstream a CONNECT without one, which asks for a tunnel.
func connectsWebSocket(r *http.Request) bool {
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
// Only browsers send it, and scripts cannot set it. "none" is a person at the
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
