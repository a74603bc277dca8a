package caddymodule

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/agiled/caddy-api-keys/identity"
	"github.com/agiled/caddy-api-keys/internal/authn"
)

// The two answers to "may this be?".
const (
	refuse = "refuse"
	allow  = "allow"
)

func oneOf(name, value string, values ...string) error {
	if slices.Contains(values, value) {
		return nil
	}
	return fmt.Errorf("%s: %q is not %s", name, value, strings.Join(values, " or "))
}

// taken are headers that mean something to HTTP itself, to Caddy or to the
// gateway, and so cannot carry an identity.
var taken = identity.NewHeaders(
	"Authorization", "Connection", "Content-Length", "Content-Type", "Cookie", "Expect", "Forwarded", "Host",
	"Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding",
	"Upgrade", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP",
	"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", identity.AssertionHeader,
)

func validateHeader(name string) error {
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		return fmt.Errorf("%q is not a header name", name)
	case strings.ContainsAny(name, "_."):
		return fmt.Errorf("%q holds a character that servers confuse with a hyphen: use hyphens only", name)
	case taken.Match(name):
		return fmt.Errorf("%q means something else already: choose a name of your own, such as X-Workspace-ID", name)
	}
	return nil
}

func validateRealm(realm string) error {
	for _, c := range []byte(realm) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return fmt.Errorf(`%q: a realm is printable ASCII without " and \`, realm)
		}
	}
	return nil
}

func validateMethod(method string) error {
	if !httpguts.ValidHeaderFieldName(method) { // a method is a token, as a field name is
		return fmt.Errorf("%q is not a method", method)
	}
	if method == "TRACE" || method == "CONNECT" {
		return fmt.Errorf("%s is always refused", method)
	}
	return nil
}

func validateWhoami(path string) error {
	if authn.ValidateReadPath(path) != nil || strings.HasSuffix(path, "*") {
		return fmt.Errorf("%q: want one clean path, such as /public/v1/me", path)
	}
	return nil
}

func validateBasePath(path string) error {
	if !strings.HasPrefix(path, "/") {
		return fmt.Errorf("%q: a path begins with /", path)
	}
	return nil
}

// check refuses values that a JSON configuration can state and a Caddyfile
// cannot.
func (h *Auth) check() error {
	var errs []error
	for option, name := range map[string]string{
		"workspace_header": h.WorkspaceHeader, "key_id_header": h.KeyIDHeader, "access_header": h.AccessHeader,
	} {
		if err := validateHeader(name); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", option, err))
		}
	}
	if identity.NewHeaders(h.WorkspaceHeader).Match(h.KeyIDHeader) || identity.NewHeaders(h.AccessHeader).Match(h.KeyIDHeader) ||
		identity.NewHeaders(h.WorkspaceHeader).Match(h.AccessHeader) {
		errs = append(errs, errors.New("workspace_header, key_id_header and access_header must be three names"))
	}
	if err := validateRealm(h.Realm); err != nil {
		errs = append(errs, fmt.Errorf("realm: %w", err))
	}
	for _, method := range h.ReadMethods {
		if err := validateMethod(method); err != nil {
			errs = append(errs, fmt.Errorf("read_methods: %w", err))
		}
	}
	for _, path := range h.ReadPaths {
		if err := authn.ValidateReadPath(path); err != nil {
			errs = append(errs, fmt.Errorf("read_paths: %w", err))
		}
	}
	for _, limit := range []*RateLimit{h.RateLimit.Read, h.RateLimit.Write} {
		if err := limit.validate(); err != nil {
			errs = append(errs, fmt.Errorf("rate_limit: %w", err))
		}
	}
	if h.Whoami != "" {
		if err := validateWhoami(h.Whoami); err != nil {
			errs = append(errs, fmt.Errorf("whoami: %w", err))
		}
	}
	if err := oneOf("browsers", h.Browsers, refuse, allow); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
