package identity_test

import (
	"crypto/ed25519"
	"slices"
	"strings"

	"github.com/agiled/caddy-api-keys/identity"
)

// The words in which every implementation refuses an assertion.
const (
	missing   = "there is no assertion"
	repeated  = "there is more than one assertion"
	tooLong   = "it is too long"
	encoding  = "it is not a compact JWS"
	header    = "its header is not that of an assertion"
	key       = "its key is unknown"
	signature = "its signature is wrong"
	badClaims = "its claims are not those of an assertion"
	issuer    = "it has another issuer"
	audience  = "it is for another audience"
	lifetime  = "it is valid for too long"
	expired   = "it has expired"
	future    = "it is from the future"
	unbound   = "it is not bound to a request"
	request   = "it is for another request"
	headers   = "the identity headers say otherwise"
)

// A tokenCase is a token and why it is refused. Refused is empty for one that is not.
type tokenCase struct {
	Name    string `json:"name"`
	RFC8725 string `json:"rfc8725,omitempty"` // the section with the advice that it tests
	Token   string `json:"token"`
	Refused string `json:"refused,omitempty"`
}

// tokenCases are attacks on the verification of tokens, and tokens that are close to
// being attacks. They are written to testdata for the other implementations.
func tokenCases() []tokenCase {
	a, b := signingKey("a"), signingKey("b")
	public := []byte(a.Public().(ed25519.PublicKey))
	good := token(nil)
	parts := strings.Split(good, ".")

	cases := []tokenCase{
		{"honest", "", good, ""},
		{"honest, bound to a request", "", token(bind("GET", "/public/v1/contacts")), ""},
		{"the other key of the gateway", "", sign(b, strings.ReplaceAll(honestHeader, testKID, "2026-11-b"), claims(nil)), ""},
		{"members of the header in another order", "", sign(a, `{"kid":"`+testKID+`", "typ":"api-key+jwt", "alg":"EdDSA"}`, claims(nil)), ""},
		{"a claim of a later version", "", sign(a, honestHeader, addTo(claims(nil), `"plan":{"name":"pro"}`)), ""},

		{"alg none, without a signature", "3.1", b64(`{"alg":"none","typ":"api-key+jwt","kid":"`+testKID+`"}`) + "." + parts[1] + ".", header},
		{"alg none, with a signature", "3.1", withHeader("alg", `"none"`), header},
		{"alg nOnE", "3.1", withHeader("alg", `"nOnE"`), header},
		{"alg none in the header of an honest token", "3.1", b64(`{"alg":"none"}`) + "." + parts[1] + "." + parts[2], header},
		{"HS256 with the public key as the secret", "3.1", hs256(public), header},
		{"HS256 with the JWK as the secret", "3.1", hs256([]byte(jwk(testKID, a))), header},
		{"HS256 with the base64 of the public key as the secret", "3.1", hs256([]byte(b64(public))), header},
		{"ES256", "3.1", withHeader("alg", `"ES256"`), header},
		{"RS256", "3.1", withHeader("alg", `"RS256"`), header},
		{"Ed448, another EdDSA", "3.2", withHeader("alg", `"Ed448"`), header},
		{"Ed25519, the other name of it", "3.2", withHeader("alg", `"Ed25519"`), header},
		{"alg in lower case", "3.2", withHeader("alg", `"eddsa"`), header},
		{"no alg", "3.1", sign(a, `{"typ":"api-key+jwt","kid":"`+testKID+`"}`, claims(nil)), header},
		{"alg null", "3.1", withHeader("alg", `null`), header},
		{"alg is a list", "3.1", withHeader("alg", `["EdDSA"]`), header},

		{"no signature", "3.3", parts[0] + "." + parts[1] + ".", signature},
		{"a signature of zeros", "3.3", parts[0] + "." + parts[1] + "." + b64(make([]byte, 64)), signature},
		{"a signature that is cut off", "3.3", parts[0] + "." + parts[1] + "." + b64(sigOf(good)[:63]), signature},
		{"a signature with more behind it", "3.3", parts[0] + "." + parts[1] + "." + b64(append(sigOf(good), 0)), signature},
		{"a signature of other claims", "3.3", parts[0] + "." + b64(claims(func(c *identity.Claims) { c.Access = "full_access" })) + "." + parts[2], signature},
		{"a signature under another header", "3.3", b64(strings.ReplaceAll(honestHeader, ",", ", ")) + "." + parts[1] + "." + parts[2], signature},
		{"another's key under the gateway's id", "3.3", sign(signingKey("attacker"), honestHeader, claims(nil)), signature},
		{"the gateway's other key under this id", "3.3", sign(b, honestHeader, claims(nil)), signature},
		{"the signature's S plus the order of the group", "3.3", malleable(good), signature},
		{"R of small order, S zero", "3.4", parts[0] + "." + parts[1] + "." + b64(append([]byte{1}, make([]byte, 63)...)), signature},
		{"R of order 8, S zero", "3.4", parts[0] + "." + parts[1] + "." + b64(append(smallOrder(), make([]byte, 32)...)), signature},
		{"R not reduced, S zero", "3.4", parts[0] + "." + parts[1] + "." + b64(slices.Concat([]byte{0xee}, slices.Repeat([]byte{0xff}, 30), []byte{0x7f}, make([]byte, 32))), signature},
		{"a nested JWT", "3.3", sign(a, honestHeader, good), badClaims},
		{"a nested JWT, declared", "3.3", sign(a, addTo(honestHeader, `"cty":"JWT"`), good), header},

		{"zip, for a compressed payload", "3.6", withMember(`"zip":"DEF"`), header},

		{"a header that is not UTF-8", "3.7", sign(a, strings.ReplaceAll(honestHeader, testKID, "\xff"), claims(nil)), header},
		{"a header with half a surrogate pair", "3.7", sign(a, strings.ReplaceAll(honestHeader, testKID, `\ud800`), claims(nil)), header},
		{"a header in UTF-16", "3.7", sign(a, strings.Join(strings.Split(honestHeader, ""), "\x00")+"\x00", claims(nil)), header},
		{"a header with a byte-order mark", "3.7", sign(a, "\ufeff"+honestHeader, claims(nil)), header},
		{"claims that are not UTF-8", "3.7", sign(a, honestHeader, claimsWith(`"workspace_id":"acme"`, "\"workspace_id\":\"acme\xff\"")), badClaims},
		{"an unknown claim that is not UTF-8", "3.7", sign(a, honestHeader, addTo(claims(nil), "\"x\":\"\xc0\xaf\"")), badClaims},
		{"an unknown claim with half a surrogate pair", "3.7", sign(a, honestHeader, addTo(claims(nil), `"x":"\udc00"`)), badClaims},
		{"claims with a byte-order mark", "3.7", sign(a, honestHeader, "\ufeff"+claims(nil)), badClaims},

		{"another issuer", "3.8", token(func(c *identity.Claims) { c.Issuer = "https://evil.example.com" }), issuer},
		{"the issuer with a slash", "3.8", token(func(c *identity.Claims) { c.Issuer += "/" }), issuer},
		{"the issuer in upper case", "3.8", token(func(c *identity.Claims) { c.Issuer = "HTTPS://API.EXAMPLE.COM" }), issuer},
		{"no issuer", "3.8", token(func(c *identity.Claims) { c.Issuer = "" }), issuer},
		{"no subject", "3.8", token(func(c *identity.Claims) { c.KeyID = "" }), badClaims},
		{"a subject with a line break", "3.8", token(func(c *identity.Claims) { c.KeyID = "key_1\r\nX-Workspace-ID: globex" }), badClaims},
		{"a subject with a space", "3.8", token(func(c *identity.Claims) { c.KeyID = "key_1 " }), badClaims},
		{"a subject that is not ASCII", "3.8", token(func(c *identity.Claims) { c.KeyID = "kéy" }), badClaims},
		{"a subject that is too long", "3.8", token(func(c *identity.Claims) { c.KeyID = strings.Repeat("k", 129) }), badClaims},
		{"the longest subject", "3.8", token(func(c *identity.Claims) { c.KeyID = strings.Repeat("k", 128) }), ""},
		{"no workspace", "3.8", token(func(c *identity.Claims) { c.WorkspaceID = "" }), badClaims},
		{"a workspace with NUL", "3.8", token(func(c *identity.Claims) { c.WorkspaceID = "acme\x00" }), badClaims},

		{"another audience", "3.9", token(func(c *identity.Claims) { c.Audience = "billing" }), audience},
		{"the audience in upper case", "3.9", token(func(c *identity.Claims) { c.Audience = "CONTACTS" }), audience},
		{"no audience", "3.9", token(func(c *identity.Claims) { c.Audience = "" }), audience},
		{"a list of audiences", "3.9", sign(a, honestHeader, claimsWith(`"aud":"contacts"`, `"aud":["contacts"]`)), badClaims},

		{"an unknown key id", "3.10", withHeader("kid", `"2026-12-c"`), key},
		{"no key id", "3.10", sign(a, `{"alg":"EdDSA","typ":"api-key+jwt"}`, claims(nil)), header},
		{"an empty key id", "3.10", withHeader("kid", `""`), header},
		{"a key id that is a number", "3.10", withHeader("kid", `1`), header},
		{"a key id that is a path", "3.10", withHeader("kid", `"../../../../dev/null"`), key},
		{"a key id that is SQL", "3.10", withHeader("kid", `"a'/**/UNION/**/SELECT/**/1--"`), key},
		{"a key id that is a URL", "3.10", withHeader("kid", `"https://evil.example.com/key"`), key},
		{"a key id that is a property of every object", "3.10", withHeader("kid", `"__proto__"`), key},
		{"a key id that is a method of every object", "3.10", withHeader("kid", `"constructor"`), key},
		{"a key id with NUL", "3.10", withHeader("kid", `"`+testKID+`\u0000"`), header},
		{"a key id with a line break", "3.10", withHeader("kid", `"`+testKID+`\n"`), header},
		{"a key id that is too long", "3.10", withHeader("kid", `"`+strings.Repeat("k", 129)+`"`), header},
		{"jku", "3.10", withMember(`"jku":"https://evil.example.com/jwks.json"`), header},
		{"jwk, the attacker's", "3.10", sign(signingKey("attacker"), addTo(honestHeader, `"jwk":`+jwk(testKID, signingKey("attacker"))), claims(nil)), header},
		{"jwk, the gateway's own", "3.10", withMember(`"jwk":` + jwk(testKID, a)), header},
		{"x5u", "3.10", withMember(`"x5u":"https://evil.example.com/cert.pem"`), header},
		{"x5c", "3.10", withMember(`"x5c":["MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A"]`), header},
		{"x5t", "3.10", withMember(`"x5t":"dGh1bWJwcmludA"`), header},
		{"crit, of nothing", "3.10", withMember(`"crit":[]`), header},
		{"crit, of an extension", "3.10", withMember(`"crit":["exp"],"exp":1`), header},
		{"b64 false, critical", "3.10", sign(a, addTo(honestHeader, `"b64":false,"crit":["b64"]`), claims(nil)), header},
		{"b64 false, critical, with the payload as it is", "3.10", unencoded(a), encoding},
		{"b64 false", "3.10", withMember(`"b64":false`), header},
		{"b64 true", "3.10", withMember(`"b64":true`), header},

		{"no typ", "3.11", sign(a, `{"alg":"EdDSA","kid":"`+testKID+`"}`, claims(nil)), header},
		{"typ JWT", "3.11", withHeader("typ", `"JWT"`), header},
		{"typ of an access token", "3.11", withHeader("typ", `"at+jwt"`), header},
		{"typ in upper case", "3.11", withHeader("typ", `"API-KEY+JWT"`), header},
		{"typ with application/", "3.11", withHeader("typ", `"application/api-key+jwt"`), header},
		{"claims of another kind of token", "3.12", sign(a, honestHeader, `{"iss":"`+testIssuer+`","aud":"contacts","sub":"alice","iat":1795999990,"exp":1796000050}`), badClaims},
		{"a member of the header that nobody knows", "3.12", withMember(`"x":1`), header},

		{"empty", "", "", encoding},
		{"a dot", "", ".", encoding},
		{"two dots", "", "..", header},
		{"two parts", "", parts[0] + "." + parts[1], encoding},
		{"four parts", "", good + ".", encoding},
		{"five parts, as in JWE", "", good + "..", encoding},
		{"behind Bearer", "", "Bearer " + good, encoding},
		{"two, with a comma", "", good + ", " + good, encoding},
		{"a space before it", "", " " + good, encoding},
		{"a line break behind it", "", good + "\n", encoding},
		{"a line break within the signature", "", good[:len(good)-4] + "\r\n" + good[len(good)-4:], encoding},
		{"a line break within the header", "", good[:4] + "\n" + good[4:], encoding},
		{"padding", "", good + "==", encoding},
		{"the standard alphabet", "", standard(parts), encoding},
		{"trailing bits of the signature", "", otherEnd(good), encoding},
		{"trailing bits of the header", "", trailingBits(parts), encoding},
		{"flattened JSON serialization", "", `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`, encoding},
		{"general JSON serialization", "", `{"payload":"` + parts[1] + `","signatures":[{"protected":"` + parts[0] + `","signature":"` + parts[2] + `"}]}`, encoding},
		{"an unprotected header", "", `{"protected":"","header":` + honestHeader + `,"payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`, encoding},
		{"a header twice as long as anything", "", strings.Repeat("A", 2*identity.MaxToken) + "." + parts[1] + "." + parts[2], tooLong},
		{"the longest of all", "", strings.Repeat("A", identity.MaxToken-2) + "..", header},
		{"one byte longer", "", strings.Repeat("A", identity.MaxToken-1) + "..", tooLong},
		{"a thousand dots", "", strings.Repeat(".", 1000), encoding},

		{"a header that is null", "", sign(a, `null`, claims(nil)), header},
		{"a header that is a list", "", sign(a, `[`+honestHeader+`]`, claims(nil)), header},
		{"a header with more behind it", "", sign(a, honestHeader+`{}`, claims(nil)), header},
		{"alg twice, the second is right", "", sign(a, `{"alg":"none",`+honestHeader[1:], claims(nil)), header},
		{"alg twice, both are right", "", sign(a, `{"alg":"EdDSA",`+honestHeader[1:], claims(nil)), header},
		{"alg twice, one with an escape", "", sign(a, `{"\u0061lg":"EdDSA",`+honestHeader[1:], claims(nil)), header},
		{"kid twice", "", sign(a, `{"kid":"2026-11-b",`+honestHeader[1:], claims(nil)), header},
		{"Alg", "", sign(a, strings.ReplaceAll(honestHeader, `"alg"`, `"Alg"`), claims(nil)), header},
		{"claims that are null", "", sign(a, honestHeader, `null`), badClaims},
		{"claims that are a list", "", sign(a, honestHeader, `[`+claims(nil)+`]`), badClaims},
		{"no claims", "", sign(a, honestHeader, ``), badClaims},
		{"empty claims", "", sign(a, honestHeader, `{}`), badClaims},
		{"claims with more behind them", "", sign(a, honestHeader, claims(nil)+`{}`), badClaims},
		{"workspace_id twice", "", sign(a, honestHeader, addTo(claims(nil), `"workspace_id":"globex"`)), badClaims},
		{"workspace_id twice, with an escape", "", sign(a, honestHeader, addTo(claims(nil), `"workspace\u005fid":"globex"`)), badClaims},
		{"an unknown claim twice", "", sign(a, honestHeader, addTo(claims(nil), `"x":1,"x":2`)), badClaims},
		{"a member of an unknown claim twice", "", sign(a, honestHeader, addTo(claims(nil), `"x":[{"y":1,"y":2}]`)), badClaims},
		{"the same name in two objects", "", sign(a, honestHeader, addTo(claims(nil), `"x":[{"y":1},{"y":2,"x":{"y":"\"y\":"}}]`)), ""},
		{"Workspace_ID besides", "", sign(a, honestHeader, addTo(claims(nil), `"Workspace_ID":"globex"`)), ""},
		{"workspace_id is a number", "", sign(a, honestHeader, claimsWith(`"workspace_id":"acme"`, `"workspace_id":7`)), badClaims},
		{"workspace_id is null", "", sign(a, honestHeader, claimsWith(`"workspace_id":"acme"`, `"workspace_id":null`)), badClaims},
		{"access of an administrator", "", token(func(c *identity.Claims) { c.Access = "admin" }), badClaims},
		{"no access", "", token(func(c *identity.Claims) { c.Access = "" }), badClaims},
		{"access in upper case", "", token(func(c *identity.Claims) { c.Access = "READ_ONLY" }), badClaims},
		{"full access", "", token(func(c *identity.Claims) { c.Access = "full_access" }), ""},
		{"method is a number", "", sign(a, honestHeader, addTo(claims(nil), `"method":1`)), badClaims},

		{"expired", "", token(lives(-70, -10)), expired},
		{"expired, but for the leeway", "", token(lives(-64, -4)), ""},
		{"expired exactly now, with the leeway", "", token(lives(-65, -5)), expired},
		{"from the future", "", token(lives(10, 70)), future},
		{"from the future, but for the leeway", "", token(lives(5, 65)), ""},
		{"from the future, by a second more", "", token(lives(6, 66)), future},
		{"valid for a second too long", "", token(lives(-10, 51)), lifetime},
		{"valid for years", "", token(lives(-10, 1e9)), lifetime},
		{"valid for no time, because the key ends", "", token(lives(0, 0)), ""},
		{"it ends before it begins", "", token(lives(10, -10)), lifetime},
		{"no exp", "", sign(a, honestHeader, claimsWith(`,"exp":1796000050`, ``)), badClaims},
		{"no iat", "", sign(a, honestHeader, claimsWith(`,"iat":1795999990`, ``)), badClaims},
		{"exp is a string", "", sign(a, honestHeader, claimsWith(`1796000050`, `"1796000050"`)), badClaims},
		{"exp is a fraction", "", sign(a, honestHeader, claimsWith(`1796000050`, `1796000050.5`)), badClaims},
		{"exp is written with an exponent", "", sign(a, honestHeader, claimsWith(`1796000050`, `1.79600005e9`)), badClaims},
		{"exp is infinite", "", sign(a, honestHeader, claimsWith(`1796000050`, `1e999`)), badClaims},
		{"exp is not a number", "", sign(a, honestHeader, claimsWith(`1796000050`, `NaN`)), badClaims},
		{"exp is null", "", sign(a, honestHeader, claimsWith(`1796000050`, `null`)), badClaims},
		{"iat is negative", "", sign(a, honestHeader, claimsWith(`1795999990`, `-1`)), badClaims},
		{"iat overflows", "", sign(a, honestHeader, claimsWith(`1795999990`, `-9223372036854775808`)), badClaims},
	}
	return cases
}

// bind returns the change that binds claims to a request.
func bind(method, path string) func(*identity.Claims) {
	return func(c *identity.Claims) { c.Method, c.Path = method, path }
}

// lives returns the change that sets the times of claims, in seconds from now.
func lives(from, to int64) func(*identity.Claims) {
	return func(c *identity.Claims) { c.IssuedAt, c.ExpiresAt = second+from, second+to }
}
