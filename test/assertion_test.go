package test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/identity"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
	"github.com/agiled/caddy-api-keys/internal/store"
)

const (
	testIssuer   = "https://api.example.com"
	testAudience = "contacts"
	jwksPath     = "/.well-known/api-keys/jwks.json"
)

// assertionBlock returns an assertion block with more lines.
func assertionBlock(lines ...string) string {
	lines = append([]string{"assertion {", "issuer " + testIssuer}, lines...)
	return strings.Join(append(lines, "}"), "\n\t\t\t")
}

func signed(lines ...string) string {
	return withOptions(assertionBlock(append([]string{"audience " + testAudience}, lines...)...))
}

// verifier verifies for an upstream with the keys of this gateway.
func (s *server) verifier(t *testing.T, audience string, options ...identity.Option) *identity.Verifier {
	t.Helper()
	v, err := identity.NewVerifier("http://"+s.Plain+jwksPath, audience, append(options, identity.WithIssuer(testIssuer))...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// assertion returns the one assertion that an upstream has received.
func assertion(t *testing.T, r gatewaytest.Received) string {
	t.Helper()
	values := r.Values(identity.AssertionHeader)
	if len(values) != 1 {
		t.Fatalf("got the assertions %q upstream, want one:\n%s", values, r.Head)
	}
	return values[0]
}

// TestAssertion verifies that each allowed request has one assertion that verifies,
// whatever the client sends, and that it is reused.
func TestAssertion(t *testing.T) {
	t.Parallel()
	s := start(t, signed())
	v := s.verifier(t, testAudience)
	for _, c := range s.Clients(t) {
		for _, preset := range []string{"full_access", "read_only"} {
			key, token := s.Create("acme", strings.Map(dashed, preset+" over "+c.Name), preset)
			forged := []string{
				"X-API-Key-Assertion", "evil", "X_API_Key_Assertion", "evil", "x-api-key.assertion", "evil", "Connection", "X-API-Key-Assertion",
			}
			if c.Name != "HTTP/1.1" {
				forged = forged[:6]
			}
			received := s.wantPassed(t, c.Send(t, "GET", "/public/v1/contacts", nil, slices.Concat(bearer(token), forged)...))
			first := assertion(t, received)
			got, err := v.Verify(t.Context(), first)
			if err != nil || got.KeyID != key.ID || got.WorkspaceID != "acme" || got.Access != preset || got.ExpiresAt-got.IssuedAt != 60 || got.Method+got.Path != "" {
				t.Errorf("%s: got %+v, %v; want an assertion for a minute about %s", c.Name, got, err, key.ID)
			}
			if strings.Contains(received.Head, "evil") {
				t.Errorf("%s: got what the client sent upstream:\n%s", c.Name, received.Head)
			}
			if again := assertion(t, s.wantPassed(t, c.Send(t, "GET", "/public/v1/other", nil, bearer(token)...))); again != first {
				t.Errorf("%s: got another assertion for the next request, want the same", c.Name)
			}
			if _, err := s.verifier(t, "billing").Verify(t.Context(), first); err == nil {
				t.Error("got no error for another audience, want one")
			}
		}
	}
}

// TestAssertion_bound verifies that the package identity accepts bound assertions for the
// requests that they were made for, as an upstream receives them.
func TestAssertion_bound(t *testing.T) {
	t.Parallel()
	s := start(t, signed("bind request"))
	_, token := s.Create("acme", "Warehouse sync", "full_access")
	v := s.verifier(t, testAudience, identity.WithBinding())
	for _, c := range s.Clients(t) {
		seen := map[string]bool{}
		for _, path := range []string{"/public/v1/contacts?page=2", "/a%2Fb/%22%3C%3E", "/a/../b", "//a//b", "/", "/%E2%82%AC"} {
			received := s.wantPassed(t, c.Send(t, "POST", path, nil, bearer(token)...))
			token := assertion(t, received)
			_, target, _ := strings.Cut(strings.SplitN(received.Head, "\r\n", 2)[0], " ")
			want, _, _ := strings.Cut(strings.TrimSuffix(target, " HTTP/1.1"), "?")
			got, err := v.Verify(t.Context(), token)
			if err != nil || got.Method != "POST" || got.Path != want {
				t.Errorf("%s %s: got %q %q, %v; want POST %q", c.Name, path, got.Method, got.Path, err, want)
			}
			seen[token] = true
		}
		if len(seen) != 6 {
			t.Errorf("%s: got %d assertions for 6 requests, want one for each", c.Name, len(seen))
		}
	}
}

// TestAssertion_boundWebSocket verifies that it is bound to the GET that opens a WebSocket
// upstream, whichever way the client opens it.
func TestAssertion_boundWebSocket(t *testing.T) {
	t.Parallel()
	s := startWithConnect(t, signed("bind request"))
	_, token := s.Create("acme", "Warehouse sync", "full_access")
	for _, o := range openers {
		t.Run(o.name, func(t *testing.T) {
			o.open(t, s, token).wantOpen(t)
			received := s.Upstream.Take()[0]
			got, err := s.verifier(t, testAudience).Verify(t.Context(), assertion(t, received))
			if want := got.Method + " " + got.Path + " HTTP/1.1"; err != nil || received.Line() != want {
				t.Errorf("got %q upstream, and an assertion for %q (%v)", received.Line(), want, err)
			}
		})
	}
}

// TestAssertion_keyEnds verifies that an assertion does not outlive its key.
func TestAssertion_keyEnds(t *testing.T) {
	t.Parallel()
	s := start(t, httpOnly(signed()))
	life := "20s"
	answer, err := s.Keys().CreateKey(t.Context(), "acme", client.CreateRequest{Name: "Short lived job", Preset: "full_access", ExpiresIn: &life})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.verifier(t, testAudience).Verify(t.Context(), assertion(t, s.wantPassed(t, s.Clients(t)[0].Send(t, "GET", "/", nil, bearer(answer.Token)...))))
	if err != nil || got.ExpiresAt != answer.Key.ExpiresAt.Unix() {
		t.Errorf("got %+v, %v; want an assertion until %v", got, err, answer.Key.ExpiresAt)
	}
}

// TestAssertion_publicKeys verifies how the keys are served, and that this is no use of the
// API.
func TestAssertion_publicKeys(t *testing.T) {
	t.Parallel()
	s := start(t, signed("rotate_every 10m"))
	for _, c := range s.Clients(t) {
		got := c.Send(t, "GET", jwksPath, nil)
		var set struct{ Keys []map[string]string }
		if err := json.Unmarshal([]byte(got.Body), &set); err != nil || len(set.Keys) != 2 {
			t.Fatalf("%s: got %d %s, want the key that signs and the next one", c.Name, got.Status, got.Body)
		}
		for _, key := range set.Keys {
			if key["kty"] != "OKP" || key["crv"] != "Ed25519" || key["alg"] != "EdDSA" || key["use"] != "sig" || key["kid"] == "" || key["x"] == "" || len(key) != 6 {
				t.Errorf("%s: got the key %v, want a public one for signing with Ed25519", c.Name, key)
			}
		}
		tag := got.Header.Get("ETag")
		if got.Status != 200 || got.Header.Get("Content-Type") != "application/jwk-set+json" || got.Header.Get("Cache-Control") != "public, max-age=150" || tag == "" {
			t.Errorf("%s: got %d %v, want a JWK set for 150 s, with a tag", c.Name, got.Status, got.Header)
		}
		if head := c.Send(t, "HEAD", jwksPath, nil); head.Status != 200 || head.Body != "" || head.Header.Get("ETag") != tag {
			t.Errorf("%s: got %d %q for HEAD, want the same without a body", c.Name, head.Status, head.Body)
		}
		if same := c.Send(t, "GET", jwksPath, nil, "If-None-Match", tag); same.Status != 304 || same.Body != "" || same.Header.Get("Cache-Control") == "" {
			t.Errorf("%s: got %d %q, want 304", c.Name, same.Status, same.Body)
		}
		if other := c.Send(t, "GET", jwksPath, nil, "If-None-Match", `"x"`, "Authorization", "Bearer x"); other.Status != 200 {
			t.Errorf("%s: got %d for another tag, and credentials that do not matter, want 200", c.Name, other.Status)
		}
		if whole := c.Send(t, "GET", jwksPath, nil, "If-Match", `"x"`, "Range", "bytes=0-1", "If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT"); whole.Status != 200 || whole.Body != got.Body {
			t.Errorf("%s: got %d %q for a part on a condition, which a cache could keep for everybody; want the keys", c.Name, whole.Status, whole.Body)
		}
		s.wantNothing(t)
	}
	if metrics := s.fetch("/metrics"); strings.Contains(metrics, `caddy_api_keys_requests_total{access="",action="read",result="missing"} 1`) {
		t.Error("got requests for the public keys counted as missing credentials, want them not counted")
	}
	s.wantRefused(t, s.Clients(t)[0].Send(t, "POST", jwksPath, nil), 401, unauthorized, challenge)
}

// TestAssertion_blocks verifies that of two blocks each signs for its own audience, and the
// later one where both use the same header.
func TestAssertion_blocks(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ outer, inner, want, other string }{
		"the same header": {assertionBlock("audience outer"), assertionBlock("audience inner"), "inner", ""},
		"only the first":  {assertionBlock("audience outer"), "", "outer", ""},
		"two headers":     {assertionBlock("audience outer", "header X-Outer"), assertionBlock("audience inner"), "inner", "outer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, httpOnly(twoBlocks(test.outer, "", test.inner)))
			_, token := s.Create("acme", "Warehouse sync", "full_access")
			for range 2 {
				received := s.wantPassed(t, s.Clients(t)[0].Send(t, "GET", strict, nil, append(bearer(token), "X-Outer", "evil")...))
				if _, err := s.verifier(t, test.want).Verify(t.Context(), assertion(t, received)); err != nil {
					t.Errorf("got error %v, want an assertion for %s", err, test.want)
				}
				if test.other == "" {
					continue
				}
				if other := received.Values("X-Outer"); len(other) != 1 {
					t.Errorf("got X-Outer %q, want one", other)
				} else if _, err := s.verifier(t, test.other).Verify(t.Context(), other[0]); err != nil {
					t.Errorf("got error %v, want an assertion for %s", err, test.other)
				}
			}
		})
	}
}

