package test

import (
	"slices"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// decision is a request, and all that becomes of it.
type decision struct {
	name   string
	method string
	query  string
	fields []string   // name and value in turn
	key    client.Key // whose request it turns out to be, if anybody's

	status    int
	challenge string
	result    string // in the metrics and in the access log
	action    string // in the metrics
}

// decisionKeys are keys in all states, and their tokens.
type decisionKeys struct {
	full, readOnly, revoked, suspended, expired, spent                           client.Key
	fullToken, readToken, revokedToken, suspendedToken, expiredToken, spentToken string
	misplacedToken                                                               string // is sent where Caddy logs it
}

const writesAllowed = 5 // in decisionConfig, to a key

// decisionConfig limits writes.
var decisionConfig = strings.Replace(withOptions("rate_limit write 5 1h"), "\tdebug\n", "\tdebug\n\tmetrics\n", 1)

func (s *server) decisionKeys(t *testing.T) (k decisionKeys) {
	t.Helper()
	k.full, k.fullToken = s.Create("acme", "Warehouse sync", "full_access")
	k.readOnly, k.readToken = s.Create("acme", "Zapier production", "read_only")
	k.revoked, k.revokedToken = s.Create("acme", "Old export job", "full_access")
	s.Revoke(k.revoked)
	k.suspended, k.suspendedToken = s.Create("globex", "Globex billing", "full_access")
	s.Post("/workspaces/globex/suspend")
	k.expired, k.expiredToken = s.CreateExpired(t)
	k.spent, k.spentToken = s.Create("acme", "Finance export", "full_access")
	_, k.misplacedToken = s.Create("acme", "Careless client", "full_access")
	for range writesAllowed {
		s.wantPassed(t, s.Clients(t)[0].Send(t, "POST", contacts, nil, bearer(k.spentToken)...))
	}
	return k
}

// decisions is the table of answers.
func decisions(k decisionKeys) []decision {
	full, readOnly := bearer(k.fullToken), bearer(k.readToken)
	header := func(value string) []string { return []string{"Authorization", value} }
	with := func(credentials []string, fields ...string) []string { return slices.Concat(credentials, fields) }
	preflight := []string{"Origin", "https://evil.example", "Access-Control-Request-Method", "POST"}
	none := client.Key{}
	return []decision{
		{"full access reads", "GET", "", full, k.full, 200, "", "allowed", "read"},
		{"full access writes", "POST", "", full, k.full, 200, "", "allowed", "write"},
		{"read only reads", "GET", "", readOnly, k.readOnly, 200, "", "allowed", "read"},
		{"read only asks for headers", "HEAD", "", readOnly, k.readOnly, 200, "", "allowed", "read"},
		{"read only asks for options", "OPTIONS", "", with(readOnly, "Origin", "https://a.example"), k.readOnly, 200, "", "allowed", "read"},
		{"the scheme in any case", "GET", "", header("bEARER " + k.fullToken), k.full, 200, "", "allowed", "read"},
		{"a person at the address bar", "GET", "", with(full, "Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate"), k.full, 200, "", "allowed", "read"},
		{"a client that sends Sec-Fetch-Mode", "GET", "", with(full, "Sec-Fetch-Mode", "cors"), k.full, 200, "", "allowed", "read"},
		{"a read in early data", "GET", "", with(full, "Early-Data", "1"), k.full, 200, "", "allowed", "read"},

		{"no credentials", "GET", "", nil, none, 401, challenge, "missing", "read"},
		{"a token in the query", "GET", "?access_token=" + k.misplacedToken, nil, none, 401, challenge, "missing", "read"},
		{"a token in a cookie", "GET", "", []string{"Cookie", "token=" + k.fullToken}, none, 401, challenge, "missing", "read"},
		{"a token in X-API-Key", "GET", "", []string{"X-API-Key", k.misplacedToken}, none, 401, challenge, "missing", "read"},
		{"an empty header", "GET", "", header(""), none, 401, invalidToken, "malformed", "read"},
		{"Bearer alone", "GET", "", header("Bearer"), none, 401, invalidToken, "malformed", "read"},
		{"two headers", "GET", "", with(full, full...), none, 401, invalidToken, "malformed", "read"},
		{"two headers in different case", "GET", "", with(full, "authorization", "Basic YTpi"), none, 401, invalidToken, "malformed", "read"},
		{"two tokens in one", "GET", "", header("Bearer " + k.fullToken + ", Bearer " + k.fullToken), none, 401, invalidToken, "malformed", "read"},
		{"another scheme", "GET", "", header("Basic YTpi"), none, 401, invalidToken, "malformed", "read"},
		{"another scheme with a token", "GET", "", header("Basic " + k.fullToken), none, 401, invalidToken, "malformed", "read"},
		{"no scheme", "GET", "", header(k.fullToken), none, 401, invalidToken, "malformed", "read"},
		{"two spaces", "GET", "", header("Bearer  " + k.fullToken), none, 401, invalidToken, "malformed", "read"},
		{"a tab", "GET", "", header("Bearer\t" + k.fullToken), none, 401, invalidToken, "malformed", "read"},
		{"not ASCII", "GET", "", header("Bearer " + k.fullToken[:52] + "é"), none, 401, invalidToken, "malformed", "read"},
		{"truncated", "GET", "", header("Bearer " + k.fullToken[:52]), none, 401, invalidToken, "malformed", "read"},
		{"extended", "GET", "", header("Bearer " + k.fullToken + "0"), none, 401, invalidToken, "malformed", "read"},
		{"far too long", "GET", "", header("Bearer " + k.fullToken + strings.Repeat("x", 4000)), none, 401, invalidToken, "malformed", "read"},
		{"a wrong checksum", "GET", "", header("Bearer " + k.fullToken[:52] + otherThan(k.fullToken[52])), none, 401, invalidToken, "malformed", "read"},
		{"unknown", "GET", "", bearer(gatewaytest.OtherToken(k.fullToken)), none, 401, invalidToken, "unknown", "read"},
		{"expired", "GET", "", bearer(k.expiredToken), k.expired, 401, invalidToken + `, error_description="The token expired."`, "expired", "read"},
		{"revoked", "GET", "", bearer(k.revokedToken), k.revoked, 401, invalidToken + `, error_description="The token was revoked."`, "revoked", "read"},
		{"a preflight", "OPTIONS", "", preflight, none, 401, challenge, "preflight", "read"},
		{"a preflight with a key", "OPTIONS", "", with(full, preflight...), none, 401, challenge, "preflight", "read"},

		{"read only writes", "POST", "", readOnly, k.readOnly, 403, needsWrite, "read_only", "write"},
		{"read only deletes", "DELETE", "", readOnly, k.readOnly, 403, needsWrite, "read_only", "write"},
		{"read only invents a method", "FROB", "", readOnly, k.readOnly, 403, needsWrite, "read_only", "write"},
		{"read only gets in lower case", "get", "", readOnly, k.readOnly, 403, needsWrite, "read_only", "write"},
		{"read only queries", "QUERY", "", readOnly, k.readOnly, 403, needsWrite, "read_only", "write"},
		{"read only names another method", "GET", "", with(readOnly, "x-http-method-OVERRIDE", ""), k.readOnly, 403, needsWrite, "read_only", "write"},
		{"suspended", "GET", "", bearer(k.suspendedToken), k.suspended, 403, "", "suspended", "read"},
		{"a browser", "GET", "", with(full, "Sec-Fetch-Site", "cross-site"), k.full, 403, "", "browser", "read"},

		{"TRACE", "TRACE", "", full, none, 405, "", "method", "write"},
		{"a write in early data", "POST", "", with(full, "Early-Data", "1"), none, 425, "", "early_data", "write"},
		{"over the limit", "POST", "", bearer(k.spentToken), k.spent, 429, "", "rate_limited", "write"},
	}
}

// decisionBodies are the bodies of the answers by their status.
var decisionBodies = map[int]string{
	200: "ok", 401: unauthorized, 403: forbidden, 405: methodNotAllowed, 425: tooEarly, 429: tooMany,
}

// TestDecision holds the table of answers in every version of HTTP: what the client
// is answered, what the upstream receives, what is counted, and what the access log
// says. No log has a token.
func TestDecision(t *testing.T) {
	t.Parallel()
	s := start(t, decisionConfig)
	k := s.decisionKeys(t)
	counts := s.metrics()
	for _, c := range s.Clients(t) {
		for _, d := range decisions(k) {
			t.Run(c.Name+"/"+d.name, func(t *testing.T) {
				path := decisionPath(c.Name, d)
				counts = s.wantDecision(t, d, path, counts, func() gatewaytest.Answer { return c.Send(t, d.method, path, nil, d.fields...) })
			})
		}
	}
	head := func(method, target string) string {
		return method + " " + target + " HTTP/1.1\r\nHost: " + s.Plain + "\r\nAuthorization: Bearer "
	}
	upgrade := decision{name: "read only upgrades", method: "GET", key: k.readOnly, status: 403, challenge: needsWrite, result: "read_only", action: "write"}
	connect := decision{name: "CONNECT", method: "CONNECT", status: 405, result: "method", action: "write"}
	t.Run("HTTP/1.1/"+upgrade.name, func(t *testing.T) {
		path := decisionPath("HTTP/1.1", upgrade)
		counts = s.wantDecision(t, upgrade, path, counts, func() gatewaytest.Answer {
			return gatewaytest.Raw(t, s.Plain, head("GET", path)+k.readToken+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		})
	})
	t.Run("HTTP/1.1/"+connect.name, func(t *testing.T) {
		s.wantDecision(t, connect, s.Plain, counts, func() gatewaytest.Answer {
			return gatewaytest.Raw(t, s.Plain, head("CONNECT", s.Plain)+k.fullToken+"\r\n\r\n")
		})
	})
	for _, token := range []string{k.fullToken, k.readToken, k.revokedToken, k.suspendedToken, k.expiredToken, k.spentToken} {
		log := s.Log.String()
		if strings.Contains(log, token) || strings.Contains(log, token[4:40]) {
			t.Error("got a token in the log")
		}
	}
}

// decisionPath is a path by which the request is found in the access log.
func decisionPath(version string, d decision) string {
	dashes := strings.NewReplacer(" ", "-", "/", "")
	return contacts + "/" + dashes.Replace(version+" "+d.name) + d.query
}

// wantDecision sends a request and checks all that becomes of it. It takes the metrics from
// before, and returns those from after.
func (s *server) wantDecision(t *testing.T, d decision, path string, before map[string]float64, send func() gatewaytest.Answer) (after map[string]float64) {
	t.Helper()
	s.Upstream.Take()
	got := send()

	body := decisionBodies[d.status]
	if d.method == "HEAD" {
		body = ""
	}
	if got.Status != d.status || got.Body != body {
		t.Errorf("got %d %q, want %d %q", got.Status, got.Body, d.status, body)
	}
	if got := got.Header.Get("WWW-Authenticate"); got != d.challenge {
		t.Errorf("got WWW-Authenticate %q, want %q", got, d.challenge)
	}
	if received := s.Upstream.Take(); d.status == 200 {
		wantIdentity(t, received, d.key)
	} else {
		wantRefusal(t, got, received)
	}
	after = s.metrics()
	labels := []string{`result="` + d.result + `"`, `action="` + d.action + `"`, `access="` + d.key.Preset + `"`}
	if more, all := countedIn(after, labels...)-countedIn(before, labels...), countedIn(after)-countedIn(before); more != 1 || all != 1 {
		t.Errorf("got %d more requests counted with %s, and %d in all, want 1", more, labels, all)
	}
	entry := s.awaitAccess(path)
	if entry.Result != d.result || entry.KeyID != d.key.ID || entry.WorkspaceID != d.key.WorkspaceID {
		t.Errorf("got %+v in the access log, want %s of %q in %q", entry, d.result, d.key.ID, d.key.WorkspaceID)
	}
	return after
}

// wantRefusal checks what every refusal has in common.
func wantRefusal(t *testing.T, got gatewaytest.Answer, received []gatewaytest.Received) {
	t.Helper()
	if len(received) != 0 {
		t.Errorf("the upstream received a refused request:\n%s", received[0].Head)
	}
	want := map[string]string{"Content-Type": "application/json", "Cache-Control": "no-store", "Allow": ""}
	if got.Status == 405 {
		want["Allow"] = "GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE"
	}
	for name, want := range want {
		if got := got.Header.Get(name); got != want {
			t.Errorf("got %s %q, want %q", name, got, want)
		}
	}
	if after := got.Header.Get("Retry-After"); (after != "") != (got.Status == 429) {
		t.Errorf("got Retry-After %q on a %d", after, got.Status)
	}
	for name := range got.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("got %s, want no CORS header", name)
		}
	}
}

// otherThan returns another character of a token's alphabet.
func otherThan(c byte) string {
	if c == 'a' {
		return "b"
	}
	return "a"
}
