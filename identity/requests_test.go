package identity_test

import (
	"strings"

	"github.com/agiled/caddy-api-keys/identity"
)

// A requestCase is a request to an upstream, and what becomes of it.
type requestCase struct {
	Name    string      `json:"name"`
	Method  string      `json:"method"`
	Target  string      `json:"target"` // as in the first line of the request
	Headers [][2]string `json:"headers"`
	Binding bool        `json:"binding,omitempty"` // the verifier wants bound assertions
	Renamed bool        `json:"renamed,omitempty"` // the headers have the names below
	Refused string      `json:"refused,omitempty"`
	// Identity are the values of the workspace, key id and access headers that reach the
	// upstream's own code.
	Identity *[3]string `json:"identity,omitempty"`
}

// renamedHeaders are what an operator has made of the names of the identity headers, and
// renamedAssertion of the assertion's.
var renamedHeaders = [3]string{"X-Tenant", "X-Tenant-Key", "X-Tenant-Access"}

const renamedAssertion = "X-Tenant-Proof"

// requestCases are attacks on upstreams that verify requests. They are written to testdata
// for the other implementations.
func requestCases() []requestCase {
	good := token(nil)
	who := honest()
	proof := [2]string{"X-API-Key-Assertion", good}
	renamed := [2]string{renamedAssertion, good}
	ours := &[3]string{who.WorkspaceID, who.KeyID, who.Access}
	plain := [][2]string{{"X-Workspace-ID", who.WorkspaceID}, {"X-API-Key-ID", who.KeyID}, {"X-API-Key-Access", who.Access}}
	with := func(more ...[2]string) [][2]string { return append([][2]string{proof}, more...) }
	bound := func(method, path string) [][2]string {
		return [][2]string{{"X-API-Key-Assertion", token(bind(method, path))}}
	}
	const contacts = "/public/v1/contacts"
	cases := []requestCase{
		{Name: "an assertion alone", Headers: with(), Identity: ours},
		{Name: "an assertion and the headers that it confirms", Headers: with(plain...), Identity: ours},
		{Name: "the names in lower case, as in HTTP/2", Headers: [][2]string{{"x-api-key-assertion", good}, {"x-workspace-id", "acme"}}, Identity: ours},
		{Name: "headers of other things", Headers: with([2]string{"X-Request-ID", "1"}, [2]string{"X-Workspace", "globex"}), Identity: ours},
		{Name: "the headers in other spellings", Headers: with([2]string{"X_Workspace_ID", "globex"}, [2]string{"X.API.Key.ID", "key_2"}, [2]string{"X-API-Key_Access", "full_access"}), Identity: ours},
		{Name: "another assertion in another spelling", Headers: with([2]string{"X_API_Key_Assertion", token(func(c *identity.Claims) { c.WorkspaceID = "globex" })}), Identity: ours},
		{Name: "the headers named in Connection", Headers: with([2]string{"Connection", "close, X-Workspace-ID"}), Identity: ours},

		{Name: "nothing", Refused: missing},
		{Name: "the plain headers without an assertion", Headers: plain, Refused: missing},
		{Name: "an assertion in another spelling alone", Headers: [][2]string{{"X_API_Key_Assertion", good}}, Refused: missing},
		{Name: "an assertion as a bearer token", Headers: [][2]string{{"Authorization", "Bearer " + good}}, Refused: missing},
		{Name: "an empty assertion", Headers: [][2]string{{"X-API-Key-Assertion", ""}}, Refused: encoding},
		{Name: "the same assertion twice", Headers: with(proof), Refused: repeated},
		{Name: "a good assertion and a bad one", Headers: with([2]string{"x-api-key-assertion", "x"}), Refused: repeated},
		{Name: "two assertions in one field", Headers: [][2]string{{"X-API-Key-Assertion", good + ", " + good}}, Refused: encoding},
		{Name: "an assertion that has expired, and plain headers", Headers: append([][2]string{{"X-API-Key-Assertion", token(lives(-100, -50))}}, plain...), Refused: expired},

		{Name: "another workspace in the plain header", Headers: with([2]string{"X-Workspace-ID", "globex"}), Refused: headers},
		{Name: "another key in the plain header", Headers: with([2]string{"X-API-Key-ID", "key_2"}), Refused: headers},
		{Name: "more access in the plain header", Headers: with([2]string{"X-API-Key-Access", "full_access"}), Refused: headers},
		{Name: "an empty plain header", Headers: with([2]string{"X-Workspace-ID", ""}), Refused: headers},
		{Name: "a plain header in another case", Headers: with([2]string{"X-Workspace-ID", "ACME"}), Refused: headers},
		{Name: "a plain header twice", Headers: with(plain[0], plain[0]), Refused: headers},
		{Name: "a plain header twice, with different values", Headers: with(plain[0], [2]string{"x-workspace-id", "globex"}), Refused: headers},
		{Name: "two values in one plain header", Headers: with([2]string{"X-Workspace-ID", "acme, globex"}), Refused: headers},

		{Name: "renamed headers", Renamed: true, Headers: [][2]string{renamed, {"X-Tenant", "acme"}}, Identity: ours},
		{Name: "a renamed header that says otherwise", Renamed: true, Headers: [][2]string{renamed, {"X-Tenant", "globex"}}, Refused: headers},
		{Name: "headers of the default names next to renamed ones", Renamed: true, Headers: [][2]string{renamed, {"X-Workspace-ID", "globex"}, {"X-API-Key-Assertion", "x"}}, Identity: ours},
		{Name: "an assertion under the default name, where another is wanted", Renamed: true, Headers: with(), Refused: missing},

		{Name: "bound to this request", Headers: bound("GET", contacts), Identity: ours},
		{Name: "bound to this request, with a query", Target: contacts + "?q=/x", Headers: bound("GET", contacts), Identity: ours},
		{Name: "bound to another method", Method: "POST", Headers: bound("GET", contacts), Refused: request},
		{Name: "bound to the method in lower case", Headers: bound("get", contacts), Refused: request},
		{Name: "bound to another path", Target: "/public/v1/invoices", Headers: bound("GET", contacts), Refused: request},
		{Name: "bound to a path with a slash more", Target: contacts + "/", Headers: bound("GET", contacts), Refused: request},
		{Name: "bound to a path that is cleaned", Target: "/public//v1/contacts", Headers: bound("GET", contacts), Refused: request},
		{Name: "bound to an escaped path", Target: "/public/v1/a%2Fb", Headers: bound("GET", "/public/v1/a%2Fb"), Identity: ours},
		{Name: "bound to a path that is escaped in another way", Target: "/public/v1/a%2fb", Headers: bound("GET", "/public/v1/a%2Fb"), Refused: request},
		{Name: "bound to the path, unescaped", Target: "/public/v1/a%2Fb", Headers: bound("GET", "/public/v1/a/b"), Refused: request},
		{Name: "bound to a path with the query", Target: contacts + "?q=x", Headers: bound("GET", contacts+"?q=x"), Refused: request},
		{Name: "bound to a method alone", Headers: bound("GET", ""), Identity: ours},
		{Name: "bound to another method alone", Headers: bound("PUT", ""), Refused: request},
		{Name: "bound to another path alone", Headers: bound("", "/"), Refused: request},

		{Name: "binding wanted, and there", Binding: true, Headers: bound("GET", contacts), Identity: ours},
		{Name: "binding wanted, and missing", Binding: true, Headers: with(), Refused: unbound},
		{Name: "binding wanted, and only the method", Binding: true, Headers: bound("GET", ""), Refused: unbound},
		{Name: "binding wanted, and only the path", Binding: true, Headers: bound("", contacts), Refused: unbound},
	}
	for i := range cases {
		if cases[i].Method == "" {
			cases[i].Method = "GET"
		}
		if cases[i].Target == "" {
			cases[i].Target = contacts
		}
	}
	return cases
}