// TestAssertion_errorRoutes verifies that error routes see neither the client's assertion
// nor the gateway's.
func TestAssertion_errorRoutes(t *testing.T) {
	t.Parallel()
	config := strings.Replace(httpOnly(signed("header X-Signed")), "reverse_proxy {{.Upstream}}", `handle /broken {
		reverse_proxy 127.0.0.1:1
	}
	reverse_proxy {{.Upstream}}
	handle_errors {
		respond "{http.request.header.X-Signed}|{http.request.header.X-API-Key-Assertion}" 599
	}`, 1)
	s := start(t, config)
	_, token := s.Create("acme", "Warehouse sync", "full_access")
	c := s.Clients(t)[0]
	forged := []string{"X-Signed", "evil", "X-API-Key-Assertion", "evil"}
	for _, fields := range [][]string{forged, slices.Concat(bearer(token), forged)} {
		if got := c.Send(t, "GET", "/broken", nil, fields...); got.Body != "|" {
			t.Errorf("got the error route %q, want no assertion", got.Body)
		}
	}
	if received := s.wantPassed(t, c.Send(t, "GET", "/", nil, slices.Concat(bearer(token), forged)...)); len(received.Values("X-Signed")) != 1 || strings.Contains(received.Head, "evil") {
		t.Errorf("got upstream, want one assertion in the configured header:\n%s", received.Head)
	}
}

