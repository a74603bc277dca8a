package authn

import (
	"crypto/sha256"
	"regexp"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// credentialOf returns what a request with these Authorization fields is judged by.
func credentialOf(policy *Policy, authorization ...string) (apikey.Digest, Result) {
	facts := Facts{Authorization: authorization}
	return facts.credential(policy, nil)
}

func TestFacts_credential(t *testing.T) {
	token := apikey.NewToken(apikey.DefaultPrefix)
	s := token.Reveal()
	old := apikey.NewToken("an_earlier_prefix").Reveal()

	for _, value := range []string{"Bearer " + s, "bearer " + s, "BEARER " + s, "bEaReR " + s} {
		if digest, problem := credentialOf(policy, value); problem != "" || digest != token.Digest() {
			t.Errorf("%.7s…: got %q and another digest: %t", value, problem, digest != token.Digest())
		}
	}
	if digest, problem := credentialOf(policy, "Bearer "+old); problem != "" || digest != sha256.Sum256([]byte(old)) {
		t.Errorf("an earlier prefix: got %q, want no problem", problem)
	}

	for name, values := range map[string][]string{
		"none":      nil,
		"no values": {},
	} {
		if digest, problem := credentialOf(policy, values...); problem != Missing || digest != (apikey.Digest{}) {
			t.Errorf("%s: got %q, want %q", name, problem, Missing)
		}
	}
	for name, values := range map[string][]string{
		"empty":                   {""},
		"scheme alone":            {"Bearer"},
		"scheme and space":        {"Bearer "},
		"token alone":             {s},
		"two fields":              {"Bearer " + s, "Bearer " + s},
		"two fields, one empty":   {"Bearer " + s, ""},
		"first field empty":       {"", "Bearer " + s},
		"Basic and Bearer":        {"Basic eDp5", "Bearer " + s},
		"Bearer and Basic":        {"Bearer " + s, "Basic eDp5"},
		"joined by a comma":       {"Bearer " + s + ", Bearer " + s},
		"Basic":                   {"Basic " + s},
		"Digest":                  {"Digest " + s},
		"another scheme":          {"Bearers " + s},
		"no space":                {"Bearer" + s},
		"two spaces":              {"Bearer  " + s},
		"tab":                     {"Bearer\t" + s},
		"space and tab":           {"Bearer \t" + s},
		"no-break space":          {"Bearer\u00a0" + s},
		"colon":                   {"Bearer: " + s},
		"equals":                  {"Bearer=" + s},
		"space before":            {" Bearer " + s},
		"space after":             {"Bearer " + s + " "},
		"parameter after":         {"Bearer " + s + ", a=b"},
		"quoted":                  {`Bearer "` + s + `"`},
		"homoglyph in the scheme": {"Веarer " + s},
		"full-width scheme":       {"Ｂｅａｒｅｒ " + s},
		"full-width token":        {"Bearer " + strings.Replace(s, "agk", "ａｇｋ", 1)},
		"NUL":                     {"Bearer " + s + "\x00"},
		"line feed":               {"Bearer " + s + "\n"},
		"truncated":               {"Bearer " + s[:len(s)-1]},
		"extended":                {"Bearer " + s + "0"},
		"longer than any token":   {"Bearer " + strings.Repeat("a", 1<<14)},
	} {
		for _, policy := range []*Policy{policy, foreign} {
			if digest, problem := credentialOf(policy, values...); problem != Malformed || digest != (apikey.Digest{}) {
				t.Errorf("%s: got %q, want %q", name, problem, Malformed)
			}
		}
	}
}

// foreign is a policy that accepts foreign tokens.
var foreign = &Policy{ReadMethods: policy.ReadMethods, ForeignTokens: true, TokenPrefix: "agk"}

// Foreign tokens are looked up if the policy accepts them, and what begins with one of
// our prefixes is never foreign.
func TestFacts_credential_foreign(t *testing.T) {
	earlier := new(apikey.Prefixes)
	earlier.Add("old")
	for token, want := range map[string]Result{
		"0190f1c2-8a4e-7c30-b0f5-0e6a3f1d2c4b": "",
		"sk_live_4eC39HqLyjWDarjtT1zdp7dc":     "",
		"AGK_0123456789abcdef":                 "",
		strings.Repeat("a", 16):                "",
		strings.Repeat("a", 512):               "",
		strings.Repeat("a", 15):                Malformed,
		strings.Repeat("a", 513):               Malformed,
		"0123456789:abcdef":                    Malformed,
		"agk_0123456789abcdef":                 Malformed,
		"old_0123456789abcdef":                 Malformed,
	} {
		facts := Facts{Authorization: []string{"Bearer " + token}}
		digest, problem := facts.credential(foreign, earlier)
		if problem != want || problem == "" && digest != sha256.Sum256([]byte(token)) {
			t.Errorf("%s: got %q, want %q", token, problem, want)
		}
		if digest, problem := facts.credential(policy, earlier); problem != Malformed || digest != (apikey.Digest{}) {
			t.Errorf("%s, where they are refused: got %q, want %q", token, problem, Malformed)
		}
	}
}

func TestFacts_credential_allocatesNothing(t *testing.T) {
	earlier := new(apikey.Prefixes)
	earlier.Add("old")
	for _, token := range []string{apikey.NewToken(apikey.DefaultPrefix).Reveal(), strings.Repeat("a", 16), strings.Repeat("a_", 256), "agk_"} {
		facts := Facts{Authorization: []string{"Bearer " + token}}
		if got := testing.AllocsPerRun(100, func() { facts.credential(foreign, earlier) }); got != 0 {
			t.Errorf("%s: got %v allocations, want 0", token, got)
		}
	}
}

// bearer is a second definition of the header's syntax. What is a token is left to
// package apikey, which has a model of its own.
var bearer = regexp.MustCompile(`\A[Bb][Ee][Aa][Rr][Ee][Rr] (\S{16,512})\z`)

func FuzzCredential(f *testing.F) {
	const token = "agk_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg3a2L9p"
	f.Add(uint8(0), "", "")
	f.Add(uint8(1), "Bearer "+token, "")
	f.Add(uint8(1), "bearer  "+token, "")
	f.Add(uint8(1), "Bearer", "")
	f.Add(uint8(2), "Bearer "+token, "Basic eDp5")
	f.Add(uint8(4), "Bearer 0190f1c2-8a4e-7c30-b0f5-0e6a3f1d2c4b", "")
	f.Add(uint8(4), "Bearer old_0123456789abcdef", "")
	f.Add(uint8(1), "Bearer sk_live_4eC39HqLyjWDarjtT1zdp7dc==", "")
	earlier := new(apikey.Prefixes)
	earlier.Add("old")
	f.Fuzz(func(t *testing.T, kind uint8, one, two string) {
		values := []string{one, two}[:kind%3]
		accepts := []*Policy{policy, foreign}[kind/3%2]
		var want apikey.Digest
		wantProblem := Malformed
		if len(values) == 0 {
			wantProblem = Missing
		}
		if len(values) == 1 {
			if match := bearer.FindStringSubmatch(one); match != nil {
				_, ours := apikey.ParseToken(match[1])
				_, any := apikey.ParseAnyToken(match[1], "agk", earlier)
				if ours || any && accepts.ForeignTokens {
					want, wantProblem = sha256.Sum256([]byte(match[1])), ""
				}
			}
		}
		facts := Facts{Authorization: values}
		if got, problem := facts.credential(accepts, earlier); problem != wantProblem || got != want {
			t.Errorf("the credential of %q: got %x, %q, want %x, %q", values, got, problem, want, wantProblem)
		}
	})
}

func TestPolicy_action(t *testing.T) {
	cases := []struct {
		facts Facts
		want  Action
	}{
		{Facts{Method: "GET"}, Read},
		{Facts{Method: "HEAD"}, Read},
		{Facts{Method: "OPTIONS"}, Read},
		{Facts{Method: "POST"}, Write},
		{Facts{Method: "PUT"}, Write},
		{Facts{Method: "PATCH"}, Write},
		{Facts{Method: "DELETE"}, Write},
		{Facts{Method: "PROPPATCH"}, Write},
		{Facts{Method: "QUERY"}, Write},
		{Facts{Method: "TRACE"}, Write},
		{Facts{Method: "INVENTED"}, Write},
		{Facts{Method: "get"}, Write},
		{Facts{Method: "Get"}, Write},
		{Facts{Method: "GET "}, Write},
		{Facts{Method: ""}, Write},
		{Facts{Method: "GET", OtherMethod: true}, Write},
		{Facts{Method: "GET", WebSocket: true}, Write},
		{Facts{Method: "CONNECT", WebSocket: true}, Write},
		{Facts{Method: "GET", EarlyData: true, Preflight: true, Browser: true}, Read},
	}
	for _, c := range cases {
		if got := policy.action(&c.facts); got != c.want {
			t.Errorf("%+v: got %s, want %s", c.facts, got, c.want)
		}
	}
	search := &Policy{ReadPaths: []string{"/search"}}
	for _, c := range []struct {
		facts Facts
		want  Action
	}{
		{Facts{Method: "POST", Path: "/search"}, Read},
		{Facts{Method: "POST", Path: "/search", OtherPath: true}, Write},
		{Facts{Method: "POST", Path: "/search", OtherMethod: true}, Write},
	} {
		if got := search.action(&c.facts); got != c.want {
			t.Errorf("%+v: got %s, want %s", c.facts, got, c.want)
		}
	}
	if got := (&Policy{}).action(&Facts{Method: "GET"}); got != Write {
		t.Errorf("without read methods: got %s, want %s", got, Write)
	}
	reports := &Policy{ReadMethods: []string{"REPORT"}}
	if got := reports.action(&Facts{Method: "REPORT"}); got != Read {
		t.Errorf("REPORT as a read method: got %s, want %s", got, Read)
	}
}

func TestFacts_forbiddenMethod(t *testing.T) {
	for _, c := range []struct {
		facts Facts
		want  bool
	}{
		{Facts{Method: "TRACE"}, true},
		{Facts{Method: "TRACE", WebSocket: true}, true},
		{Facts{Method: "CONNECT"}, true},
		{Facts{Method: "CONNECT", WebSocket: true}, false},
		{Facts{Method: "GET"}, false},
		{Facts{Method: "INVENTED"}, false},
	} {
		if got := c.facts.forbiddenMethod(); got != c.want {
			t.Errorf("%+v: got %t, want %t", c.facts, got, c.want)
		}
	}
}
