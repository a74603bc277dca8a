package authn

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/agiled/caddy-api-keys/internal/ratelimit"
)

// Policy is what one mount of the gateway requires of requests. Do not change it while
// it is in use.
type Policy struct {
	// ReadMethods are the methods that only read, compared exactly.
	ReadMethods []string
	// ReadPaths are paths to which a POST only reads. See [ValidateReadPath].
	ReadPaths []string
	// ReadLimit and WriteLimit limit how often a key may be used. N = 0 means no limit.
	ReadLimit, WriteLimit Limit
	// WorkspaceLimit limits how often all keys of a workspace together may be used, in
	// addition to the limits of each key. N = 0 means no limit.
	WorkspaceLimit Limit
	// AllowBrowsers lets keys be used from browsers.
	AllowBrowsers bool
	// ForeignTokens means that tokens that other programs issued, and whose keys were
	// imported, are looked up too, unless they begin with TokenPrefix, the one of new
	// tokens, or an earlier one. See [apikey.ParseAnyToken].
	ForeignTokens bool
	TokenPrefix   string
}

// Limit limits how often a key, or all keys of a workspace, may be used.
type Limit struct {
	ratelimit.Limit
	// PerFleet means that the limit is for all gateways of a fleet together: each allows
	// an equal part of it, rounded down, but at least one request.
	PerFleet bool
}

// of returns the limit of one of several gateways.
func (l Limit) of(gateways int64) ratelimit.Limit {
	if l.PerFleet && l.N > 0 {
		l.N = int(max(int64(l.N)/gateways, 1))
	}
	return l.Limit
}

// action returns what a request wants to do. Anything that is not clearly a read is a
// write.
func (p *Policy) action(f *Facts) Action {
	if f.OtherMethod || f.WebSocket {
		return Write
	}
	if slices.Contains(p.ReadMethods, f.Method) {
		return Read
	}
	if f.Method == http.MethodPost && len(p.ReadPaths) > 0 && !f.OtherPath && p.readPath(f.Path) {
		return Read
	}
	return Write
}

func (p *Policy) limit(action Action) Limit {
	if action == Read {
		return p.ReadLimit
	}
	return p.WriteLimit
}

// longestReadPath bounds what is spent on a request before its key is known. Servers need
// not support more (RFC 9110, section 4.1).
const longestReadPath = 8000

// readPath reports whether an escaped path is one of ReadPaths, however an upstream
// interprets it.
func (p *Policy) readPath(escaped string) bool {
	if len(escaped) > longestReadPath || ambiguous(escaped) {
		return false
	}
	plain, err := url.PathUnescape(escaped)
	if err != nil || ambiguous(plain) {
		return false
	}
	return slices.ContainsFunc(p.ReadPaths, func(pattern string) bool {
		if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
			return strings.HasPrefix(plain, prefix)
		}
		return plain == pattern
	})
}

// ambiguous reports whether two servers could interpret a path differently: because it
// is not clean, or because it contains something that one of them decodes, normalises or
// cuts off and the other does not.
func ambiguous(p string) bool {
	clean := path.Clean(p)
	if len(p) > 1 && strings.HasSuffix(p, "/") {
		clean += "/"
	}
	if p != clean || !strings.HasPrefix(p, "/") {
		return true
	}
	if slices.ContainsFunc(strings.Split(p, "/"), losesDots) {
		return true
	}
	lower := strings.ToLower(p)
	for _, trouble := range []string{"%2f", "%5c", "%2e", "%25", "%3b", ";", `\`} {
		if strings.Contains(lower, trouble) {
			return true
		}
	}
	return strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' || resemblesSyntax(r) })
}

// losesDots reports whether a server could take a segment for another name or directory:
// Windows ignores dots and spaces at the end.
func losesDots(segment string) bool {
	return strings.HasSuffix(segment, ".") || strings.HasSuffix(segment, " ")
}

// resemblesSyntax reports whether a server could take a character for one that separates
// the parts of a path: because it normalises names (NFKC), as for full-width slashes, or
// converts them to an older character set.
func resemblesSyntax(r rune) bool {
	return r >= utf8.RuneSelf && strings.ContainsAny(norm.NFKC.String(string(r)), `./\;%?#。⁄∕∖¥₩`)
}

// ValidateReadPath returns an error unless pattern is a clean path, or one that ends in
// "*", which stands for all paths that begin with it.
func ValidateReadPath(pattern string) error {
	plain := strings.TrimSuffix(pattern, "*")
	if plain == "" || plain == "/" || strings.Contains(plain, "*") || ambiguous(plain) || strings.Contains(plain, "%") {
		return fmt.Errorf("%q: want a clean path such as /public/v1/search, or one that ends in * such as /public/v1/search/*", pattern)
	}
	return nil
}
