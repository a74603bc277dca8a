package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/agiled/caddy-api-keys/identity"
	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/authn"
)

// The values of options that forbid or permit something.
const (
	refuse = "refuse"
	allow  = "allow"
	accept = "accept"
)

func oneOf(name, value string, values ...string) error {
	if slices.Contains(values, value) {
		return nil
	}
	return fmt.Errorf("%s must be %s, not %q", name, strings.Join(values, " or "), value)
}

// literal refuses braces in an option that is used as written: they would be a
// placeholder that nothing evaluates.
func literal(value string) error {
	if strings.ContainsAny(value, "{}") {
		return fmt.Errorf("%q: placeholders are not evaluated here: write the value itself, or {$NAME} for an environment variable, which Caddy inserts when it reads the Caddyfile", value)
	}
	return nil
}

// validateHeader refuses a name that a header with an identity cannot have.
func validateHeader(name string) error { return validateOwnHeader(name, "X-Workspace-ID") }

// validateTokenHeader refuses a name that the header with the token cannot have.
func validateTokenHeader(name string) error { return validateOwnHeader(name, "X-API-Key") }

func validateOwnHeader(name, example string) error {
	if err := literal(name); err != nil {
		return err
	}
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		return fmt.Errorf("%q is not a header name: use letters, digits and hyphens", name)
	case strings.ContainsAny(name, "_.!#$%&'*+^`|~"):
		return fmt.Errorf("%q contains a character that servers confuse with a hyphen: use hyphens only", name)
	case reserved(name):
		return fmt.Errorf("%q already has another meaning: choose a name of your own, such as %s", name, example)
	}
	return nil
}

func validateRealm(realm string) error {
	if err := literal(realm); err != nil {
		return err
	}
	for _, c := range []byte(realm) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return fmt.Errorf(`%q: a realm must be printable ASCII without " and \`, realm)
		}
	}
	return nil
}

func validateMethod(method string) error {
	if err := literal(method); err != nil {
		return err
	}
	if !httpguts.ValidHeaderFieldName(method) { // a method is a token, as a field name is
		return fmt.Errorf("%q is not a method: list methods such as GET, separated by spaces", method)
	}
	if upper := strings.ToUpper(method); method != upper {
		return fmt.Errorf("%q: methods are case-sensitive: write %s", method, upper)
	}
	if method == http.MethodTrace || method == http.MethodConnect {
		return fmt.Errorf("%s is always refused: remove it", method)
	}
	return nil
}

func validateReadPath(path string) error {
	return cmp.Or(literal(path), authn.ValidateReadPath(path))
}

func validateWhoami(path string) error {
	if err := literal(path); err != nil {
		return err
	}
	if authn.ValidateReadPath(path) != nil || strings.HasSuffix(path, "*") {
		return fmt.Errorf("%q: want one clean path, such as /public/v1/me", path)
	}
	return nil
}

// validateBasePath refuses a base path that no request's path can begin with.
func validateBasePath(base string) error {
	if err := literal(base); err != nil {
		return err
	}
	switch {
	case !strings.HasPrefix(base, "/"):
		return fmt.Errorf("%q: a path must begin with /", base)
	case strings.ContainsAny(base, "*?#%"):
		return fmt.Errorf("%q: a base path is literal, without *: everything below it belongs to the API", base)
	case path.Clean(base) != base && path.Clean(base)+"/" != base:
		return fmt.Errorf("%q: no request has such a path: write %s", base, path.Clean(base))
	}
	return nil
}

// validateWorkspace refuses a fixed workspace that is not a workspace id.
// Placeholders are evaluated for each request.
func validateWorkspace(pin string) error {
	if strings.Contains(pin, "{") {
		return nil
	}
	return apikey.ValidateWorkspaceID(pin)
}

// validateTestURL refuses addresses that the page cannot show as a curl command.
func validateTestURL(address string) error {
	if err := literal(address); err != nil {
		return err
	}
	u, err := url.Parse(address)
	whole := err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
	local := err == nil && u.Scheme == "" && u.Host == "" && strings.HasPrefix(u.Path, "/")
	if !whole && !local || strings.ContainsAny(address, "'\"`$\\ ") {
		return fmt.Errorf("%q: want an address such as https://api.example.com/public/v1/me, or a path on this site", address)
	}
	return nil
}