// TestAssertion_restart verifies that reloads and restarts keep the keys, that another
// issuer takes effect at once, and that no secret is where it should not be.
func TestAssertion_restart(t *testing.T) {
	t.Parallel()
	s := newRacedServer(t)
	secret := strings.Repeat("a1", 32)
	s.Env = []string{"ENCRYPTION_KEY=" + secret, "OTHER_KEY=" + strings.Repeat("b2", 32)}
	encrypted := func(keys string) string {
		return strings.Replace(httpOnly(signed()), "api_keys {", "api_keys {\n\t\tencryption_key "+keys, 1)
	}
	s.Run(encrypted("{env.ENCRYPTION_KEY}"))
	s.AwaitReady()
	_, token := s.Create("acme", "Warehouse sync", "full_access")
	c := s.Clients(t)[0]
	keys := c.Send(t, "GET", jwksPath, nil).Body
	first := assertion(t, s.wantPassed(t, c.Send(t, "GET", "/", nil, bearer(token)...)))

	other := strings.Replace(encrypted("{env.ENCRYPTION_KEY}"), "issuer "+testIssuer, "issuer https://other.example.com", 1)
	if out, err := s.Reload(other); err != nil {
		t.Fatalf("reloading: %v\n%s", err, out)
	}
	if got := c.Send(t, "GET", jwksPath, nil).Body; got != keys {
		t.Errorf("got the keys %s after a reload, want %s", got, keys)
	}
	second := assertion(t, s.wantPassed(t, c.Send(t, "GET", "/", nil, bearer(token)...)))
	if _, err := s.verifier(t, testAudience).Verify(t.Context(), second); err == nil || second == first {
		t.Error("got an assertion of the former issuer after the reload")
	}

	s.Stop()
	s.restart(encrypted("{env.OTHER_KEY} {env.ENCRYPTION_KEY}"))
	if got := c.Send(t, "GET", jwksPath, nil).Body; got != keys {
		t.Errorf("got the keys %s after a restart with another secret, want %s", got, keys)
	}
	if _, err := s.verifier(t, testAudience).Verify(t.Context(), first); err != nil {
		t.Errorf("got error %v after a restart, want the assertion to be still valid", err)
	}
	s.Stop()

	for keys, want := range map[string]string{
		"{env.ENCRYPTION_KEY}": "the signing keys are encrypted with another key than encryption_key says",
		"":                     "configure encryption_key",
	} {
		config := encrypted(keys)
		if keys == "" {
			config = httpOnly(signed())
		}
		out, err := s.runRefused(s.Write("Caddyfile", config))
		if err == nil || !strings.Contains(out, want) || !strings.Contains(out, s.Store) {
			t.Errorf("with encryption_key %q: got %v, want a refusal that says %q and the store's path:\n%s", keys, err, want, out)
		}
	}

	if record := signingRecord(t, s.Store); strings.Contains(record, `"seed"`) || strings.Count(record, `"encrypted_seed"`) != 2 {
		t.Error("got seeds in the store that are not encrypted")
	}
}

