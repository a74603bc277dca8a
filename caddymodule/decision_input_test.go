package caddymodule_test

import (
	"bytes"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// The parts of fuzzed requests. Index 0xff means that the input contains the value
// itself.
var (
	fuzzMethods = []string{
		"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "QUERY", "get", "Post", "trace", "PROPPATCH", "PRI",
	}
	fuzzPaths = []string{
		"/", "/v1/contacts", "/v1/search", "/v1/search/", "/v1/Search", "/v1/sear%63h", "/v1/search%2f", "/v1/search;x", "/v1//search",
		"/v1/./search", "/v1/x/../search", "/v1/%2e%2e/v1/search", "/v1/reports/", "/v1/reports/a/b", "/v1/reports/..", "/v1/reports/%2E%2E/x",
		"/v1/reports/a%5cb", `/v1/reports/a\b`, "/v1/reports/%252e%252e/x", "/v1/reports/a%3Bb", "/v1/reports/%00", "/v1/reports/%ff",
		"/v1/reports/...", "/v1/reports/.a", "/v1/%c3%a9t%c3%a9", "/v1/\u00e9", "/v1/reports/a b", "/v1/me", "/v1/m%65", "*", "//v1/search",
		"/v1/search#x", "/v1/search%23", "/v1/search%3fx", "/v1", "/v1/",
	}
	fuzzNames = []string{
		"Authorization", "authorization", "X-Workspace-ID", "x-workspace-id", "X_Workspace_ID", "X.Workspace-Id", "X-API-Key-ID", "X_API.Key-Id",
		"X-API-Key-Access", "x.api.key.access", "X-API-Key-Assertion", "X-Tenant", "X_Tenant", "Api-Key", "API.Key", "Connection", "connection",
		"Upgrade", "X-HTTP-Method-Override", "X_HTTP_Method_Override", "X.Http.Method", "X-HTTP-Method", "X-Method-Override", "x-method.override",
		"Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Early-Data",
		"X-HTTP-Verb-Override", "X~Forwarded.Method", "X-Original-URL", "x_rewrite_url", "X.Forwarded.Uri", "X-Forwarded-Prefix", "script_name",
		"X-API-Key", "x-api-key", "X_Api.Key", "HTTP2-Settings", "http2_settings", "X-Forwarded-For", "Forwarded", "Cookie", "Proxy-Authorization", "Authorization_", "X-Workspace-IDs", "Accept", "Content-Type", "Expect",
	}
	fuzzValues = []string{
		"", "Upgrade", "close", "keep-alive, X-Workspace-ID", "x_workspace_id", "upgrade,x-api-key-access ,, te", "Authorization", "X-Tenant,Api.Key",
		"websocket", "cross-site", "same-site", "same-origin", "none", "Cross-Site", "cross-site, none", "cors", "DELETE", "GET", "1", "0", "evil",
		"acme", "full_access", "https://evil.example", "*", "a, b", "h2c", "WebSocket", "websocket, h2c", "Upgrade, HTTP2-Settings", "http2.settings",
	}
	fuzzSchemes   = []string{"Bearer ", "bearer ", "BEARER ", "Bearer", "Bearer  ", "Bearer\t", " Bearer ", "Basic ", "Token ", "", "Bearer:", "\uff22earer "}
	fuzzProtocols = []string{"", "websocket", "webtransport", "WebSocket", "connect-udp"}
)

// In place of an index, credential means that a scheme, a token and a mutation
// follow.
const credential, spelt = 0xfe, 0xff

// decode turns an input into a request and the policy that judges it.
func (g *fuzzGateway) decode(input []byte) (policy int, q request, ok bool) {
	in := &fuzzInput{rest: input}
	policy = in.index(len(fuzzPolicies))
	flags := in.byte()
	q.version = 1 + int(flags&3)%3
	q.early = flags&4 != 0
	if flags&8 != 0 {
		q.body = "a body"
	}
	trailers := int(flags >> 4 & 3)
	if flags&64 != 0 {
		q.query = "?a=%2f;b//..&q=/v1/search"
	}
	q.method = in.choice(fuzzMethods)
	q.path = in.choice(fuzzPaths)
	if q.method == "CONNECT" && q.version > 1 {
		q.extended = fuzzProtocols[in.index(len(fuzzProtocols))]
	}
	if !httpguts.ValidHeaderFieldName(q.method) || len(q.method) > 32 {
		return 0, q, false
	}
	notInTargets := func(r rune) bool { return r <= ' ' || r == '?' || r == 0x7f }
	if q.path != "*" && !strings.HasPrefix(q.path, "/") || strings.ContainsFunc(q.path, notInTargets) {
		return 0, q, false
	}
	if _, err := url.ParseRequestURI(q.path + q.query); err != nil {
		return 0, q, false
	}
	for len(in.rest) > 0 && len(q.fields) < 32 {
		name := in.choice(fuzzNames)
		value := g.value(in)
		if q.version == 1 {
			value = strings.Trim(value, " \t")
		}
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return 0, q, false
		}
		if len(q.trailers) < trailers {
			q.trailers = append(q.trailers, [2]string{name, value})
		} else {
			q.fields = append(q.fields, [2]string{name, value})
		}
	}
	return policy, q, true
}

