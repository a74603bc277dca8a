package identity_test

import (
	"crypto/ed25519"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/identity"
	"github.com/agiled/caddy-api-keys/internal/upstreamtest"
)

// TestExamples verifies that the upstreams of the examples accept what the gateway sends,
// and nothing that others could.
func TestExamples(t *testing.T) {
	t.Parallel()
	for _, p := range upstreamtest.Programs {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			keys := serveKeys(t, bothKeys())
			address := p.Start(t, keys.URL+"/.well-known/api-keys/jwks.json", testAudience)
			// live makes an assertion that is valid now.
			live := func(header string, change func(*identity.Claims)) string {
				return sign(signingKey("a"), header, claims(func(c *identity.Claims) {
					c.Issuer, c.IssuedAt, c.ExpiresAt = keys.URL, time.Now().Unix(), time.Now().Unix()+60
					if change != nil {
						change(c)
					}
				}))
			}
			good := live(honestHeader, nil)
			parts := strings.Split(good, ".")
			with := func(old, replacement string) string {
				return live(strings.Replace(honestHeader, old, replacement, 1), nil)
			}
			passes := map[string]string{
				"an assertion":          good,
				"bound to this request": live(honestHeader, bind("GET", "/public/v1/a%2Fb")),
			}
			refused := map[string]string{
				"no assertion":                   "",
				"nothing":                        "x",
				"two in one field":               good + ", " + good,
				"alg none":                       b64(`{"alg":"none","typ":"api-key+jwt","kid":"`+testKID+`"}`) + "." + parts[1] + ".",
				"HS256 with the public key":      hs256(signingKey("a").Public().(ed25519.PublicKey)),
				"another typ":                    with("api-key+jwt", "JWT"),
				"an unknown key":                 with(testKID, "invented"),
				"critical extensions":            live(addTo(honestHeader, `"crit":["x"],"x":1`), nil),
				"a changed payload":              parts[0] + "." + b64(claims(nil)) + "." + parts[2],
				"another's key":                  sign(signingKey("attacker"), honestHeader, claims(nil)),
				"a signature that is not unique": malleable(good),
				"no signature":                   parts[0] + "." + parts[1] + ".",
				"another issuer":                 live(honestHeader, func(c *identity.Claims) { c.Issuer = testIssuer }),
				"another audience":               live(honestHeader, func(c *identity.Claims) { c.Audience = "billing" }),
				"expired":                        live(honestHeader, func(c *identity.Claims) { c.IssuedAt -= 90; c.ExpiresAt -= 90 }),
				"from the future":                live(honestHeader, func(c *identity.Claims) { c.IssuedAt += 90; c.ExpiresAt += 90 }),
				"valid for an hour":              live(honestHeader, func(c *identity.Claims) { c.ExpiresAt += 3540 }),
				"another method":                 live(honestHeader, bind("POST", "/public/v1/a%2Fb")),
				"another path":                   live(honestHeader, bind("GET", "/public/v1/a/b")),
			}
			send := func(assertions ...string) (status int, body map[string]string) {
				c := requestCase{Method: "GET", Target: "/public/v1/a%2Fb?q=x", Headers: [][2]string{{"X-Workspace-ID", "acme"}}}
				for _, a := range assertions {
					c.Headers = append(c.Headers, [2]string{"X-API-Key-Assertion", a})
				}
				response := exchange(t, address, c.text())
				text, err := io.ReadAll(response.Body)
				if err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal(text, &body); err != nil {
					t.Errorf("got the body %q: %v", text, err)
				}
				return response.StatusCode, body
			}
			for name, a := range passes {
				if status, body := send(a); status != 200 || body["workspace"] != "acme" || body["key"] != honest().KeyID || body["access"] != "read_only" {
					t.Errorf("%s: got %d %v, want 200 and the caller", name, status, body)
				}
			}
			for name, a := range refused {
				if status, body := send(a); status != 401 || body["error"] != "Unauthorized." {
					t.Errorf("%s: got %d %v, want 401", name, status, body)
				}
			}
			for name, all := range map[string][]string{"none": nil, "two": {good, good}} {
				if status, body := send(all...); status != 401 || body["error"] != "Unauthorized." {
					t.Errorf("%s: got %d %v, want 401", name, status, body)
				}
			}
			if got := keys.fetches.Load(); got > 2 {
				t.Errorf("got %d fetches of keys, want at most 2", got)
			}
		})
	}
}

// TestExamples_withoutKeys verifies that they let nobody in while they cannot know.
func TestExamples_withoutKeys(t *testing.T) {
	t.Parallel()
	for _, p := range upstreamtest.Programs {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			keys := serveKeys(t, bothKeys())
			keys.status.Store(502)
			address := p.Start(t, keys.URL+"/.well-known/api-keys/jwks.json", testAudience)
			c := requestCase{Method: "GET", Target: "/", Headers: [][2]string{{"X-API-Key-Assertion", token(nil)}}}
			if response := exchange(t, address, c.text()); response.StatusCode != 503 {
				t.Errorf("got %d, want 503", response.StatusCode)
			}
		})
	}
}
