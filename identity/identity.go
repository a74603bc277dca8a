// Package identity is for upstreams of the API-key gateway, written in Go: it tells them who
// is calling, and that it is the gateway that says so.
//
// The gateway sends the workspace, the id and the access of the key that a request was made
// with in three plain headers. They are not signed: trust them only if all requests come
// through the gateway. With an assertion block, the gateway also signs them, in a JSON Web
// Token that is valid for a minute and for one audience. A [Verifier] lets only requests
// with such a token through:
//
//	verifier, err := identity.NewVerifier("https://api.example.com/.well-known/api-keys/jwks.json", "contacts")
//	...
//	err = http.ListenAndServe("10.0.0.5:9000", verifier.Middleware(api))
//
// A handler behind it finds who is calling with [FromContext], and in the plain headers,
// which the verifier has confirmed or set.
//
// # What clients could have sent
//
// After [Headers.Strip], no field of the request, no token of its Connection header and no
// trailer can be taken for one of these headers: not in another case, not with "_", "." or
// another character for "-" (CGI, WSGI, PHP and others fold them into one variable name),
// and not repeated. [Verifier.Middleware] calls it.
package identity

import (
	"net/http"
	"net/textproto"
	"strings"
)

// The default names of the identity headers.
const (
	WorkspaceHeader = "X-Workspace-ID"      // the workspace that the key belongs to
	KeyIDHeader     = "X-API-Key-ID"        // the key's id
	AccessHeader    = "X-API-Key-Access"    // "full_access" or "read_only"
	AssertionHeader = "X-API-Key-Assertion" // all of these, signed; only with an assertion block
)

// Headers is a set of header names, matched in every spelling that an upstream could take
// for them. It is immutable and safe for concurrent use. The zero set matches nothing.
type Headers struct {
	// byLength holds the names at the index of their length.
	byLength []sameLength
}

// sameLength are names of the same length. Most fields of a request are excluded by their
// length and first letter.
type sameLength struct {
	first uint32   // has the bit of each first letter: see letter
	names []string // folded: see fold
}

// NewHeaders returns the set of the given names.
func NewHeaders(names ...string) Headers {
	var h Headers
	for _, name := range names {
		folded := []byte(name)
		for i, c := range folded {
			folded[i] = fold(c)
		}
		for len(h.byLength) <= len(name) {
			h.byLength = append(h.byLength, sameLength{})
		}
		of := &h.byLength[len(name)]
		of.names = append(of.names, string(folded))
		if name != "" {
			of.first |= letter(name[0])
		}
	}
	return h
}

// Match reports whether an upstream could take name for one of the set.
func (h Headers) Match(name string) bool {
	if len(name) >= len(h.byLength) {
		return false
	}
	of := &h.byLength[len(name)]
	if name != "" && of.first&letter(name[0]) == 0 {
		return false
	}
	for _, want := range of.names {
		if same(name, want) {
			return true
		}
	}
	return false
}

// same compares a name with a folded one of the same length.
func same(name, folded string) bool {
	for i := range len(name) {
		if fold(name[i]) != folded[i] {
			return false
		}
	}
	return true
}

// letter returns the bit of a first letter, in any case; everything that is not a letter
// shares one.
func letter(c byte) uint32 {
	if folded := fold(c); 'a' <= folded && folded <= 'z' {
		return 1 << (folded - 'a')
	}
	return 1 << 31
}

// fold maps a byte of a header name to what it may become on its way to an
// upstream's code: CGI (RFC 3875, section 4.1.18) upper-cases names and turns
// "-" into "_"; PHP does the same to ".", and lighttpd to all that is neither
// letter nor digit.
func fold(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c + ('a' - 'A')
	case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
		return c
	}
	return '-'
}

// Strip removes every trace of the set from a request: the fields, the tokens of
// Connection (a proxy deletes any header that a client names there: RFC 9110, section
// 7.6.1), and all trailers, which proxies forward whether or not they were declared. It
// reports whether it removed a field.
//
// Pass it a copy of the server's request, such as WithContext returns: net/http adds
// undeclared trailers to its own request once the body has been read.
func (h Headers) Strip(r *http.Request) bool {
	r.Trailer = nil
	found := false
	for name := range r.Header {
		if h.Match(name) {
			delete(r.Header, name)
			found = true
		}
	}
	h.StripConnection(r.Header)
	return found
}

// StripConnection removes the set from the tokens of a Connection header. It rewrites the
// header only if it removes a token, and then builds a new slice, because the old one may
// be shared with a clone of the request.
func (h Headers) StripConnection(header http.Header) {
	values := header["Connection"]
	if !h.inConnection(values) {
		return
	}
	var kept []string
	for _, value := range values {
		for token := range strings.SplitSeq(value, ",") {
			token = textproto.TrimString(token)
			if token != "" && !h.Match(token) {
				kept = append(kept, token)
			}
		}
	}
	if len(kept) == 0 {
		delete(header, "Connection")
		return
	}
	header["Connection"] = []string{strings.Join(kept, ", ")}
}

func (h Headers) inConnection(values []string) bool {
	for _, value := range values {
		for token := range strings.SplitSeq(value, ",") {
			if h.Match(textproto.TrimString(token)) {
				return true
			}
		}
	}
	return false
}
