package caddymodule_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http/httpguts"
)

// A request is what a client sent.
type request struct {
	method   string
	path     string // as sent, without the query
	query    string // with its question mark
	fields   [][2]string
	trailers [][2]string
	body     string
	version  int    // of HTTP
	extended string // CONNECT's :protocol
	early    bool   // TLS early data
}

var standardNames = [3]string{"X-Workspace-ID", "X-API-Key-ID", "X-API-Key-Access"}

// fuzzPolicies are the mounts that requests are sent to.
var fuzzPolicies = []struct {
	policy
	config      object
	errorPage   bool    // the site has handle_errors
	outer       *policy // of a block before this one
	outerConfig object
}{
	{policy: policy{names: standardNames, realm: "api", readMethods: []string{"GET", "HEAD", "OPTIONS"}}, config: object{}},
	{
		policy: policy{
			names: [3]string{"x-TENANT", "Api-Key", "X-API-Key-Access"}, realm: "two words, and ';'",
			readMethods: []string{"GET", "QUERY", "OPTIONS"}, browsers: true, tokenHeader: "x-API-Key", forwardToken: true,
		},
		config: object{
			"token_header":     "x-API-Key",
			"workspace_header": "x-TENANT", "key_id_header": "Api-Key", "realm": "two words, and ';'",
			"read_methods": []string{"GET", "QUERY", "OPTIONS"}, "browsers": "allow", "forward_token": true,
		},
	},
	{
		policy: policy{
			names: standardNames, realm: "api", readMethods: []string{"GET", "HEAD", "OPTIONS"},
			readPaths: []string{"/v1/search", "/v1/reports/*", "/v1/é*"}, whoami: "/v1/me", tokenHeader: "X-API-Key",
		},
		config: object{"token_header": "X-API-Key", "read_paths": []string{"/v1/search", "/v1/reports/*", "/v1/é*"}, "whoami": "/v1/me"},
	},
	{
		policy:    policy{names: standardNames, realm: "api", readMethods: []string{"HEAD"}, readPaths: []string{"/v1/*"}},
		config:    object{"read_methods": []string{"HEAD"}, "read_paths": []string{"/v1/*"}},
		errorPage: true,
	},
	{
		policy: policy{names: standardNames, realm: "strict", readMethods: []string{"GET"}, readPaths: []string{"/v1/search"}, forwardToken: true},
		config: object{"realm": "strict", "read_methods": []string{"GET"}, "read_paths": []string{"/v1/search"}, "forward_token": true},
		outer: &policy{
			names: [3]string{"X-Workspace-ID", "X-Tenant", "Api-Key"}, realm: "api",
			readMethods: []string{"GET", "POST", "QUERY"}, whoami: "/v1/me", browsers: true, tokenHeader: "X-API-Key", forwardToken: true,
		},
		outerConfig: object{
			"token_header":  "X-API-Key",
			"key_id_header": "X-Tenant", "access_header": "Api-Key", "read_methods": []string{"GET", "POST", "QUERY"},
			"whoami": "/v1/me", "browsers": "allow", "forward_token": true,
		},
	},
}

// FuzzDecision compares the handler with the model: in everything that a request
// can contain, and everything that is responded and passed on.
func FuzzDecision(f *testing.F) {
	g := newDecisionGateway(f)
	for i, seed := range decisionSeeds() {
		if i%41 == 0 { // TestDecision runs the others
			f.Add(seed)
		}
	}
	f.Fuzz(g.decideBoth)
}

// TestDecision compares the handler with the model for requests of every kind.
func TestDecision(t *testing.T) {
	g := newDecisionGateway(t)
	for i, seed := range decisionSeeds() {
		t.Run(strconv.Itoa(i), func(t *testing.T) { g.decideBoth(t, seed) })
	}
}

// newDecisionGateway has a server for each policy.
func newDecisionGateway(t testing.TB) *fuzzGateway {
	servers := object{}
	for i, p := range fuzzPolicies {
		auth := func(config object) object {
			block := object{"handler": "api_key_auth"}
			maps.Copy(block, config)
			return block
		}
		handlers := []object{{"handler": "fuzz_before"}, auth(p.config), {"handler": "fuzz_behind"}}
		if p.outer != nil {
			handlers = slices.Insert(handlers, 1, auth(p.outerConfig))
		}
		server := object{"logs": object{}, "routes": []object{{"handle": handlers}}}
		if p.errorPage {
			server["errors"] = object{"routes": []object{{"handle": []object{{"handler": "fuzz_errors"}}}}}
		}
		servers[string(rune('0'+i))] = server
	}
	return newFuzzGateway(t, servers)
}

