package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Verifier verifies assertions with the gateway's public keys, which it fetches when it
// first needs them, and again before they are out of date. It is safe for concurrent use,
// and needs no closing. A program needs one for each gateway and audience.
//
// It uses keys for as long as the max-age of the response allows, 10 seconds at least and
// an hour at most, and refetches them once half of that has passed, while requests
// continue. An unknown key id makes it fetch them immediately, but never within 10 seconds
// of the last fetch. If keys cannot be fetched, it continues with those that it has for 24
// hours.
type Verifier struct {
	issuer, audience string
	keys             *keyCache
	bound            bool
	headers          Headers   // the identity headers, to be removed
	field            string    // canonical name of the header with the assertion
	plain            [3]string // and of the workspace, key id and access headers
	refused          *refusals
	now              func() time.Time
}

// An Option changes what [NewVerifier] returns.
type Option func(*settings)

type settings struct {
	issuer    string
	client    http.Client
	log       *slog.Logger
	plainHTTP bool
	bound     bool
	field     string
	names     [3]string
}

// WithIssuer sets the issuer that assertions must have. The default is the origin of the
// URL of the keys: https://api.example.com for
// https://api.example.com/.well-known/api-keys/jwks.json.
func WithIssuer(issuer string) Option { return func(s *settings) { s.issuer = issuer } }

// WithHTTPClient sets the client that fetches the keys, for example one that trusts
// another certificate authority. Whatever it is, a fetch takes at most 5 seconds and
// follows no redirect. The default is a client with the default transport.
func WithHTTPClient(client *http.Client) Option { return func(s *settings) { s.client = *client } }

// WithLogger sets where refused requests, and trouble with fetching keys, are logged. There
// is one line in 10 seconds for each reason, which says how many more there were since the
// last one. The default is [slog.Default].
func WithLogger(log *slog.Logger) Option { return func(s *settings) { s.log = log } }

// WithPlainHTTP allows keys to be fetched over HTTP without TLS from other machines. Who
// can change what is received then can forge assertions.
func WithPlainHTTP() Option { return func(s *settings) { s.plainHTTP = true } }

// WithBinding refuses assertions that are not bound to a method and a path. Use it if the
// gateway has "bind request". Those that are bound are compared with the request in any
// case.
func WithBinding() Option { return func(s *settings) { s.bound = true } }

// WithHeaderNames sets the names of the plain identity headers, if the operator of the
// gateway has changed them.
func WithHeaderNames(workspace, keyID, access string) Option {
	return func(s *settings) { s.names = [3]string{workspace, keyID, access} }
}

// WithAssertionHeader sets the name of the header with the assertion, if the operator of the
// gateway has changed it.
func WithAssertionHeader(name string) Option { return func(s *settings) { s.field = name } }

// NewVerifier returns a verifier of assertions for an audience. The keys are at jwksURL,
// which has to be https, or http on this machine. It fetches nothing yet, so a program can
// start before its gateway.
func NewVerifier(jwksURL, audience string, options ...Option) (*Verifier, error) {
	s := settings{field: AssertionHeader, names: [3]string{WorkspaceHeader, KeyIDHeader, AccessHeader}}
	for _, option := range options {
		option(&s)
	}
	where, err := parseKeysURL(jwksURL, s.plainHTTP)
	if err != nil {
		return nil, fmt.Errorf("identity: the URL of the keys %w", err)
	}
	if audience == "" {
		return nil, errors.New("identity: no audience: name the one that the gateway has in its assertion block")
	}
	if s.issuer == "" {
		s.issuer = origin(where)
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	s.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	v := &Verifier{
		issuer: s.issuer, audience: audience, bound: s.bound, now: time.Now,
		headers: NewHeaders(append(s.names[:], s.field, WorkspaceHeader, KeyIDHeader, AccessHeader, AssertionHeader)...),
		field:   http.CanonicalHeaderKey(s.field),
	}
	for i, name := range s.names {
		v.plain[i] = http.CanonicalHeaderKey(name)
	}
	v.refused = &refusals{log: s.log, now: time.Now, by: make(map[refusal]*logged)}
	v.keys = &keyCache{url: where.String(), client: &s.client, log: s.log, now: time.Now}
	return v, nil
}

// Verify returns what an assertion says, if the gateway has made it for this audience and
// it is valid now. Otherwise the error is an [ErrRefused], or an [ErrUnavailable] if the
// gateway's keys cannot be had; it contains nothing of the token. It waits for keys no
// longer than ctx.
//
// It does not know the request: compare it with Method and Path, unless they are empty.
// [Verifier.Middleware] does.
func (v *Verifier) Verify(ctx context.Context, token string) (Claims, error) {
	id, err := keyIDOf(token)
	if err != nil {
		return Claims{}, err
	}
	key, err := v.keys.key(ctx, id)
	if err != nil {
		return Claims{}, err
	}
	claims, err := open(token, jose.JSONWebKey{Key: key})
	if err != nil {
		return Claims{}, err
	}
	if err := claims.check(v.now(), v.issuer, v.audience); err != nil {
		return Claims{}, err
	}
	if v.bound && (claims.Method == "" || claims.Path == "") {
		return Claims{}, errUnbound
	}
	return claims, nil
}

// parseKeysURL refuses a URL from which others could deliver keys. Its errors do not
// contain the URL, which may have a password.
func parseKeysURL(raw string, plainHTTP bool) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil, u.Host == "", u.Hostname() == "":
		return nil, errors.New("is not an absolute URL, such as https://api.example.com/.well-known/api-keys/jwks.json")
	case u.User != nil:
		return nil, errors.New("has credentials, which it does not need")
	case u.Fragment != "":
		return nil, errors.New("has a fragment")
	case u.Scheme == "https":
	case u.Scheme != "http":
		return nil, errors.New("is neither https nor http")
	case !plainHTTP && !isLoopback(u.Hostname()):
		return nil, errors.New("is http, and not on this machine: anyone who can change the answer could forge identities; use https, or WithPlainHTTP")
	}
	return u, nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback()
}

// origin returns the origin of a URL (RFC 6454), in which default ports are left out.
func origin(u *url.URL) string {
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if port == "" || u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		return u.Scheme + "://" + host
	}
	return u.Scheme + "://" + net.JoinHostPort(host, port)
}
