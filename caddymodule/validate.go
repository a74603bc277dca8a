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

func validateHeader(name string) error {
	if err := literal(name); err != nil {
		return err
	}
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		return fmt.Errorf("%q is not a header name: use letters, digits and hyphens", name)
	case strings.ContainsAny(name, "_.!#$%&'*+^`|~"):
		return fmt.Errorf("%q holds a character that servers confuse with a hyphen: use hyphens only", name)
	case reserved(name):
		return fmt.Errorf("%q means something else already: choose a name of your own, such as X-Workspace-ID", name)
	}
	return nil
}

func validateRealm(realm string) error {
	if err := literal(realm); err != nil {
		return err
	}
	for _, c := range []byte(realm) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return fmt.Errorf(`%q: a realm is printable ASCII without " and \`, realm)
		}
	}
	return nil
}

func validateMethod(method string) error {
	if err := literal(method); err != nil {
		return err
	}
	if !httpguts.ValidHeaderFieldName(method) { // a method is a token, as a field name is
		return fmt.Errorf("%q is not a method: name methods such as GET, with spaces between them", method)
	}
	if upper := strings.ToUpper(method); method != upper {
		return fmt.Errorf("%q: methods are compared exactly, and are in upper case: %s", method, upper)
	}
	if method == http.MethodTrace || method == http.MethodConnect {
		return fmt.Errorf("%s is always refused: leave it out", method)
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

// validateBasePath refuses what no request's path can begin with.
func validateBasePath(base string) error {
	if err := literal(base); err != nil {
		return err
	}
	switch {
	case !strings.HasPrefix(base, "/"):
		return fmt.Errorf("%q: a path begins with /", base)
	case strings.ContainsAny(base, "*?#%"):
		return fmt.Errorf("%q: a base path is taken literally, without *: everything below it belongs to the API", base)
	case path.Clean(base) != base && path.Clean(base)+"/" != base:
		return fmt.Errorf("%q: no request has such a path: write %s", base, path.Clean(base))
	}
	return nil
}

// validateWorkspace refuses a fixed workspace that there cannot be. What a
// placeholder stands for is found out on each request.
func validateWorkspace(pin string) error {
	if strings.Contains(pin, "{") {
		return nil
	}
	return apikey.ValidateWorkspaceID(pin)
}

// validateTestURL refuses what curl could not be told to call.
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

// check refuses values that a JSON configuration can state and a Caddyfile
// cannot.
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
	add("realm", validateRealm(h.Realm))
	for _, method := range h.ReadMethods {
		add("read_methods", validateMethod(method))
	}
	for _, path := range h.ReadPaths {
		add("read_paths", validateReadPath(path))
	}
	add("rate_limit", h.RateLimit.Read.validate())
	add("rate_limit", h.RateLimit.Write.validate())
	if h.Whoami != "" {
		add("whoami", validateWhoami(h.Whoami))
	}
	return errors.Join(append(errs, oneOf("browsers", h.Browsers, refuse, allow), h.checkDistinct())...)
}

// checkDistinct refuses one header for two things.
func (h *Auth) checkDistinct() error {
	names := []string{
		cmp.Or(h.WorkspaceHeader, identity.WorkspaceHeader),
		cmp.Or(h.KeyIDHeader, identity.KeyIDHeader),
		cmp.Or(h.AccessHeader, identity.AccessHeader),
	}
	for i, name := range names {
		if identity.NewHeaders(names[:i]...).Match(name) {
			return fmt.Errorf("workspace_header, key_id_header and access_header must be three different names: %q is there twice", name)
		}
	}
	return nil
}