// decideBoth has the handler and the model decide on the same request.
func (g *fuzzGateway) decideBoth(t *testing.T, input []byte) {
	number, q, ok := g.decode(input)
	if !ok {
		return
	}
	p := fuzzPolicies[number]
	want := decide(p.policy, g.keys, q)
	if p.outer != nil {
		want = decideTwice(*p.outer, p.policy, g.keys, q)
	}
	got := g.send(t, string(rune('0'+number)), q)
	check(t, p.policy, p.errorPage, q, want, got)
	if t.Failed() {
		t.Logf("policy %d, %#v", number, q)
	}
}

// An outcome is the result of a request.
type outcome struct {
	*httptest.ResponseRecorder
	next      http.Header // seen by the next handler; nil if it was not called
	trailer   http.Header
	identity  []any       // values of the placeholders
	failed    http.Header // seen by the error routes
	logLines  string
	readEarly bool
}

// send passes a request to the server, as net/http would have read it. It keeps
// what Caddy removes by default, because a site can turn that off.
func (g *fuzzGateway) send(t *testing.T, server string, q request) *outcome {
	target := q.path + q.query
	u, err := url.ParseRequestURI(target)
	if err != nil {
		t.Fatal(err)
	}
	body := &fuzzBody{Reader: strings.NewReader(q.body)}
	r := &http.Request{
		Method: q.method, URL: u, RequestURI: target, Host: "api.example.com", RemoteAddr: "192.0.2.1:1234",
		Proto: "HTTP/1.1", ProtoMajor: q.version, Header: http.Header{}, Body: body, ContentLength: int64(len(q.body)),
		TLS: &tls.ConnectionState{HandshakeComplete: !q.early},
	}
	for _, field := range q.fields {
		r.Header.Add(field[0], field[1])
	}
	switch q.version {
	case 1:
		r.ProtoMinor = 1
	case 2:
		r.Proto = "HTTP/2.0"
		if q.extended != "" {
			r.Header[":protocol"] = []string{q.extended}
		}
	case 3:
		r.Proto = "HTTP/3.0"
		if q.extended != "" {
			r.Proto = q.extended
		}
	}
	if len(q.trailers) > 0 {
		r.ContentLength = -1
		body.atEnd = func() {
			if r.Trailer == nil {
				r.Trailer = http.Header{}
			}
			for _, field := range q.trailers {
				r.Trailer.Add(field[0], field[1])
			}
		}
		if len(q.trailers)%2 == 1 { // declared
			r.Trailer = http.Header{}
			for _, field := range q.trailers {
				r.Trailer[http.CanonicalHeaderKey(field[0])] = nil
			}
		}
	}

	o := &outcome{ResponseRecorder: httptest.NewRecorder()}
	body.answered = func() bool { return o.Flushed }
	sent := r.Header.Clone()
	hooks := &fuzzHooks{
		before: func(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
			r.Header = sent
			return next.ServeHTTP(w, r)
		},
		behind: func(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
			if o.next != nil {
				t.Error("the next handler was called twice")
			}
			o.next = r.Header.Clone()
			_, _ = io.Copy(io.Discard, r.Body)
			o.trailer = r.Trailer
			repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
			for _, name := range []string{"http.api_key.workspace_id", "http.api_key.id", "http.api_key.access", "http.auth.user.id"} {
				value, _ := repl.Get(name)
				o.identity = append(o.identity, value)
			}
			for name, values := range r.Header { // as Caddy's header directive does
				_ = append(values, "added")
				if !slices.Equal(values, o.next[name]) {
					t.Errorf("%s was changed through another header", name)
				}
			}
			for _, values := range r.Header {
				for i := range values {
					values[i] = "changed"
				}
			}
			_, err := w.Write([]byte("upstream"))
			return err
		},
		errors: func(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
			o.failed = r.Header.Clone()
			o.trailer = r.Trailer
			w.WriteHeader(r.Context().Value(caddyhttp.ErrorCtxKey).(caddyhttp.HandlerError).StatusCode)
			_, err := w.Write([]byte("the site's page"))
			return err
		},
	}
	takeLog()
	g.servers[server].ServeHTTP(o, hooks.with(r))
	o.logLines = takeLog()
	o.readEarly = body.early
	return o
}

// fuzzBody is a body with trailers.
type fuzzBody struct {
	io.Reader
	atEnd    func()
	answered func() bool
	early    bool // it was read before the response was sent
}

func (b *fuzzBody) Read(p []byte) (int, error) {
	b.early = b.early || !b.answered()
	n, err := b.Reader.Read(p)
	if err == io.EOF && b.atEnd != nil {
		b.atEnd()
		b.atEnd = nil
	}
	return n, err
}

func (*fuzzBody) Close() error { return nil }

