package authn

import (
	"crypto/sha256"
	"regexp"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

func TestParseAuthorization(t *testing.T) {
	token := apikey.NewToken(apikey.DefaultPrefix)
	s := token.Reveal()
	old := apikey.NewToken("an_earlier_prefix").Reveal()

	for _, value := range []string{"Bearer " + s, "bearer " + s, "BEARER " + s, "bEaReR " + s} {
		if digest, problem := parseAuthorization([]string{value}); problem != "" || digest != token.Digest() {
			t.Errorf("%.7s…: got %q and another digest: %t", value, problem, digest != token.Digest())
		}
	}
	if digest, problem := parseAuthorization([]string{"Bearer " + old}); problem != "" || digest != sha256.Sum256([]byte(old)) {
		t.Errorf("an earlier prefix: got %q, want no problem", problem)
	}

	for name, values := range map[string][]string{
		"none":      nil,
		"no values": {},
	} {
		if digest, problem := parseAuthorization(values); problem != Missing || digest != (apikey.Digest{}) {
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
		"prefix in another case":  {"Bearer " + "AGK" + s[3:]},
		"longer than any token":   {"Bearer " + strings.Repeat("a", 1<<14)},
	} {
		if digest, problem := parseAuthorization(values); problem != Malformed || digest != (apikey.Digest{}) {
			t.Errorf("%s: got %q, want %q", name, problem, Malformed)
		}
	}
}

func TestParseAuthorization_allocatesNothing(t *testing.T) {
	values := []string{"Bearer " + apikey.NewToken(apikey.DefaultPrefix).Reveal()}
	if got := testing.AllocsPerRun(100, func() { parseAuthorization(values) }); got != 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
}

// bearer is a second definition of the header's syntax. What is a token is left to
// apikey.ParseToken, which has a model of its own.
var bearer = regexp.MustCompile(`\A[Bb][Ee][Aa][Rr][Ee][Rr] (\w{52,70})\z`)

func FuzzParseAuthorization(f *testing.F) {
	const token = "agk_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg3a2L9p"
	f.Add(uint8(0), "", "")
	f.Add(uint8(1), "Bearer "+token, "")
	f.Add(uint8(1), "bearer  "+token, "")
	f.Add(uint8(1), "Bearer", "")
	f.Add(uint8(2), "Bearer "+token, "Basic eDp5")
	f.Fuzz(func(t *testing.T, n uint8, one, two string) {
		values := []string{one, two}[:n%3]
		var want apikey.Digest
		wantProblem := Malformed
		if len(values) == 0 {
			wantProblem = Missing
		}
		if len(values) == 1 {
			if match := bearer.FindStringSubmatch(one); match != nil {
				if _, ok := apikey.ParseToken(match[1]); ok {
					want, wantProblem = sha256.Sum256([]byte(match[1])), ""
				}
			}
		}
		if got, problem := parseAuthorization(values); problem != wantProblem || got != want {
			t.Errorf("parseAuthorization(%q) = %x, %q, want %x, %q", values, got, problem, want, wantProblem)
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
