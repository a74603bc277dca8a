package caddymodule

import (
	"strings"

	"github.com/agiled/caddy-api-keys/identity"
)

// reservedHeaders mean something to HTTP itself, to proxies, to browsers or to
// frameworks, and so cannot carry an identity. A name that ends in a hyphen
// stands for all that begin with it. Those that name another request are reserved
// too; see methodHeaders.
var reservedHeaders = []string{
	// Of the connection and of the message (RFC 9110, 9112 and 9113).
	"Connection", "Content-", "Date", "Expect", "Host", "HTTP2-Settings", "Keep-Alive", "Max-Forwards", "MIME-Version", "TE",
	"Trailer", "Transfer-Encoding", "Upgrade", "Via",
	// Credentials and state.
	"Authentication-Info", "Authorization", "Cookie", "Cookie2", "Proxy-", "Set-Cookie", "WWW-Authenticate",
	// What a request asks for, and under which condition.
	"Accept", "Accept-", "Age", "Alt-Svc", "Alt-Used", "Cache-Control", "Early-Data", "From", "Idempotency-Key", "If-", "Last-Event-ID",
	"Pragma", "Prefer", "Priority", "Range", "Referer", "User-Agent", "Vary",
	// What browsers say of a request, and may do with the answer.
	"Access-Control-", "DNT", "Origin", "Save-Data", "Sec-", "Upgrade-Insecure-Requests", "X-Requested-With",
	// What proxies say of the client and of the address that it asked for.
	"CDN-Loop", "CF-", "Client-IP", "Fastly-Client-IP", "Forwarded", "True-Client-IP", "X-Client-IP", "X-Cluster-Client-IP", "X-Forwarded",
	"X-Forwarded-", "X-Host", "X-Original-", "X-Real-IP",
	// Traces (W3C Trace Context, B3) and the number of a request.
	"B3", "Baggage", "Traceparent", "Tracestate", "X-B3-", "X-Correlation-ID", "X-Request-ID",
	// What the gateway says by itself.
	"Deprecation", "RateLimit", "RateLimit-", "Retry-After", "Sunset", identity.AssertionHeader, "X-API-Key-Expires",
}

// reserved reports whether a header's name means something else already.
func reserved(name string) bool {
	for _, header := range reservedHeaders {
		if strings.EqualFold(name, header) {
			return true
		}
		if strings.HasSuffix(header, "-") && len(name) > len(header) && strings.EqualFold(name[:len(header)], header) {
			return true
		}
	}
	return namesMethod.Match(name) || namesPath.Match(name)
}