// check compares the outcome of a request with the model's verdict.
func check(t *testing.T, p policy, errorPage bool, q request, want verdict, got *outcome) {
	if got.Code != want.status {
		t.Errorf("got status %d, want %d", got.Code, want.status)
	}
	header := func(name string, want ...string) {
		t.Helper()
		if got := got.Header()[http.CanonicalHeaderKey(name)]; !slices.Equal(got, want) {
			t.Errorf("got %s %q, want %q", name, got, want)
		}
	}
	if refused := want.result != "allowed"; refused {
		if errorPage {
			want.body = "the site's page"
			header("Content-Type")
		} else {
			header("Content-Type", "application/json")
		}
		header("Cache-Control", "no-store")
		if q.version == 1 && (q.body != "" || len(q.trailers) > 0) {
			header("Connection", "close")
		}
		if got.readEarly {
			t.Error("the body of a refused request was read before the answer was sent")
		}
		if errorPage == (got.failed == nil) {
			t.Errorf("error routes: got %v", got.failed)
		}
		for name := range got.failed {
			if isIdentity(p, name) || isTokenHeader(p, name) || strings.EqualFold(name, "Authorization") {
				t.Errorf("the error routes see %s", name)
			}
		}
	}
	if want.challenge == "" {
		header("WWW-Authenticate")
	} else {
		header("WWW-Authenticate", want.challenge)
	}
	if allowed := got.Header().Get("Allow") != ""; allowed != (want.status == 405) {
		t.Errorf("got Allow %q", got.Header().Get("Allow"))
	}
	header("Retry-After")
	header("Access-Control-Allow-Origin")
	if want.next != nil && want.key.expires != "" {
		header("X-API-Key-Expires", want.key.expires)
	} else {
		header("X-API-Key-Expires")
	}
	if want.status == 200 && want.next == nil {
		checkWhoami(t, got, want.key)
	} else if got.Body.String() != want.body {
		t.Errorf("got body %q, want %q", got.Body, want.body)
	}
	checkNext(t, p, q, want, got)
	checkLog(t, q, want, got.logLines)
}

func checkWhoami(t *testing.T, got *outcome, key knownKey) {
	var who struct {
		Workspace struct{ ID string }
		Key       struct{ ID, Preset string }
	}
	if err := json.Unmarshal(got.Body.Bytes(), &who); err != nil {
		t.Errorf("whoami: %v in %q", err, got.Body)
	}
	if who.Workspace.ID != key.workspace || who.Key.ID != key.id || who.Key.Preset != key.access {
		t.Errorf("whoami: got %q, want %+v", got.Body, key)
	}
}

// checkNext compares what the next handler saw.
func checkNext(t *testing.T, p policy, q request, want verdict, got *outcome) {
	if (got.next == nil) != (want.next == nil) {
		t.Errorf("the next handler saw %q, want %q", got.next, want.next)
		return
	}
	if len(got.trailer) > 0 {
		t.Errorf("trailers were passed on: %q", got.trailer)
	}
	if got.next == nil {
		return
	}
	var connection []string
	for _, value := range got.next["Connection"] {
		for token := range strings.SplitSeq(value, ",") {
			if token = strings.Trim(token, " \t"); token != "" {
				connection = append(connection, token)
			}
		}
	}
	if !slices.Equal(connection, want.connection) {
		t.Errorf("got Connection %q, want %q", connection, want.connection)
	}
	delete(got.next, "Connection")
	if q.extended != "" && q.version == 2 {
		want.next[":protocol"] = []string{q.extended}
	}
	if !maps.EqualFunc(got.next, want.next, slices.Equal) {
		t.Errorf("the next handler saw\n%q, want\n%q", got.next, want.next)
	}
	for name, values := range got.next { // once more, without the model
		if isOverride(name) || isPath(name) || isIdentity(p, name) && len(values) != 1 {
			t.Errorf("the next handler saw %s: %q", name, values)
		}
	}
	identity := []any{want.key.workspace, want.key.id, want.key.access, want.key.id}
	if !slices.Equal(got.identity, identity) {
		t.Errorf("got placeholders %v, want %v", got.identity, identity)
	}
}

// checkLog checks the access log.
func checkLog(t *testing.T, q request, want verdict, lines string) {
	var entry struct {
		Result    string `json:"api_key_result"`
		KeyID     string `json:"api_key_id"`
		Workspace string `json:"workspace_id"`
	}
	for line := range strings.Lines(lines) {
		if strings.Contains(line, `"logger":"http.log.access`) {
			if err := json.Unmarshal([]byte(line), &entry); err != nil {
				t.Errorf("%v in %q", err, line)
			}
		}
	}
	if entry.Result != want.result || entry.KeyID != want.key.id || entry.Workspace != want.key.workspace {
		t.Errorf("logged %+v, want %s of %+v", entry, want.result, want.key)
	}
	elsewhere := func(field [2]string) bool {
		return strings.Contains(field[1], "agk_") && !strings.EqualFold(field[0], "Authorization") && fold(field[0]) != "x-api-key"
	}
	if !slices.ContainsFunc(q.fields, elsewhere) && strings.Contains(lines, "agk_") {
		t.Errorf("a token is in the log: %s", lines)
	}
}

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