// TestAssertion_secrets verifies that the seeds of signing keys are nowhere but in the
// store.
func TestAssertion_secrets(t *testing.T) {
	t.Parallel()
	s := start(t, httpOnly(signed()))
	_, token := s.Create("acme", "Warehouse sync", "full_access")
	s.wantPassed(t, s.Clients(t)[0].Send(t, "GET", "/", nil, bearer(token)...))
	shown := map[string]string{"a backup": string(unzstd(t, s.fetch("/api-keys/backup")))}
	for _, path := range []string{"/config/", "/metrics", "/api-keys/doctor", "/api-keys/openapi.json", "/api-keys/audit?limit=200", "/debug/pprof/goroutine?debug=2"} {
		shown["GET "+path] = s.fetch(path)
	}
	s.Stop()
	shown["the log"] = s.Log.String()
	record := signingRecord(t, s.Store)
	must(t, os.RemoveAll(s.Store))
	search := newSearch(seedCanaries(t, record))
	for where, content := range shown {
		search.in(t, where, []byte(content))
	}
	search.files(t, s.Dir)
}

// signingRecord returns what a store has of its signing keys.
func signingRecord(t *testing.T, path string) string {
	t.Helper()
	s, err := store.Open(path, zap.NewNop(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	record, err := s.SigningKeys()
	if err != nil {
		t.Fatal(err)
	}
	return string(record)
}

// seedCanaries returns the seeds of a record that are not encrypted, in every form.
func seedCanaries(t *testing.T, record string) (all []canary) {
	t.Helper()
	var stored struct{ Keys []struct{ Seed []byte } }
	must(t, json.Unmarshal([]byte(record), &stored))
	for _, key := range stored.Keys {
		for form, text := range map[string]string{
			"raw": string(key.Seed), "hexadecimal": hex.EncodeToString(key.Seed),
			"base64": base64.StdEncoding.EncodeToString(key.Seed)[:42], "base64url": base64.RawURLEncoding.EncodeToString(key.Seed)[:42],
		} {
			all = append(all, canary{"seed, " + form, text})
		}
	}
	if len(all) != 8 {
		t.Fatalf("got %d forms of seeds, want those of two keys", len(all))
	}
	return all
}