// A setCase is a set of keys, and the ids of those that can be used. Refused says that the
// whole set is refused.
type setCase struct {
	Name    string   `json:"name"`
	Set     string   `json:"set"`
	Keys    []string `json:"keys,omitempty"`
	Refused bool     `json:"refused,omitempty"`
}

// setCases are sets that a gateway could publish, and some that it never should. They are
// written to testdata for the other implementations.
func setCases() []setCase {
	a := jwk("a", signingKey("a"))
	with := func(old, replacement string) string {
		if !strings.Contains(a, old) {
			panic(old + " is not in " + a)
		}
		return strings.Replace(a, old, replacement, 1)
	}
	x := a[strings.Index(a, `"x":"`)+5:][:43]
	// Of RFC 7515, appendix A.3, RFC 8037, appendix A.6, and RFC 7517, appendix A.3.
	const (
		ec     = `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","kid":"ec"}`
		x25519 = `{"kty":"OKP","crv":"X25519","kid":"x","x":"3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}`
		oct    = `{"kty":"oct","alg":"A128KW","k":"GawgguFyGrWKav7AX4VKUg","kid":"oct"}`
		later  = `{"kty":"AKP","alg":"ML-DSA-44","pub":"AAAA","kid":"pq"}`
	)
	return []setCase{
		{Name: "one key", Set: jwks(a), Keys: []string{"a"}},
		{Name: "two keys", Set: jwks(a, jwk("b", signingKey("b"))), Keys: []string{"a", "b"}},
		{Name: "no keys", Set: jwks()},
		{Name: "keys of other types", Set: jwks(ec, a, x25519, oct, later), Keys: []string{"a"}},
		{Name: "other types alone", Set: jwks(ec, oct)},
		{Name: "a member that nobody knows", Set: `{"next":null,` + jwks(addTo(a, `"iat":1`))[1:], Keys: []string{"a"}},
		{Name: "one key under two ids", Set: jwks(a, jwk("b", signingKey("a"))), Keys: []string{"a", "b"}},

		{Name: "nothing", Set: "", Refused: true},
		{Name: "a page", Set: "<!doctype html><title>404</title>", Refused: true},
		{Name: "null", Set: "null", Refused: true},
		{Name: "a list", Set: "[" + a + "]", Refused: true},
		{Name: "a key instead of a set", Set: a, Refused: true},
		{Name: "keys null", Set: `{"keys":null}`, Refused: true},
		{Name: "keys is an object", Set: `{"keys":{"a":` + a + `}}`, Refused: true},
		{Name: "a key that is null", Set: `{"keys":[` + a + `,null]}`, Refused: true},
		{Name: "a key that is text", Set: `{"keys":["` + x + `"]}`, Refused: true},
		{Name: "more behind it", Set: jwks(a) + "{}", Refused: true},
		{Name: "cut off", Set: jwks(a)[:100], Refused: true},
		{Name: "keys twice", Set: `{"keys":[],` + jwks(a)[1:], Refused: true},
		{Name: "not UTF-8", Set: strings.Replace(jwks(a), `"a"`, "\"\xff\"", 1), Refused: true},
		{Name: "x twice", Set: jwks(addTo(a, `"x":"`+x+`"`)), Refused: true},
		{Name: "two keys with one id", Set: jwks(a, jwk("a", signingKey("b"))), Refused: true},
		{Name: "one key twice", Set: jwks(a, a), Refused: true},
		{Name: "a private key", Set: jwks(addTo(a, `"d":"`+b64(signingKey("a").Seed())+`"`)), Refused: true},
		{Name: "a private key next to a good one", Set: jwks(jwk("b", signingKey("b")), addTo(a, `"d":"`+b64(signingKey("a").Seed())+`"`)), Refused: true},
		{Name: "a private key that does not belong to the public one", Set: jwks(addTo(a, `"d":"`+b64(signingKey("b").Seed())+`"`)), Refused: true},
		{Name: "a private key that is null", Set: jwks(addTo(a, `"d":null`)), Refused: true},
		{Name: "a private key that is empty", Set: jwks(addTo(a, `"d":""`)), Refused: true},
		{Name: "no id", Set: jwks(with(`,"kid":"a"`, ``)), Refused: true},
		{Name: "an empty id", Set: jwks(with(`"kid":"a"`, `"kid":""`)), Refused: true},
		{Name: "an id that is a number", Set: jwks(with(`"kid":"a"`, `"kid":1`)), Refused: true},
		{Name: "an id with a space", Set: jwks(with(`"kid":"a"`, `"kid":"a b"`)), Refused: true},
		{Name: "for encryption", Set: jwks(with(`"use":"sig"`, `"use":"enc"`)), Refused: true},
		{Name: "no use", Set: jwks(with(`"use":"sig",`, ``)), Refused: true},
		{Name: "for another algorithm", Set: jwks(with(`"alg":"EdDSA"`, `"alg":"HS256"`)), Refused: true},
		{Name: "no algorithm", Set: jwks(with(`"alg":"EdDSA",`, ``)), Refused: true},
		{Name: "no x", Set: jwks(with(`"x":"`+x+`",`, ``)), Refused: true},
		{Name: "x is too short", Set: jwks(with(x, x[:42])), Refused: true},
		{Name: "x is too long", Set: jwks(with(x, x+"AA")), Refused: true},
		{Name: "x with padding", Set: jwks(with(x, x+"=")), Refused: true},
		{Name: "x with trailing bits", Set: jwks(with(x, otherEnd(x))), Refused: true},
		{Name: "x is a number", Set: jwks(with(`"`+x+`"`, `1`)), Refused: true},
		{Name: "x of small order, the neutral element", Set: jwks(with(x, b64(append([]byte{1}, make([]byte, 31)...)))), Refused: true},
		{Name: "x of small order, 8", Set: jwks(with(x, b64(smallOrder()))), Refused: true},
		{Name: "x of small order, zero", Set: jwks(with(x, b64(make([]byte, 32)))), Refused: true},
	}
}