func (g *fuzzGateway) value(in *fuzzInput) string {
	if len(in.rest) == 0 || in.rest[0] != credential {
		return in.choice(fuzzValues)
	}
	in.byte()
	scheme := fuzzSchemes[in.index(len(fuzzSchemes))]
	token := g.tokens[in.index(len(g.tokens))]
	kind, where := in.index(16), in.index(len(token))
	switch kind {
	case 1:
		token = token[:where]
	case 2:
		token += string(token[where])
	case 3: // as a typist would, or a homoglyph
		token = token[:where] + string(token[where]^0x20) + token[where+1:]
	case 4:
		token = token[:where] + "\u0430" + token[where+1:]
	case 5:
		token = token[:where] + "0" + token[where+1:]
	case 6: // well-formed again
		token = checksummed(token[:20] + string(token[where]) + token[21:47])
	case 7:
		token = checksummed("old_prefix" + token[3:47])
	case 8:
		token = checksummed("A" + token[1:47])
	case 9:
		token += " "
	case 10:
		token += ", Bearer " + g.tokens[0]
	case 11:
		token += "\t"
	case 12:
		token = strings.ToUpper(token)
	case 13:
		token = "\"" + token + "\""
	case 14: // of no form of the gateway's
		token = "0190f1c2-8a4e-7c30-b0f5-0e6a3f1d2c4b"[:where%36+1]
	case 15:
		token = strings.Repeat("sk_live.4eC39HqLyjWDarjtT1zdp7dc", 1+where) + "=="
	}
	return scheme + token
}

// fuzzInput is read from the front, and followed by endless zeros.
type fuzzInput struct{ rest []byte }

func (in *fuzzInput) byte() byte {
	if len(in.rest) == 0 {
		return 0
	}
	b := in.rest[0]
	in.rest = in.rest[1:]
	return b
}

func (in *fuzzInput) index(n int) int { return int(in.byte()) % n }

func (in *fuzzInput) choice(list []string) string {
	b := in.byte()
	if b != spelt {
		return list[int(b)%len(list)]
	}
	n := min(int(in.byte()), len(in.rest))
	s := string(in.rest[:n])
	in.rest = in.rest[n:]
	return s
}

// decisionSeeds returns requests of every kind as a seed corpus.
func decisionSeeds() (seeds [][]byte) {
	of := func(list []string, s string) []byte {
		if i := slices.Index(list, s); i >= 0 {
			return []byte{byte(i)}
		}
		return append([]byte{spelt, byte(len(s))}, s...)
	}
	// A seed's fields are names and values; a number is a token, in full.
	add := func(policy, flags int, method, path string, fields ...any) {
		seed := bytes.Join([][]byte{{byte(policy), byte(flags)}, of(fuzzMethods, method), of(fuzzPaths, path)}, nil)
		if method == "CONNECT" && flags&3 > 0 {
			seed = append(seed, byte(len(seeds)%len(fuzzProtocols)))
		}
		for i, field := range fields {
			switch field := field.(type) {
			case string:
				seed = append(seed, of([][]string{fuzzNames, fuzzValues}[i%2], field)...)
			case int:
				seed = append(seed, credential, byte(i%4/2), byte(field), 0, 0)
			}
		}
		seeds = append(seeds, seed)
	}
	for p := range fuzzPolicies {
		for token := range len(fuzzKeys) + 1 {
			for _, method := range fuzzMethods {
				add(p, token%3, method, "/v1/contacts", "Authorization", token)
			}
		}
		for _, path := range fuzzPaths {
			add(p, 8, "POST", path, "Authorization", 1)
			add(p, 0, "GET", path, "Authorization", 1)
		}
		for i, name := range fuzzNames {
			for j, value := range fuzzValues {
				add(p, (i+j)%16, "GET", "/v1/search", name, value, "Authorization", (i+j)%3, name, "evil")
			}
		}
		for _, method := range []string{"GET", "POST", "CONNECT"} {
			for _, flags := range []int{0, 4, 5, 6, 8 + 16, 8 + 32, 1 + 8 + 48, 64} {
				add(p, flags, method, "/v1/search", "X-Workspace-ID", "evil", "X_Tenant", "evil", "Authorization", 1)
				add(p, flags, method, "/v1/search", "Authorization", 0, "Authorization", 1)
				add(p, flags, method, "/v1/search", "Authorization", 6, "Sec-Fetch-Site", "cross-site", "Upgrade", "websocket")
			}
		}
		add(p, 0, "OPTIONS", "/", "Origin", "https://evil.example", "Access-Control-Request-Method", "GET", "Authorization", 0)
	}
	for scheme := range fuzzSchemes {
		for mutation := range 16 {
			seeds = append(seeds, []byte{0, byte(mutation % 3), 0, 1, 0, credential, byte(scheme), 0, byte(mutation), 30})
		}
	}
	bare := byte(slices.Index(fuzzSchemes, ""))
	for p := range fuzzPolicies {
		for token := range len(fuzzKeys) + 1 {
			for _, name := range []string{"X-API-Key", "x-api-key", "X_Api.Key"} {
				header := append(of(fuzzNames, name), credential, bare, byte(token), byte(token%3*7), 20)
				plain := []byte{byte(p), byte(token % 3), byte(token % 4), 1}
				seeds = append(seeds,
					slices.Concat(plain, header),
					slices.Concat(plain, header, header),
					slices.Concat(plain, header, of(fuzzNames, "Authorization"), []byte{credential, 0, byte(token), 0, 0}),
					slices.Concat(plain, header, of(fuzzNames, "Connection"), of(fuzzValues, "keep-alive, X-Workspace-ID, x_API-key")),
				)
			}
		}
	}
	return seeds
}
