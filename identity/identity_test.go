package identity_test

import (
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/identity"
)

var ours = identity.NewHeaders(identity.WorkspaceHeader, identity.KeyIDHeader, identity.AccessHeader, identity.AssertionHeader)

func TestHeaders_Match(t *testing.T) {
	for _, name := range []string{
		"X-Workspace-ID", "X-Workspace-Id", "x-workspace-id", "X-WORKSPACE-ID", "x-wOrKsPaCe-Id",
		"X_Workspace_ID", "X-Workspace_ID", "X_Workspace-ID", "X.Workspace.ID", "X.Workspace_ID", "HTTP_X_WORKSPACE_ID"[5:],
		"X!Workspace#ID", "X$Workspace%ID", "X&Workspace'ID", "X*Workspace+ID", "X^Workspace`ID", "X|Workspace~ID",
		"X Workspace ID",
		"X-API-Key-ID", "x_api_key.id", "X-Api-Key-Access", "X-API-KEY-ASSERTION",
	} {
		if !ours.Match(name) {
			t.Errorf("Match(%q) = false, want true", name)
		}
	}
	for _, name := range []string{
		"", "X", "Workspace-ID", "X-Workspace-I", "X-Workspace-IDs", "X-Workspace--ID", "XWorkspaceID", "-X-Workspace-ID",
		"X-Workspace-1D", "X-Worksρace-ID", "X-Workspace-İD", "X-Workspace-\u0130", "XXWorkspace-ID", "X0Workspace0ID",
		"X-API-Key", "X-API-Key-IO", "Connection", "Authorization",
	} {
		if ours.Match(name) {
			t.Errorf("Match(%q) = true, want false", name)
		}
	}
	if (identity.Headers{}).Match("X-Workspace-ID") || (identity.Headers{}).Match("") {
		t.Error("the zero set matches something")
	}
}

// Names are excluded by length; all longer ones share one index.
func TestHeaders_Match_longNames(t *testing.T) {
	lengths := []int{1, 62, 63, 64, 65, 100, 127, 128, 1000}
	for _, n := range lengths {
		name := "X-" + strings.Repeat("y", n)
		name = name[:n]
		h := identity.NewHeaders(name)
		for _, m := range lengths {
			other := ("x_" + strings.Repeat("Y", m))[:m]
			if got, want := h.Match(other), m == n; got != want {
				t.Errorf("a set of a name of %d bytes matches one of %d: %t, want %t", n, m, got, want)
			}
		}
	}
}

func TestHeaders_Strip_fields(t *testing.T) {
	forged := []string{
		"X-Workspace-Id", "X-Workspace-ID", "x-workspace-id", "X_workspace_id", "X.Workspace.ID", "X-Workspace_Id",
		"X-Api-Key-Id", "X-Api-Key-Access", "X-Api-Key-Assertion",
	}
	kept := http.Header{
		"Accept": {"*/*"}, "X-Workspace": {"a"}, "Cookie": {"X-Workspace-ID=evil"}, "Authorization": {"Bearer x"},
		"Connection": {"close"},
	}
	r := &http.Request{Header: maps.Clone(kept)}
	for _, name := range forged {
		r.Header[name] = []string{"evil", "", "twice"}
	}
	if !ours.Strip(r) {
		t.Error("got false, want true: fields were removed")
	}
	checkHeader(t, r.Header, kept)
	if ours.Strip(r) {
		t.Error("got true, want false: nothing was left to remove")
	}
	checkHeader(t, r.Header, kept)

	for _, name := range forged {
		for _, values := range [][]string{nil, {}, {""}} {
			r := &http.Request{Header: http.Header{name: values}}
			if !ours.Strip(r) || len(r.Header) != 0 {
				t.Errorf("%s: %q is still there", name, values)
			}
		}
	}
	if ours.Strip(&http.Request{}) {
		t.Error("a request without a header lost a field")
	}
}

