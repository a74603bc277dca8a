package caddymodule

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/agiled/caddy-api-keys/internal/authn"
)

// refusal is how a result is answered.
type refusal struct {
	status int
	body   string
	// challenge is the WWW-Authenticate header (RFC 6750, section 3).
	challenge string
	allow     string // the Allow header
	retry     string // the Retry-After header, in seconds
	// err is what handle_errors may show as {err.message}: never a detail.
	err error
}

const (
	bodyUnauthorized = `{"error":"Unauthorized."}`
	bodyForbidden    = `{"error":"Forbidden."}`
)

// methodsThatMakeSense are answered to TRACE and CONNECT.
const methodsThatMakeSense = "GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE"

// refusals returns the answers of a handler with the given realm.
func refusals(realm string) map[authn.Result]refusal {
	challenge := `Bearer realm="` + realm + `"`
	invalid := challenge + `, error="invalid_token"`
	unauthorized := func(challenge, why string) refusal {
		return refusal{status: http.StatusUnauthorized, body: bodyUnauthorized, challenge: challenge, err: errors.New(why)}
	}
	forbidden := func(challenge, why string) refusal {
		return refusal{status: http.StatusForbidden, body: bodyForbidden, challenge: challenge, err: errors.New(why)}
	}
	return map[authn.Result]refusal{
		authn.Missing:   unauthorized(challenge, "no credentials"),
		authn.Preflight: unauthorized(challenge, "a preflight is not answered"),
		authn.Malformed: unauthorized(invalid, "malformed credentials"),
		authn.Unknown:   unauthorized(invalid, "unknown token"),
		authn.Expired:   unauthorized(invalid+`, error_description="The token expired."`, "the token expired"),
		authn.Revoked:   unauthorized(invalid+`, error_description="The token was revoked."`, "the token was revoked"),
		authn.ReadOnly:  forbidden(challenge+`, error="insufficient_scope", scope="write"`, "the key may only read"),
		authn.Suspended: forbidden("", "the workspace is suspended"),
		authn.Browser:   forbidden("", "a key must not be used from a browser"),
		authn.MethodNotAllowed: {
			status: http.StatusMethodNotAllowed, body: `{"error":"Method Not Allowed."}`,
			allow: methodsThatMakeSense, err: errors.New("method not allowed"),
		},
		authn.EarlyData: {
			status: http.StatusTooEarly, body: `{"error":"Too Early."}`, err: errors.New("a write in early data"),
		},
		authn.RateLimited: {
			status: http.StatusTooManyRequests, body: `{"error":"Too Many Requests."}`, err: errors.New("over the rate limit"),
		},
		authn.Unavailable: unavailable,
	}
}

var (
	unavailable = refusal{
		status: http.StatusServiceUnavailable, body: `{"error":"Service Unavailable."}`,
		retry: "1", err: errors.New("the key store cannot answer"),
	}
	internalError = refusal{
		status: http.StatusInternalServerError, body: `{"error":"Internal Server Error."}`,
		err: errors.New("internal error"),
	}
)

// refuse answers a request that may not pass.
func (h *Auth) refuse(w http.ResponseWriter, r *http.Request, d *authn.Decision) error {
	answer, ok := h.refusals[d.Result]
	if !ok {
		answer = internalError
	}
	if d.Result == authn.RateLimited {
		answer.retry = strconv.Itoa(max(1, seconds(d.Usage.RetryAfter)))
	}
	return answer.write(w, r)
}

// write answers with the headers of the refusal and, unless the site has error
// routes for it, its body.
func (a refusal) write(w http.ResponseWriter, r *http.Request) error {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	setIfAny(header, "WWW-Authenticate", a.challenge)
	setIfAny(header, "Allow", a.allow)
	setIfAny(header, "Retry-After", a.retry)
	if r.ProtoMajor == 1 && r.ContentLength != 0 {
		// net/http would read the rest of the body before it sends the answer.
		header.Set("Connection", "close")
	}
	failure := caddyhttp.HandlerError{StatusCode: a.status, Err: a.err}
	if hasErrorRoute(r, failure) {
		return failure
	}
	header.Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	_, _ = w.Write([]byte(a.body))
	return nil
}

func setIfAny(header http.Header, name, value string) {
	if value != "" {
		header.Set(name, value)
	}
}

// hasErrorRoute reports whether the site answers this error itself. A server
// has the error routes of all its sites, and a site may have some for other
// errors only: Caddy would answer with no body where none matches.
func hasErrorRoute(r *http.Request, failure caddyhttp.HandlerError) bool {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || server.Errors == nil || len(server.Errors.Routes) == 0 {
		return false
	}
	failed := server.Errors.WithError(r, failure)
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		// Error routes see the request as it came, before any rewrite.
		failed.Method, failed.RequestURI, failed.URL = original.Method, original.RequestURI, original.URL
	}
	return anyRoute(server.Errors.Routes, failed)
}

// anyRoute reports whether a route, or one within it, would handle a request.
func anyRoute(routes caddyhttp.RouteList, r *http.Request) bool {
	for _, route := range routes {
		if match, err := route.MatcherSets.AnyMatchWithError(r); err != nil || !match {
			continue
		}
		for _, handler := range route.Handlers {
			nested, ok := handler.(*caddyhttp.Subroute)
			if !ok || anyRoute(nested.Routes, r) {
				return true
			}
		}
	}
	return false
}
