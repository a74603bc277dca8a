package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// reporter signs reports of leaked tokens as GitHub does.
type reporter struct{ key *ecdsa.PrivateKey }

// newReporter writes its public key to a file, in GitHub's form.
func newReporter(t *testing.T, file string) reporter {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	must(t, err)
	content, err := json.Marshal(map[string]any{"public_keys": []any{map[string]any{
		"key_identifier": "reporter", "is_current": true,
		"key": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
	}}})
	must(t, err)
	must(t, os.WriteFile(file, content, 0o600))
	return reporter{key}
}

// report sends a report about tokens.
func (r reporter) report(t *testing.T, c gatewaytest.Client, tokens ...string) gatewaytest.Answer {
	t.Helper()
	var matches []map[string]string
	for _, token := range tokens {
		matches = append(matches, map[string]string{"token": token, "type": "agk", "url": "https://github.com/acme/x/blob/main/a.sh", "source": "content"})
	}
	body, err := json.Marshal(matches)
	must(t, err)
	digest := sha256.Sum256(body)
	signature, err := ecdsa.SignASN1(rand.Reader, r.key, digest[:])
	must(t, err)
	return c.Send(t, "POST", "/leaks/github", strings.NewReader(string(body)), "Content-Type", "application/json",
		"Github-Public-Key-Identifier", "reporter", "Github-Public-Key-Signature", base64.StdEncoding.EncodeToString(signature))
}

func leaksConfig(keys string) string {
	return strings.Replace(gatewayConfig, "\tapi_key_auth\n", fmt.Sprintf(`	api_key_leaks /leaks/github {
		github_keys %s
		action revoke
	}
	api_key_auth
`, keys), 1)
}

// TestLeaks reports tokens over each version of HTTP. Once the report is answered, no
// request with a reported token passes, and the token is nowhere but in the report.
func TestLeaks(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	keys := filepath.Join(s.Dir, "github-keys.json")
	github := newReporter(t, keys)
	s.Run(leaksConfig(keys))
	s.AwaitReady()
	var tokens []canary
	for _, c := range s.Clients(t) {
		leaked, token := s.Create("acme", "Script over "+c.Name, "full_access")
		_, other := s.Create("acme", "Other over "+c.Name, "full_access")
		tokens = append(tokens, canary{c.Name, token})
		s.wantPassed(t, c.Send(t, "GET", contacts, nil, bearer(token)...))

		got := github.report(t, c, token, gatewaytest.OtherToken(token), "rubbish")
		want := fmt.Sprintf(`[{"token_hash":"%x","token_type":"agk","label":"true_positive"},`, sha256.Sum256([]byte(token)))
		if got.Status != 200 || !strings.HasPrefix(got.Body, want) || strings.Count(got.Body, "false_positive") != 2 {
			t.Errorf("%s: got %d %s, want 200, %s and two that are false", c.Name, got.Status, got.Body, want)
		}
		if got := c.Send(t, "GET", contacts, nil, bearer(token)...); got.Status != 401 {
			t.Errorf("%s: got status %d with the reported token, want 401", c.Name, got.Status)
		}
		s.wantPassed(t, c.Send(t, "GET", contacts, nil, bearer(other)...))
		key, err := s.Keys().ShowKey(t.Context(), "acme", leaked.ID)
		if err != nil || key.LeakedAt == nil || key.RevokedBy == nil || *key.RevokedBy != "github" {
			t.Errorf("%s: got %+v, %v, want it leaked, and revoked by github", c.Name, key, err)
		}
	}
	c := s.Clients(t)[0]
	if got := c.Send(t, "POST", "/leaks/github", strings.NewReader("[]")); got.Status != 401 {
		t.Errorf("got status %d for a report that is not signed, want 401", got.Status)
	}
	for outcome, want := range map[string]float64{"ok": float64(len(tokens)), "unauthorized": 1, "unknown_signer": 0} {
		if got := s.metrics()[fmt.Sprintf(`caddy_api_keys_leak_reports_total{outcome="%s"}`, outcome)]; got != want {
			t.Errorf("got %v reports that were %s, want %v", got, outcome, want)
		}
	}
	s.Stop()
	search := newSearch(tokens)
	search.in(t, "the log", []byte(s.Log.String()))
	search.files(t, s.Dir)
}

// TestLeaks_documented tries reports out as docs/leaks.md says: with openssl, jq and curl.
func TestLeaks_documented(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"openssl", "jq", "curl"} {
		testenv.Tool(t, program)
	}
	_, text, _ := strings.Cut(documents(t)["docs/leaks.md"], "### Try it\n")
	text, _, _ = strings.Cut(text, "\n## ")
	blocks := regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(text, -1)
	if len(blocks) != 2 {
		t.Fatalf("got %d blocks, want 2: for the key, and for the report", len(blocks))
	}
	s := newServer(t)
	work := t.TempDir()
	run := func(block string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "bash", "-euc", block)
		cmd.Dir = work
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v:\n%s\n%s", err, block, out)
		}
		return string(out)
	}
	run(blocks[0][1])
	s.Run(leaksConfig(filepath.Join(work, "github-keys.json")))
	s.AwaitReady()
	key, token := s.Create("acme", "Warehouse sync", "full_access")
	must(t, os.WriteFile(filepath.Join(work, "token.txt"), []byte(token+"\n"), 0o600))
	out := run("curl() { command curl --silent \"$@\"; }\n" + strings.Replace(blocks[1][1], "https://api.example.com", "http://"+s.Plain, 1))
	if !strings.Contains(out, "true_positive") {
		t.Errorf("got %s, want it reported as a true positive", out)
	}
	if found, err := s.Keys().ShowKey(t.Context(), "acme", key.ID); err != nil || found.Status != "revoked" {
		t.Errorf("got %+v, %v, want it revoked", found, err)
	}
}
