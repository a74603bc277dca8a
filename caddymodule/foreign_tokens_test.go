package caddymodule

import (
	"bytes"
	"crypto/sha256"
	"net/http"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// loadWith runs the configuration of a site, with more options of the app.
func (s *server) loadWith(options, site string) {
	s.T.Helper()
	config := bytes.Replace(s.config(site), []byte(`"api_keys":{`), []byte(`"api_keys":{`+options+`,`), 1)
	if err := load(config); err != nil {
		s.T.Fatal(err)
	}
}

// foreign gives a key a token that another program issued.
func foreign(token string) func(*apikey.Key) {
	return func(k *apikey.Key) { k.Digest, k.TokenHint, k.Imported = sha256.Sum256([]byte(token)), "…", true }
}

// Tokens that other programs issued are looked up if the configuration says so. What
// begins with a prefix of the gateway's own is judged by its checksum alone, however the
// prefix is configured later.
func TestForeignTokens(t *testing.T) {
	const site = "api_key_auth\nrespond ok"
	s := serve(t, site)
	const uuid, stripe, jwt = "0190f1c2-8a4e-7c30-b0f5-0e6a3f1d2c4b", "sk_live_4eC39HqLyjWDarjtT1zdp7dc", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"
	ours := s.create(apikey.ReadOnly)
	for _, token := range []string{uuid, stripe, jwt} {
		s.create(apikey.ReadOnly, foreign(token))
	}
	elsewhere := apikey.NewToken("elsewhere")
	s.create(apikey.ReadOnly, func(k *apikey.Key) { k.Digest, k.TokenHint, k.Imported = elsewhere.Digest(), elsewhere.Hint(), true })
	revoked := s.create(apikey.ReadOnly, foreign("0190f1c2-8a4e-7c30-b0f5-000000000000"))
	s.apply(apikey.Revoke{WorkspaceID: revoked.WorkspaceID, KeyID: revoked.ID})

	sent := 0
	check := func(when string, want map[string]string) {
		t.Helper()
		for token, result := range want {
			status := http.StatusUnauthorized
			if result == "allowed" {
				status = http.StatusOK
			}
			sent++
			got := s.send("GET /", "Authorization: Bearer "+token+"\r\n")
			if logged := s.accessLog(sent)[sent-1]["api_key_result"]; got.Status != status || logged != result {
				t.Errorf("%s: %q: got status %d as %v, want %d as %s", when, token, got.Status, logged, status, result)
			}
		}
	}
	refused := map[string]string{
		uuid: "malformed", stripe: "malformed", jwt: "malformed", ours.token: "allowed", elsewhere.Reveal(): "allowed",
		apikey.NewToken("agk").Reveal(): "unknown", "0190f1c2-8a4e-7c30-b0f5-000000000000": "malformed",
	}
	check("by default", refused)
	s.loadWith(`"foreign_tokens":"accept","token_prefix":"sk_test"`, site)
	check("accepted", map[string]string{
		uuid: "allowed", stripe: "allowed", jwt: "allowed", ours.token: "allowed", elsewhere.Reveal(): "allowed",
		"0190f1c2-8a4e-7c30-b0f5-000000000000": "revoked",
		uuid + "x":                             "unknown", uuid[:16]: "unknown", uuid[:15]: "malformed", uuid + ":": "malformed",
		ours.token[:52]:                 "malformed", // an earlier prefix
		"agk_0123456789abcdef":          "malformed",
		"sk_test_0123456789abcdef":      "malformed", // the present one, which no key has yet
		"elsewhere_0123456789abcdef":    "unknown",   // one that was imported
		apikey.NewToken("agk").Reveal(): "unknown",
	})
	s.loadWith(`"foreign_tokens":"refuse"`, site)
	check("refused again", refused)
}
