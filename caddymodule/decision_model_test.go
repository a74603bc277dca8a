package caddymodule_test

import (
	"fmt"
	"hash/crc32"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// This file specifies what api_key_auth responds and passes on, as its
// documentation does: rule by rule, slow and plain. It shares no code with the
// module.

// A policy is one api_key_auth block.
type policy struct {
	names        [3]string // of the workspace, the key's id, and its access
	realm        string
	readMethods  []string
	readPaths    []string
	whoami       string
	browsers     bool // allowed
	tokenHeader  string
	forwardToken bool
}

// A verdict is the expected outcome.
type verdict struct {
	status     int
	challenge  string // WWW-Authenticate; empty for none
	body       string
	result     string
	write      bool
	key        knownKey    // once the whole token has matched
	next       http.Header // what the next handler sees, without Connection; nil if it is not called
	connection []string    // the tokens of Connection that it sees
}

func decide(p policy, keys map[string]knownKey, q request) verdict {
	v := verdict{write: isWrite(p, q)}
	bearer := fmt.Sprintf(`Bearer realm="%s"`, p.realm)
	invalid := bearer + `, error="invalid_token"`

	if q.method == "TRACE" || q.method == "CONNECT" && q.extended != "websocket" { // no other protocol can be passed on
		return v.refuse(405, "Method Not Allowed.", "", "method")
	}
	if (q.early || q.has("Early-Data")) && v.write {
		return v.refuse(425, "Too Early.", "", "early_data")
	}
	if q.method == "OPTIONS" && q.has("Origin") && q.has("Access-Control-Request-Method") {
		return v.refuse(401, "Unauthorized.", bearer, "preflight")
	}

	presented, malformed := presentedToken(p, q)
	if presented == "" && !malformed {
		return v.refuse(401, "Unauthorized.", bearer, "missing")
	}
	if malformed || !wellFormed(presented) && !foreign(presented) {
		return v.refuse(401, "Unauthorized.", invalid, "malformed")
	}
	key, known := keys[presented]
	if !known {
		return v.refuse(401, "Unauthorized.", invalid, "unknown")
	}
	v.key = key
	if key.status == "expired" {
		return v.refuse(401, "Unauthorized.", invalid+`, error_description="The token expired."`, "expired")
	}
	if key.status == "revoked" {
		return v.refuse(401, "Unauthorized.", invalid+`, error_description="The token was revoked."`, "revoked")
	}
	if key.suspended {
		return v.refuse(403, "Forbidden.", "", "suspended")
	}
	if !p.browsers {
		for _, site := range q.values("Sec-Fetch-Site") {
			if site == "cross-site" || site == "same-site" || site == "same-origin" {
				return v.refuse(403, "Forbidden.", "", "browser")
			}
		}
	}
	if key.access == "read_only" && v.write {
		return v.refuse(403, "Forbidden.", bearer+`, error="insufficient_scope", scope="write"`, "read_only")
	}

	v.status, v.result, v.body = 200, "allowed", "upstream"
	if path, _ := url.PathUnescape(q.path); p.whoami != "" && path == p.whoami && (q.method == "GET" || q.method == "HEAD") {
		v.body = ""
		return v
	}
	declined := q.has("Upgrade") && (!q.asksWebSocket() || q.method == "CONNECT")
	v.next = http.Header{}
	for _, field := range q.fields {
		switch {
		case isIdentity(p, field[0]) || isOverride(field[0]) || isPath(field[0]) || fold(field[0]) == "http2-settings":
		case strings.EqualFold(field[0], "Authorization") && !p.forwardToken:
		case isTokenHeader(p, field[0]) && !(p.forwardToken && strings.EqualFold(field[0], p.tokenHeader)):
		case strings.EqualFold(field[0], "Upgrade") && declined:
		case strings.EqualFold(field[0], "Connection"):
			for token := range strings.SplitSeq(field[1], ",") {
				token = strings.Trim(token, " \t")
				ours := isIdentity(p, token) || isOverride(token) || isPath(token) || isPrefix(token) || isTokenHeader(p, token) || fold(token) == "http2-settings"
				if token == "" || ours || declined && fold(token) == "upgrade" {
					continue
				}
				v.connection = append(v.connection, token)
			}
		default:
			v.next.Add(field[0], field[1])
		}
	}
	v.next.Set(p.names[0], key.workspace)
	v.next.Set(p.names[1], key.id)
	v.next.Set(p.names[2], key.access)
	return v
}

// presentedToken returns the request's one token, nothing if it has no credentials at all.
func presentedToken(p policy, q request) (token string, malformed bool) {
	credentials := q.values("Authorization")
	if p.tokenHeader != "" {
		tokens := q.values(p.tokenHeader)
		if len(credentials) == 0 && len(tokens) == 1 {
			return tokens[0], tokens[0] == ""
		}
		credentials = append(credentials, tokens...)
	}
	if len(credentials) == 0 {
		return "", false
	}
	match := bearer.FindStringSubmatch(credentials[0])
	if len(credentials) > 1 || match == nil {
		return "", true
	}
	return match[1], false
}

// decideTwice is for two blocks in a row: both judge the client's request, but what
// the first removes is gone.
func decideTwice(outer, inner policy, keys map[string]knownKey, q request) verdict {
	first := decide(outer, keys, q)
	if first.next == nil {
		return first
	}
	inner.tokenHeader = outer.tokenHeader // the key that the outer block has found is judged
	v := decide(inner, keys, q)
	v.key = first.key // known already, even if the inner block refuses
	if v.next == nil {
		return v
	}
	for name := range v.next {
		if first.next[name] == nil {
			delete(v.next, name)
		}
	}
	for _, names := range [][3]string{outer.names, inner.names} {
		v.next.Set(names[0], v.key.workspace)
		v.next.Set(names[1], v.key.id)
		v.next.Set(names[2], v.key.access)
	}
	v.connection = slices.DeleteFunc(v.connection, func(token string) bool { return isIdentity(outer, token) })
	return v
}

func (v verdict) refuse(status int, message, challenge, result string) verdict {
	v.status, v.body, v.challenge, v.result = status, `{"error":"`+message+`"}`, challenge, result
	return v
}

var (
	bearer   = regexp.MustCompile(`(?s)^[Bb][Ee][Aa][Rr][Ee][Rr] (.+)$`)
	ownToken = regexp.MustCompile(`^([a-z][a-z0-9_]{0,18}[a-z0-9]_[0-9A-Za-z]{43})([0-9A-Za-z]{6})$`)
	anyToken = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)
)

