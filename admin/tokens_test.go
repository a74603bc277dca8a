package admin

import (
	"crypto/sha256"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

func TestTokens(t *testing.T) {
	a := newAPI(t)
	id, token := a.create(t, "acme", "Zapier")
	body := `{"token":"` + token + `"}`
	path := keysPage + "/" + id
	equal(t, "looked up", a.must(t, http.StatusOK, "POST", "/tokens/lookup", body).body, a.must(t, http.StatusOK, "GET", path, "").body)
	newest := a.trail(t, "/workspaces/acme/audit")[0]
	equal(t, "operation", newest["operation"], any("lookup"))
	equal(t, "key of the event", newest["key_id"], any(id))
	equal(t, "details", newest["details"], any(object(t, `{"name":"Zapier"}`)))

	a.at(start.Add(time.Hour))
	revoked := a.must(t, http.StatusOK, "POST", "/tokens/revoke", `{"token":"`+token+`","reason":" leaked "}`)
	equal(t, "status", revoked.key("key")["status"], any("revoked"))
	equal(t, "reason", revoked.key("key")["revoke_reason"], any("leaked"))
	shown := a.must(t, http.StatusOK, "GET", path, "").body
	equal(t, "revoked", revoked.body, confirmed(t, shown, 4))
	newest = a.trail(t, "/workspaces/acme/audit")[0]
	equal(t, "operation", newest["operation"], any("revoke"))
	equal(t, "details", newest["details"], any(object(t, `{"name":"Zapier","reason":"leaked"}`)))

	a.at(start.Add(2 * time.Hour))
	equal(t, "revoked again", a.must(t, http.StatusOK, "POST", "/tokens/revoke", body).body, confirmed(t, shown, 5))
	equal(t, "looked up when revoked", a.must(t, http.StatusOK, "POST", "/tokens/lookup", body).body, shown)
}

// The token of an imported key is found and revoked, whatever its form.
func TestTokens_foreign(t *testing.T) {
	a := newAPI(t)
	const token = "sk_live_4eC39HqLyjWDarjtT1zdp7dc+/~.-="
	key := apikey.Key{
		ID: apikey.NewKeyID(start), WorkspaceID: "acme", Name: "Zapier", Preset: apikey.ReadOnly, Digest: sha256.Sum256([]byte(token)),
		TokenHint: "sk_live_…7dc", Imported: true, CreatedAt: start, ExpiresAt: start.Add(time.Hour),
	}
	if _, err := a.store.Apply(t.Context(), apikey.Change{EventID: apikey.NewEventID(start), At: start, Do: apikey.Create{Key: key}}); err != nil {
		t.Fatal(err)
	}
	body := `{"token":"` + token + `"}`
	equal(t, "looked up", a.must(t, http.StatusOK, "POST", "/tokens/lookup", body).key("key")["id"], any(key.ID))
	equal(t, "revoked", a.must(t, http.StatusOK, "POST", "/tokens/revoke", body).key("key")["status"], any("revoked"))
	if trail := a.must(t, http.StatusOK, "GET", "/audit", "").raw; strings.Contains(trail, token) {
		t.Errorf("the token is in the audit trail: %s", trail)
	}
}

// An unknown token is not found, and a malformed one is refused as such. Neither token
// is recorded anywhere.
func TestTokens_unknown(t *testing.T) {
	a := newAPI(t)
	_, token := a.create(t, "acme", "Zapier")
	secret := someToken[len("agk_"):]
	for _, call := range []string{"/tokens/lookup", "/tokens/revoke"} {
		a.refused(t, http.StatusNotFound, "not_found", "", "POST", call, `{"token":"`+someToken+`"}`)
		newest := a.trail(t, "/audit")[0]
		equal(t, call+": operation", newest["operation"], any("lookup"))
		equal(t, call+": details", newest["details"], any(object(t, `{"refused":"not_found"}`)))
		for _, foreign := range []string{"xyz_" + token[4:], strings.ToUpper(someToken), "0190f1c2-8a4e-7c30-b0f5-0e6a3f1d2c4b"} {
			got := a.refused(t, http.StatusNotFound, "not_found", "", "POST", call, `{"token":"`+foreign+`"}`)
			equal(t, call+": a foreign token", got.body["error"], any("No key has this token."))
		}
		for _, presented := range []string{
			"", " ", "x", "agk_", someToken[:52], someToken + "x", " " + someToken, someToken + "\\n", "Bearer " + someToken, "0123456789abcde",
			token[:52] + "~", token + " ", strings.Repeat("a", 60_000),
		} {
			a.unchanged(t, func() {
				got := a.refused(t, http.StatusNotFound, "not_found", "", "POST", call, `{"token":"`+presented+`"}`)
				if want := apikey.TokenFlaw(strings.ReplaceAll(presented, "\\n", "\n")); !strings.HasSuffix(got.body["error"].(string), want) {
					t.Errorf("%s: got %s for %.60q, want %q", call, got.raw, presented, want)
				}
			})
		}
		a.refused(t, http.StatusNotFound, "not_found", "", "POST", call, `{}`)
		for _, body := range []string{`{"token":1}`, `{"token":["` + someToken + `"]}`, `{"` + someToken + `":1}`, `"` + someToken + `"`, `{"token":"` + someToken + `"`, someToken} {
			if got := a.refused(t, http.StatusBadRequest, "invalid_json", "", "POST", call, body); strings.Contains(got.raw, secret) {
				t.Errorf("%s %s: got the secret in %s, want it nowhere", call, body, got.raw)
			}
		}
	}
	a.refused(t, http.StatusUnprocessableEntity, "invalid_reason", "reason", "POST", "/tokens/revoke", `{"token":"`+token+`","reason":"a\nb"}`)
	if all := a.must(t, http.StatusOK, "GET", "/audit?limit=200", "").raw; strings.Contains(all, secret) || strings.Contains(all, token[4:]) {
		t.Errorf("got a secret in the audit trail %s, want it nowhere", all)
	}
	equal(t, "status", a.must(t, http.StatusOK, "GET", keysPage, "").body["keys"].([]any)[0].(map[string]any)["status"], any("active"))
}
