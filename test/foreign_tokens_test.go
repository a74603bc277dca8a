package test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// TestForeignTokens_imported imports keys, and sends their tokens over each version of HTTP, in
// either header. Whatever their form is, no log has them, and their keys are found and
// revoked by them.
func TestForeignTokens_imported(t *testing.T) {
	t.Parallel()
	config := strings.NewReplacer(
		"	api_keys {", "	log {\n		format lazy\n	}\n	api_keys {\n		foreign_tokens accept",
		"	api_key_auth\n", "	api_key_auth {\n		token_header X-API-Key\n	}\n",
	).Replace(gatewayConfig)
	s := start(t, config)
	_, ours := s.Create("acme", "Warehouse sync", "full_access")
	const uuid, stripe = "0190f1c2-8a4e-7c30-b0f5-0e6a3f1d2c4b", "sk_live_4eC39HqLyjWDarjtT1zdp7dc+/~.-=="
	elsewhere := gatewaytest.OtherToken(ours) // of our form
	var lines strings.Builder
	for name, token := range map[string]string{"Zapier production": uuid, "Billing export": stripe, "Old gateway": elsewhere} {
		digest := sha256.Sum256([]byte(token))
		must(t, json.NewEncoder(&lines).Encode(client.ImportLine{
			WorkspaceID: "acme", Name: name, Preset: client.FullAccess, TokenSHA256: hex.EncodeToString(digest[:]), TokenHint: "sk_live_…7dc",
		}))
	}
	if done, err := s.Keys().Import(t.Context(), strings.NewReader(lines.String()), client.ImportOptions{}); err != nil || done.Imported != 3 {
		t.Fatalf("importing: got %+v, %v, want 3 keys", done, err)
	}

	check := func(token string, status int, challenge string) {
		t.Helper()
		for _, c := range s.Clients(t) {
			for _, fields := range [][]string{bearer(token), {"X-API-Key", token}} {
				got := c.Send(t, "GET", contacts, nil, fields...)
				if got.Status != status || got.Header.Get("WWW-Authenticate") != challenge {
					t.Errorf("%.12s… in %s over %s: got status %d and WWW-Authenticate %q, want %d and %q", token, fields[0], c.Name, got.Status, got.Header.Get("WWW-Authenticate"), status, challenge)
				}
			}
		}
	}
	for _, token := range []string{ours, uuid, stripe, elsewhere} {
		check(token, 200, "")
	}
	for _, token := range []string{uuid + "x", uuid[:15], stripe[:20], ours[:52], "agk_0123456789abcdef"} {
		check(token, 401, invalidToken)
	}
	key, err := s.Keys().LookUpToken(t.Context(), stripe)
	if err != nil || key.Name != "Billing export" {
		t.Errorf("looking a foreign token up: got %+v, %v, want its key", key, err)
	}
	if _, err := s.Keys().RevokeToken(t.Context(), stripe, "leaked"); err != nil {
		t.Error(err)
	}
	check(stripe, 401, invalidToken+`, error_description="The token was revoked."`)

	s.Stop()
	search := newSearch([]canary{{"foreign", uuid}, {"another foreign", stripe}, {"imported", elsewhere}})
	search.in(t, "the log", []byte(s.Log.String()))
	search.files(t, s.Dir)
	for _, result := range []string{"allowed", "unknown", "malformed", "revoked"} {
		if !strings.Contains(s.Log.String(), `"api_key_result":"`+result+`"`) {
			t.Errorf("no request was %s", result)
		}
	}
}
