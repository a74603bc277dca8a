package authn

import (
	"crypto/sha256"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// credentialOf returns what a request with these Authorization fields is judged by.
func credentialOf(policy *Policy, authorization ...string) (apikey.Digest, Result) {
	facts := Facts{Authorization: authorization}
	return facts.credential(policy, nil, apikey.Digest{})
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
		digest, problem := facts.credential(foreign, earlier, apikey.Digest{})
		if problem != want || problem == "" && digest != sha256.Sum256([]byte(token)) {
			t.Errorf("%s: got %q, want %q", token, problem, want)
		}
		if digest, problem := facts.credential(policy, earlier, apikey.Digest{}); problem != Malformed || digest != (apikey.Digest{}) {
			t.Errorf("%s, where they are refused: got %q, want %q", token, problem, Malformed)
		}
	}
}

// A foreign token is refused where it is not accepted, even when its key is cached: what
// is cached and was made here is found without looking at its form.
func TestCheck_foreignTokenCached(t *testing.T) {
	token := strings.Repeat("sk_live_4eC39HqL", 4) // as long as one of ours
	s := new(source)
	s.addForeign(token)
	a := newAuthenticator(t, s, atEpoch)
	for range 2 {
		facts := &Facts{Method: http.MethodGet, Authorization: []string{"Bearer " + token}}
		checkResult(t, "where it is accepted", a.Check(t.Context(), foreign, facts), Allowed)
		checkResult(t, "where it is not", a.Check(t.Context(), policy, facts), Malformed)
	}
}

// The header that is sent in place of Authorization is nothing but a token, once.
func TestFacts_credential_tokenHeader(t *testing.T) {
	token := apikey.NewToken(apikey.DefaultPrefix)
	s := token.Reveal()
	for name, test := range map[string]struct {
		authorization, header []string
		want                  Result
	}{
		"the token":              {nil, []string{s}, ""},
		"empty":                  {nil, []string{""}, Malformed},
		"a scheme":               {nil, []string{"Bearer " + s}, Malformed},
		"space before":           {nil, []string{" " + s}, Malformed},
		"truncated":              {nil, []string{s[:52]}, Malformed},
		"twice":                  {nil, []string{s, s}, Malformed},
		"twice, one empty":       {nil, []string{s, ""}, Malformed},
		"joined by a comma":      {nil, []string{s + ", " + s}, Malformed},
		"both":                   {[]string{"Bearer " + s}, []string{s}, Malformed},
		"both, the one empty":    {[]string{""}, []string{s}, Malformed},
		"both, the other empty":  {[]string{"Bearer " + s}, []string{""}, Malformed},
		"another scheme as well": {[]string{"Basic eDp5"}, []string{s}, Malformed},
		"neither":                {nil, nil, Missing},
	} {
		facts := Facts{Authorization: test.authorization, TokenHeader: test.header}
		digest, problem := facts.credential(policy, nil, apikey.Digest{})
		if problem != test.want || problem == "" && digest != token.Digest() || problem != "" && digest != (apikey.Digest{}) {
			t.Errorf("%s: got %q and a digest of its own: %t, want %q", name, problem, digest == token.Digest(), test.want)
		}
	}
}

func TestFacts_credential_allocatesNothing(t *testing.T) {
	earlier := new(apikey.Prefixes)
	earlier.Add("old")
	for _, token := range []string{apikey.NewToken(apikey.DefaultPrefix).Reveal(), strings.Repeat("a", 16), strings.Repeat("a_", 256), "agk_"} {
		facts := Facts{Authorization: []string{"Bearer " + token}}
		if got := testing.AllocsPerRun(100, func() { facts.credential(foreign, earlier, apikey.Digest{}) }); got != 0 {
			t.Errorf("%s: got %v allocations, want 0", token, got)
		}
	}
}

// bearer is a second definition of the header's syntax. What is a token is left to
// package apikey, which has a model of its own.
var bearer = regexp.MustCompile(`\A[Bb][Ee][Aa][Rr][Ee][Rr] (\S{16,512})\z`)

func FuzzCredential(f *testing.F) {
	const token = "agk_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg3a2L9p"
	const bearers, headers, accepting = 1, 3, 9 // what a kind is made of
	f.Add(uint8(0), "", "")
	f.Add(uint8(bearers), "Bearer "+token, "")
	f.Add(uint8(bearers), "bearer  "+token, "")
	f.Add(uint8(bearers), "Bearer", "")
	f.Add(uint8(2*bearers), "Bearer "+token, "Basic eDp5")
	f.Add(uint8(bearers+accepting), "Bearer "+uuid, "")
	f.Add(uint8(bearers+accepting), "Bearer old_0123456789abcdef", "")
	f.Add(uint8(bearers), "Bearer sk_live_4eC39HqLyjWDarjtT1zdp7dc==", "")
	f.Add(uint8(headers), token, "")
	f.Add(uint8(headers), "Bearer "+token, "")
	f.Add(uint8(headers+accepting), uuid, "")
	f.Add(uint8(2*headers), token, token)
	f.Add(uint8(bearers+headers), "Bearer "+token, token)
	earlier := new(apikey.Prefixes)
	earlier.Add("old")
	f.Fuzz(func(t *testing.T, kind uint8, one, two string) {
		facts := Facts{Authorization: []string{one, two}[:kind%headers], TokenHeader: []string{two, one}[2-kind/headers%3:]}
		accepts := []*Policy{policy, foreign}[kind/accepting%2]
		presented, wantProblem := "", Malformed
		switch len(facts.Authorization) + len(facts.TokenHeader) {
		case 0:
			wantProblem = Missing
		case 1:
			presented = strings.Join(facts.TokenHeader, "")
			if match := bearer.FindStringSubmatch(one); len(facts.Authorization) == 1 && match != nil {
				presented = match[1]
			}
		}
		var want apikey.Digest
		_, ours := apikey.ParseToken(presented)
		_, any := apikey.ParseAnyToken(presented, "agk", earlier)
		if ours || any && accepts.ForeignTokens {
			want, wantProblem = sha256.Sum256([]byte(presented)), ""
		}
		if got, problem := facts.credential(accepts, earlier, apikey.Digest{}); problem != wantProblem || got != want {
			t.Errorf("the credential of %q and %q: got %x, %q, want %x, %q", facts.Authorization, facts.TokenHeader, got, problem, want, wantProblem)
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
