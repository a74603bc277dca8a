package caddymodule

import (
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/authn"
	"github.com/agiled/caddy-api-keys/internal/unread"
)

// refusal is the response to a request that may not pass.
type refusal struct {
	status int
	body   string
	// challenge is the WWW-Authenticate header (RFC 6750, section 3).
	challenge string
	allow     string // the Allow header
	retry     string // the Retry-After header, in seconds
	// err is visible to handle_errors as {err.message}: it has no details.
	err error
}

const (
	bodyUnauthorized = `{"error":"Unauthorized."}`
	bodyForbidden    = `{"error":"Forbidden."}`
)

// allowedMethods is the Allow header of refusals of TRACE and CONNECT.
const allowedMethods = "GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE"

// refusals returns the responses of a handler with the given realm.
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
			allow: allowedMethods, err: errors.New("method not allowed"),
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

// refuse answers a request that may not pass. Error routes do not see its token, which
// is for no other upstream than the one that it does not reach.
func (h *Auth) refuse(w http.ResponseWriter, r *http.Request, d *authn.Decision) error {
	h.removeToken(r.Header)
	answer, ok := h.refusals[d.Result]
	if !ok {
		answer = internalError
	}
	if d.Result == authn.RateLimited {
		answer.retry = strconv.Itoa(max(1, seconds(d.RetryAfter())))
	}
	if line := h.app.log.Check(zap.DebugLevel, "request refused"); line != nil {
		line.Write(decisionFields(d)...)
	}
	return answer.write(w, r)
}

// write responds with the site's error routes if one of them matches, and with the
// documented body otherwise. The status and the headers are those of the refusal in
// both cases. While no more is done than to read the rest of the request's body, which may
// take long, the request takes no room from others.
func (a refusal) write(w http.ResponseWriter, r *http.Request) error {
	answered := false
	defer func() {
		if answered {
			returnToRoom()
		}
	}()
	unread.Answer(w, r, func(w http.ResponseWriter) {
		answer := &pinned{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, refusal: a}
		a.runErrorRoutes(answer, r)
		if !answer.begun {
			_ = a.writeBody(answer, r)
		}
		answered = true
		leaveRoom()
	})
	return nil
}

// runErrorRoutes runs the site's error routes if one of them matches the refusal. It
// does nothing for a request that is already in an error route: an api_key_auth in
// that route would make the routes run again without end.
func (a refusal) runErrorRoutes(answer http.ResponseWriter, r *http.Request) {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || server.Errors == nil || r.Context().Value(caddyhttp.ErrorCtxKey) != nil {
		return
	}
	failed := a.failedRequest(server, r)
	if !anyRoute(server.Errors.Routes, failed) {
		return
	}
	// Caddy's own way is to return the error. But then error routes would get the
	// request's body, which must not delay the refusal, could hijack the connection,
	// and could respond with success.
	_ = server.Errors.Routes.Compile(caddyhttp.HandlerFunc(a.writeBody)).ServeHTTP(answer, failed)
}

// writeBody writes the documented body. It is also the handler after the site's error
// routes.
func (a refusal) writeBody(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	_, _ = w.Write([]byte(a.body))
	return nil
}

// failedRequest returns the refused request as error routes see it: with the method
// and target that the client sent, the stripped headers, and no body or upgrade that
// they could forward.
func (a refusal) failedRequest(server *caddyhttp.Server, r *http.Request) *http.Request {
	failed := server.Errors.WithError(r, caddyhttp.HandlerError{StatusCode: a.status, Err: a.err})
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		failed.Method, failed.RequestURI, failed.URL = original.Method, original.RequestURI, original.URL
	}
	if failed.Method == http.MethodConnect {
		failed.Method = http.MethodGet
	}
	failed.Body, failed.ContentLength, failed.TransferEncoding, failed.Trailer = http.NoBody, 0, nil, nil
	failed.Header = r.Header.Clone()
	for _, name := range []string{"Connection", "Content-Length", "Expect", "Transfer-Encoding", "Upgrade", ":protocol"} {
		delete(failed.Header, name)
	}
	return failed
}

// pinned is a response whose status and headers stay those of a refusal, even if an
// error route sets others.
type pinned struct {
	*caddyhttp.ResponseWriterWrapper
	refusal refusal
	begun   bool
}

func (p *pinned) WriteHeader(status int) {
	if status >= 100 && status < 200 {
		p.ResponseWriterWrapper.WriteHeader(status)
		return
	}
	if p.begun {
		return
	}
	p.begun = true
	header := p.Header()
	header.Set("Cache-Control", "no-store")
	setIfAny(header, "WWW-Authenticate", p.refusal.challenge)
	setIfAny(header, "Allow", p.refusal.allow)
	setIfAny(header, "Retry-After", p.refusal.retry)
	p.ResponseWriterWrapper.WriteHeader(p.refusal.status)
}

func (p *pinned) Write(b []byte) (int, error) {
	p.WriteHeader(http.StatusOK)
	return p.ResponseWriterWrapper.Write(b)
}

// ReadFrom is what io.Copy calls instead of Write.
func (p *pinned) ReadFrom(from io.Reader) (int64, error) {
	p.WriteHeader(http.StatusOK)
	return p.ResponseWriterWrapper.ReadFrom(from)
}

func setIfAny(header http.Header, name, value string) {
	if value != "" {
		header.Set(name, value)
	}
}

// anyRoute reports whether a route, or a nested one, handles a request. A server has
// the error routes of all its sites, and a site may have routes for other errors only:
// if none matches, Caddy would respond without a body.
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
