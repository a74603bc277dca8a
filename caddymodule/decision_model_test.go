package caddymodule_test

import (
	"fmt"
	"hash/crc32"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// This file says what api_key_auth answers, and what it hands on, as its
// documentation says it: one rule after the other, slow and plain. It shares
// no code with the module.

// A policy is one api_key_auth block.
type policy struct {
	names        [3]string // of the workspace, the key's id, and its access
	realm        string
	readMethods  []string
	readPaths    []string
	whoami       string
	browsers     bool // allowed
	forwardToken bool
	errorRoutes  bool // the site has handle_errors
}

// A knownKey is a key of the store.
type knownKey struct {
	id, workspace, access string
	status                string // active, expired or revoked
	suspended             bool   // its workspace
	replaced              bool
	expires               time.Time
}

// A request is what a client sent.
type request struct {
	method   string
	path     string // as sent, without the query
	query    string
	fields   [][2]string
	trailers [][2]string
	body     string
	version  int    // of HTTP
	extended string // CONNECT's :protocol
	early    bool   // TLS early data
}

// A verdict is what is to become of it.
type verdict struct {
	status    int
	challenge string // WWW-Authenticate, empty for none
	body      string
	result    string
	action    string
	access    string
	key       knownKey    // of a request that passes
	next      http.Header // what the next handler sees but for Connection, nil if it sees nothing
}

func decide(p policy, keys map[string]knownKey, q request) verdict {
	v := verdict{action: "read"}
	if isWrite(p, q) {
		v.action = "write"
	}
	bearer := fmt.Sprintf(`Bearer realm="%s"`, p.realm)
	invalid := bearer + `, error="invalid_token"`

	if q.method == "TRACE" || q.method == "CONNECT" && q.extended == "" {
		return v.refuse(405, "Method Not Allowed.", "", "method")
	}
	if q.early && v.action == "write" {
		return v.refuse(425, "Too Early.", "", "early_data")
	}
	if q.method == "OPTIONS" && q.has("Origin") && q.has("Access-Control-Request-Method") {
		return v.refuse(401, "Unauthorized.", bearer, "preflight")
	}

	credentials := q.values("Authorization")
	if len(credentials) == 0 {
		return v.refuse(401, "Unauthorized.", bearer, "missing")
	}
	if len(credentials) > 1 {
		return v.refuse(401, "Unauthorized.", invalid, "malformed")
	}
	match := regexp.MustCompile(`(?s)^[Bb][Ee][Aa][Rr][Ee][Rr] (.*)$`).FindStringSubmatch(credentials[0])
	if match == nil || !wellFormed(match[1]) {
		return v.refuse(401, "Unauthorized.", invalid, "malformed")
	}
	key, known := keys[match[1]]
	if !known {
		return v.refuse(401, "Unauthorized.", invalid, "unknown")
	}
	v.access = key.access
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
	if key.access == "read_only" && v.action == "write" {
		return v.refuse(403, "Forbidden.", bearer+`, error="insufficient_scope", scope="write"`, "read_only")
	}

	v.status, v.result, v.key = 200, "allowed", key
	if p.whoami != "" && decoded(q.path) == p.whoami && (q.method == "GET" || q.method == "HEAD") {
		return v
	}
	v.next = http.Header{}
	for _, field := range q.fields {
		name := fold(field[0])
		if name == fold(p.names[0]) || name == fold(p.names[1]) || name == fold(p.names[2]) {
			continue
		}
		if overrides(field[0]) || name == "connection" || name == "authorization" && !p.forwardToken {
			continue
		}
		v.next.Add(field[0], field[1])
	}
	v.next.Set(p.names[0], key.workspace)
	v.next.Set(p.names[1], key.id)
	v.next.Set(p.names[2], key.access)
	return v
}

func (v verdict) refuse(status int, message, challenge, result string) verdict {
	v.status, v.body, v.challenge, v.result = status, `{"error":"`+message+`"}`, challenge, result
	return v
}

func isWrite(p policy, q request) bool {
	for _, field := range q.fields {
		if overrides(field[0]) {
			return true
		}
	}
	if q.has("Upgrade") || q.extended != "" {
		return true
	}
	if slices.Contains(p.readMethods, q.method) {
		return false
	}
	if q.method != "POST" {
		return true
	}
	path := decoded(q.path)
	for _, seen := range []string{q.path, path} {
		if !strings.HasPrefix(seen, "/") || regexp.MustCompile(`(?i)//|/\.\.?(/|$)|%2f|%5c|%2e|;|\\`).MatchString(seen) {
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

func overrides(name string) bool {
	return fold(name) == "x-http-method-override" || fold(name) == "x-http-method" || fold(name) == "x-method-override"
}

// fold is the name as a careless upstream could read it.
func fold(name string) string {
	return strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(name))
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

func decoded(path string) string {
	decoded, err := url.PathUnescape(path)
	if err != nil {
		return "not a path"
	}
	return decoded
}

func wellFormed(token string) bool {
	match := regexp.MustCompile(`^([a-z][a-z0-9_]{0,18}[a-z0-9]_[0-9A-Za-z]{43})([0-9A-Za-z]{6})$`).FindStringSubmatch(token)
	return match != nil && match[2] == base62(crc32.ChecksumIEEE([]byte(match[1])))
}

func base62(n uint32) string {
	digits := []byte("000000")
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[n%62]
		n /= 62
	}
	return string(digits)
}
