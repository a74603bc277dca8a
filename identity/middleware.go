package identity

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
)

type contextKey struct{}

// FromContext returns who makes the request that [Verifier.Middleware] let through with
// this context, and false for any other context.
func FromContext(ctx context.Context) (Claims, bool) {
	claims, ok := ctx.Value(contextKey{}).(Claims)
	return claims, ok
}

// Middleware lets only those requests through to next that the gateway has made an
// assertion for. The others are answered: with 401, or with 503 if the gateway's keys
// cannot be had.
//
// Before it decides, it removes the identity headers in every spelling, and all trailers.
// What next finds in them is what the assertion says, in exactly one value each, next to
// the assertion itself. A request whose identity headers say otherwise is refused.
func (v *Verifier) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.WithContext(r.Context()) // see Strip
		claims, err := v.authenticate(r)
		if err != nil {
			v.refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, claims)))
	})
}

// authenticate strips a request, and sets its identity headers if it has an assertion.
func (v *Verifier) authenticate(r *http.Request) (Claims, error) {
	assertions := r.Header[v.field]
	var plain [3][]string
	for i, name := range v.plain {
		plain[i] = r.Header[name]
	}
	v.headers.Strip(r)
	switch {
	case len(assertions) == 0:
		return Claims{}, errMissing
	case len(assertions) > 1:
		return Claims{}, errRepeated
	}
	claims, err := v.Verify(r.Context(), assertions[0])
	if err != nil {
		return Claims{}, err
	}
	if claims.Method != "" && claims.Method != r.Method || claims.Path != "" && claims.Path != requestPath(r) {
		return Claims{}, errRequest
	}
	says := [3]string{claims.WorkspaceID, claims.KeyID, claims.Access}
	for i, values := range plain {
		if len(values) > 1 || len(values) == 1 && values[0] != says[i] {
			return Claims{}, errHeaders
		}
	}
	for i, name := range v.plain {
		r.Header[name] = []string{says[i]}
	}
	r.Header[v.field] = assertions[:1:1]
	return claims, nil
}

// requestPath returns the path as it was received, whatever prefix a handler before this
// one has taken from it.
func requestPath(r *http.Request) string {
	if !strings.HasPrefix(r.RequestURI, "/") { // a test's request, or the form for proxies
		return r.URL.EscapedPath()
	}
	path, _, _ := strings.Cut(r.RequestURI, "?")
	return path
}

// refuse answers a request in the form that the gateway has for its own refusals.
func (v *Verifier) refuse(w http.ResponseWriter, r *http.Request, err error) {
	status, body := http.StatusUnauthorized, `{"error":"Unauthorized."}`
	header := w.Header()
	if errors.Is(err, ErrUnavailable) {
		status, body = http.StatusServiceUnavailable, `{"error":"Service Unavailable."}`
		header.Set("Retry-After", "10")
	} else {
		header.Set("WWW-Authenticate", v.field) // a 401 has to name a scheme
	}
	v.refused.add(r, status, err)
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}