// check refuses values that a JSON configuration can have and a Caddyfile cannot.
func (h *Auth) check() error {
	var errs []error
	add := func(option string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", option, err))
		}
	}
	add("workspace_header", validateHeader(h.WorkspaceHeader))
	add("key_id_header", validateHeader(h.KeyIDHeader))
	add("access_header", validateHeader(h.AccessHeader))
	if h.TokenHeader != "" {
		add("token_header", validateTokenHeader(h.TokenHeader))
	}
	add("realm", validateRealm(h.Realm))
	for _, method := range h.ReadMethods {
		add("read_methods", validateMethod(method))
	}
	for _, path := range h.ReadPaths {
		add("read_paths", validateReadPath(path))
	}
	add("rate_limit", h.RateLimit.Read.validate())
	add("rate_limit", h.RateLimit.Write.validate())
	add("rate_limit", h.RateLimit.Workspace.validate())
	if h.Whoami != "" {
		add("whoami", validateWhoami(h.Whoami))
	}
	if h.Assertion != nil {
		add("assertion", h.Assertion.check())
	}
	return errors.Join(append(errs, oneOf("browsers", h.Browsers, refuse, allow), h.checkDistinct())...)
}

// checkDistinct refuses one header or one path for two purposes.
func (h *Auth) checkDistinct() error { return cmp.Or(h.checkHeaders(), h.checkPaths()) }

func (h *Auth) checkPaths() error {
	if h.Assertion == nil || h.Whoami != cmp.Or(h.Assertion.JWKSPath, defaultJWKSPath) {
		return nil
	}
	return fmt.Errorf("whoami and the jwks_path of assertion are both %q: only one of them can be answered there, so choose another path for the other", h.Whoami)
}

func (h *Auth) checkHeaders() error {
	names := []string{
		cmp.Or(h.WorkspaceHeader, identity.WorkspaceHeader),
		cmp.Or(h.KeyIDHeader, identity.KeyIDHeader),
		cmp.Or(h.AccessHeader, identity.AccessHeader),
	}
	if h.Assertion != nil {
		names = append(names, cmp.Or(h.Assertion.Header, identity.AssertionHeader))
	}
	for i, name := range names {
		if identity.NewHeaders(names[:i]...).Match(name) {
			return fmt.Errorf("workspace_header, key_id_header, access_header and the header of assertion must have different names: %q is used twice", name)
		}
	}
	all := append(names, identity.WorkspaceHeader, identity.KeyIDHeader, identity.AccessHeader)
	if h.TokenHeader != "" && identity.NewHeaders(all...).Match(h.TokenHeader) {
		return fmt.Errorf("token_header: %q tells the upstream who is calling, and is removed from each request: choose another name, such as X-API-Key", h.TokenHeader)
	}
	return nil
}

// reservedHeaders have a meaning in HTTP itself, or to proxies, browsers or
// frameworks, so they cannot carry an identity. A name that ends in a hyphen stands
// for every name that begins with it. Headers that name another request are
// reserved too; see methodHeaders.
var reservedHeaders = []string{
	// Of the connection and of the message (RFC 9110, 9112 and 9113).
	"Connection", "Content-", "Date", "Expect", "Host", "HTTP2-Settings", "Keep-Alive", "Max-Forwards", "MIME-Version", "TE",
	"Trailer", "Transfer-Encoding", "Upgrade", "Via",
	// Credentials and state.
	"Authentication-Info", "Authorization", "Cookie", "Cookie2", "Proxy-", "Set-Cookie", "WWW-Authenticate",
	// What a request asks for, and on which conditions.
	"Accept", "Accept-", "Age", "Alt-Svc", "Alt-Used", "Cache-Control", "Early-Data", "From", "Idempotency-Key", "If-", "Last-Event-ID",
	"Pragma", "Prefer", "Priority", "Range", "Referer", "User-Agent", "Vary",
	// What browsers say about a request, and may do with the response.
	"Access-Control-", "DNT", "Origin", "Save-Data", "Sec-", "Upgrade-Insecure-Requests", "X-Requested-With",
	// What proxies say about the client and the address it asked for.
	"CDN-Loop", "CF-", "Client-IP", "Fastly-Client-IP", "Forwarded", "True-Client-IP", "X-Client-IP", "X-Cluster-Client-IP", "X-Forwarded",
	"X-Forwarded-", "X-Host", "X-Original-", "X-Real-IP",
	// Traces (W3C Trace Context, B3) and the number of a request.
	"B3", "Baggage", "Traceparent", "Tracestate", "X-B3-", "X-Correlation-ID", "X-Request-ID",
	// What the gateway itself sends.
	"Deprecation", "RateLimit", "RateLimit-", "Retry-After", "Sunset", identity.AssertionHeader, "X-API-Key-Expires",
}

// reserved reports whether a header has another meaning.
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