// What two servers could interpret differently: what is not clean, or is decoded or
// cut off by only one of them.
var (
	cleanPath = regexp.MustCompile(`^(/[^/]+)*/?$`)
	doubtful  = regexp.MustCompile(`(?i)[. ](/|$)|[．。｡․‥…﹒︙︰⒈-⒛🄀㏂㏇㏘／＼∕⁄∖﹨¥￥₩￦¼-¾⅐-⅟↉℀℁℅℆；︔﹔％﹪？︖﹖⁇-⁉＃﹟\x{37e}\x{fe12}\x{33a7}\x{33a8}\x{33ae}\x{33af}\x{33c6}\x{33de}\x{33df}]|%2f|%5c|%2e|%25|%3b|;|\\|[\x00-\x1f\x7f\x{fffd}]`)
)

func isWrite(p policy, q request) bool {
	for _, field := range q.fields {
		if isOverride(field[0]) {
			return true
		}
	}
	if q.asksWebSocket() {
		return true
	}
	if slices.Contains(p.readMethods, q.method) {
		return false
	}
	if q.method != "POST" || slices.ContainsFunc(q.fields, func(field [2]string) bool { return isPath(field[0]) || isPrefix(field[0]) }) {
		return true
	}
	path, _ := url.PathUnescape(q.path)
	for _, seen := range []string{q.path, path} {
		if !utf8.ValidString(seen) || !cleanPath.MatchString(seen) || doubtful.MatchString(seen) {
			return true
		}
	}
	for _, pattern := range p.readPaths {
		if prefix, ok := strings.CutSuffix(pattern, "*"); ok && strings.HasPrefix(path, prefix) || path == pattern {
			return false
		}
	}
	return true
}

// isTokenHeader includes all spellings, of which one alone is accepted.
func isTokenHeader(p policy, name string) bool {
	return p.tokenHeader != "" && fold(name) == fold(p.tokenHeader)
}

// isIdentity includes the names that are not in use, because an upstream may read
// them anyway.
func isIdentity(p policy, name string) bool {
	standard := []string{"x-workspace-id", "x-api-key-id", "x-api-key-access", "x-api-key-assertion"}
	return slices.Contains(standard, fold(name)) || slices.ContainsFunc(p.names[:], func(n string) bool { return fold(n) == fold(name) })
}

// asksWebSocket accepts one protocol only. Any other is an offer, and is declined.
func (q request) asksWebSocket() bool {
	if q.method == "CONNECT" {
		return q.extended == "websocket"
	}
	upgrade := q.values("Upgrade")
	return len(upgrade) == 1 && strings.ToLower(upgrade[0]) == "websocket" && len(upgrade[0]) == 9
}

func isOverride(name string) bool {
	return slices.Contains([]string{
		"x-http-method-override", "x-http-method", "x-method-override", "x-http-verb-override", "x-forwarded-method", "x-original-method",
		"x-method", "x-rest-method", "x-override-method", "x-requested-method", "method-override",
	}, fold(name))
}

// isPath reports whether a header names another path, and isPrefix whether it names
// a part of one.
func isPath(name string) bool {
	return slices.Contains([]string{
		"x-original-url", "x-rewrite-url", "x-original-uri", "x-forwarded-uri", "x-forwarded-path", "path-info",
		"x-forwarded-url", "x-original-path", "x-request-uri", "x-override-url", "x-http-path-override",
		"x-astro-path", "x-ms-original-url", "x-waws-unencoded-url", "x-now-route-matches",
		"x-matched-path", "x-invoke-path", "x-envoy-original-path",
	}, fold(name))
}

func isPrefix(name string) bool {
	return slices.Contains([]string{"x-forwarded-prefix", "x-script-name", "script-name", "x-forwarded-script-name", "x-traversal-path"}, fold(name))
}

// fold returns a name as a careless upstream could read it.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
}

func (q request) values(name string) (values []string) {
	for _, field := range q.fields {
		if strings.EqualFold(field[0], name) {
			values = append(values, field[1])
		}
	}
	return values
}

func (q request) has(name string) bool { return len(q.values(name)) > 0 }

func wellFormed(token string) bool {
	match := ownToken.FindStringSubmatch(token)
	return match != nil && match[2] == base62Checksum(match[1])
}

// foreign reports whether a text may be a token that another program issued: no token of
// the gateway's own has another prefix.
func foreign(token string) bool {
	return len(token) >= 16 && len(token) <= 512 && !strings.HasPrefix(token, "agk_") && anyToken.MatchString(token)
}

func base62Checksum(of string) string {
	n := crc32.ChecksumIEEE([]byte(of))
	digits := []byte("000000")
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[n%62]
		n /= 62
	}
	return string(digits)
}