func TestHeaders_Strip_connection(t *testing.T) {
	cases := []struct {
		name     string
		in, want []string
	}{
		{"nothing to remove", []string{"close"}, []string{"close"}},
		{"untouched, however odd", []string{" ,Upgrade ,, keep-alive", ""}, []string{" ,Upgrade ,, keep-alive", ""}},
		{"no value", []string{}, []string{}},
		{"ours alone", []string{"X-Workspace-ID"}, nil},
		{"ours alone, in several lines", []string{"x-workspace-id", "X_API_Key_ID"}, nil},
		{"ours and nothing", []string{",X-Workspace-ID, ,"}, nil},
		{"all of ours", []string{"X-Workspace-ID, X-API-Key-ID, X-API-Key-Access, X-API-Key-Assertion"}, nil},
		{"odd case", []string{"close, x-wOrKsPaCe-iD"}, []string{"close"}},
		{"odd spelling", []string{"close, X.Workspace_ID"}, []string{"close"}},
		{"odd spaces", []string{"\t close\t,X-Workspace-ID \t"}, []string{"close"}},
		{"no spaces", []string{"Upgrade,X-Workspace-ID,HTTP2-Settings"}, []string{"Upgrade, HTTP2-Settings"}},
		{"before Upgrade", []string{"X-Workspace-ID, Upgrade"}, []string{"Upgrade"}},
		{"after keep-alive", []string{"keep-alive, X-Workspace-ID"}, []string{"keep-alive"}},
		{"in lines of their own", []string{"Upgrade", "X-Workspace-ID", "keep-alive"}, []string{"Upgrade, keep-alive"}},
		{"spread over lines", []string{"Upgrade, X-Workspace-ID", "x-api-key-id, close"}, []string{"Upgrade, close"}},
		{"repeated", []string{"X-Workspace-ID, X-Workspace-ID, close, X-Workspace-ID"}, []string{"close"}},
		{"another's, twice", []string{"X-Other, X-Workspace-ID, X-Other"}, []string{"X-Other, X-Other"}},
		{"spaces that HTTP knows not", []string{"\u00a0a\u00a0, X-Workspace-ID, \v"}, []string{"\u00a0a\u00a0, \v"}},
	}
	for _, c := range cases {
		r := &http.Request{Header: http.Header{"Connection": slices.Clone(c.in)}}
		if ours.Strip(r) {
			t.Errorf("%s: got true, want false: no field was removed", c.name)
		}
		got, found := r.Header["Connection"]
		if !slices.Equal(got, c.want) || found != (c.want != nil) {
			t.Errorf("%s: got %q (%t), want %q", c.name, got, found, c.want)
		}
	}
}

// Clones of a request, such as the one that Caddy keeps for its log, share the
// slices of values.
func TestHeaders_Strip_leavesSharedValuesAlone(t *testing.T) {
	connection := []string{"Upgrade, X-Workspace-ID", "close"}
	workspace := []string{"evil"}
	r := &http.Request{
		Header:  http.Header{"Connection": connection, "X-Workspace-Id": workspace},
		Trailer: http.Header{"X-Workspace-Id": workspace},
	}
	shallow := *r
	shallow.Header = maps.Clone(r.Header)

	ours.Strip(r)

	checkHeader(t, r.Header, http.Header{"Connection": {"Upgrade, close"}})
	checkHeader(t, shallow.Header, http.Header{"Connection": {"Upgrade, X-Workspace-ID", "close"}, "X-Workspace-Id": {"evil"}})
	checkHeader(t, shallow.Trailer, http.Header{"X-Workspace-Id": {"evil"}})
	if connection[0] != "Upgrade, X-Workspace-ID" || connection[1] != "close" || workspace[0] != "evil" {
		t.Errorf("shared values were changed: %q, %q", connection, workspace)
	}
}

func checkHeader(t *testing.T, got, want http.Header) {
	t.Helper()
	if !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// connectionTokens parses Connection as the reverse proxies of net/http and Caddy
// do before they delete the fields it names.
func connectionTokens(values []string) []string {
	var tokens []string
	for _, value := range values {
		for token := range strings.SplitSeq(value, ",") {
			if token = textproto.TrimString(token); token != "" {
				tokens = append(tokens, token)
			}
		}
	}
	return tokens
}

// looksOurs is a second definition of the set: by the variable in which a less
// careful CGI would find the field.
func looksOurs(name string) bool {
	variable := strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' {
			return r
		}
		return '_'
	}, asciiUpper(name))
	return slices.Contains([]string{"X_WORKSPACE_ID", "X_API_KEY_ID", "X_API_KEY_ACCESS", "X_API_KEY_ASSERTION"}, variable)
}

func asciiUpper(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - ' '
		}
	}
	return string(b)
}

func FuzzStripConnection(f *testing.F) {
	f.Add("close", "X-Workspace-ID")
	f.Add("Upgrade, x_workspace.id", "keep-alive,\tX-API-KEY-ACCESS ,")
	f.Add(" ,,", "")
	f.Add("\u00a0X-Workspace-ID", "\vX-API-Key-ID")
	f.Add("X-Workspace-ID\x00", "X-Workspace-ID\r\n")
	f.Fuzz(func(t *testing.T, one, two string) {
		in := []string{one, two}
		shared := slices.Clone(in)
		r := &http.Request{Header: http.Header{"Connection": shared}}
		ours.Strip(r)
		if !slices.Equal(shared, in) {
			t.Fatalf("the shared values %q became %q", in, shared)
		}
		got := r.Header["Connection"]
		before, after := connectionTokens(in), connectionTokens(got)
		if want := slices.DeleteFunc(slices.Clone(before), looksOurs); !slices.Equal(after, want) {
			t.Errorf("Connection %q became %q: got the tokens %q, want %q", in, got, after, want)
		}
		if !slices.ContainsFunc(before, looksOurs) && !slices.Equal(got, in) {
			t.Errorf("Connection %q became %q, want it untouched", in, got)
		}
	})
}

func BenchmarkStrip(b *testing.B) {
	r := &http.Request{Header: http.Header{
		"Accept": {"*/*"}, "Accept-Encoding": {"gzip"}, "Authorization": {"Bearer x"}, "Connection": {"keep-alive"},
		"Content-Type": {"application/json"}, "User-Agent": {"curl/8"}, "X-Request-Id": {"1"}, "X-Other": {"2"},
	}}
	b.ReportAllocs()
	for b.Loop() {
		ours.Strip(r)
	}
}
