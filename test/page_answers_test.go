package test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// oddConfig is pageConfig, with something in front of the API that answers for it
// in some workspaces.
var oddConfig = strings.Replace(pageConfig, "\thandle /settings/api* {", `	handle /settings/api/workspaces/array/keys {
		header Content-Type application/json
		respond "[]"
	}
	handle /settings/api/workspaces/empty/keys {
		header Content-Type application/json
		respond "{}"
	}
	handle /settings/api/workspaces/hollow/keys {
		header Content-Type application/json
		respond `+"`"+`{"keys":[{}],"next_cursor":null}`+"`"+`
	}
	handle /settings/api/workspaces/inherited/audit {
		header Content-Type application/json
		respond `+"`"+`{"events":[{"id":"evt_01M85PQ44JFFT5BNTK7PKTQJY2","at":"2026-11-24T02:38:48.466Z","actor":"constructor",
			"remote_ip":"","operation":"constructor","workspace_id":"inherited","key_id":"","details":{"refused":"toString"}}],"next_cursor":null}`+"`"+`
	}
	handle /settings/api* {`, 1)

// TestPage_oddAnswers verifies that an answer which the page does not expect is said to be
// one, and leaves nothing waiting.
func TestPage_oddAnswers(t *testing.T) {
	t.Parallel()
	s := start(t, oddConfig)
	tests := []struct{ address, sees string }{
		{"array", "The server responded with the unexpected status 200"},
		{"empty", "The server responded with the unexpected status 200"},
		{"hollow", "This page cannot display the server's response"},
		{"inherited/activity", "constructor tried “constructor”"},
	}
	for _, test := range tests {
		t.Run(test.address, func(t *testing.T) {
			b := newTab(t)
			b.open(s.page() + "#/" + test.address)
			b.sees(test.sees)
			b.misses("Loading")
		})
	}
}

// behind makes a call about a key answer that a gateway has not confirmed it.
func behind(call, replaced string) string {
	return "\thandle /settings/api/workspaces/acme/keys/*/" + call + ` {
		header Content-Type application/json
		respond ` + "`" + `{"key":{"name":"Zapier","workspace_id":"acme"},"token":"agk_0000000000000000000000000000000000000000000000000","replaced":{"status":"` + replaced + `"},
			"propagation":{"state":"pending","revision":7,"gateways":2,"waited_ms":900,"behind":["eu-2"]}}` + "`" + `
	}
`
}

// wantBehind holds that the page says which gateway has not confirmed that a key was
// revoked, until the reader has seen it.
func wantBehind(b *tab, key client.Key) {
	b.t.Helper()
	b.sees("have not confirmed yet that these keys were revoked: Zapier production ("+key.TokenHint+")", "eu-2")
	b.click("button", "Close")
	b.misses("eu-2")
}

// TestPage_behind verifies that a key is not called revoked everywhere while a gateway of
// the fleet has not confirmed it.
func TestPage_behind(t *testing.T) {
	t.Parallel()
	s := start(t, strings.Replace(pageConfig, "\thandle /settings/api* {", behind("revoke", "active")+behind("rotate", "revoked")+"\thandle /settings/api* {", 1))
	key, _ := s.Create("acme", "Zapier production", "read_only")
	b := newCopier(t, s.origin())
	b.open(s.page() + "#/acme/keys/" + key.ID)
	b.click("button", "Revoke")
	b.click("button", "Revoke key")
	wantBehind(b, key)
	b.click("button", "Rotate")
	b.choose("The old key", "is revoked immediately, because it leaked")
	b.click("button", "Create the replacement")
	b.copyToken()
	b.click("button", "Done")
	wantBehind(b, key)

	// A replaced key that keeps working has not been revoked anywhere.
	_, err := s.Reload(strings.Replace(pageConfig, "\thandle /settings/api* {", behind("rotate", "active")+"\thandle /settings/api* {", 1))
	must(t, err)
	b.click("button", "Rotate")
	b.click("button", "Create the replacement")
	b.copyToken()
	b.click("button", "Done")
	b.sees("Last used")
	b.misses("eu-2")
	b.calm(s.origin())
}

// TestPage_suspended verifies that no key of a suspended workspace looks usable.
func TestPage_suspended(t *testing.T) {
	t.Parallel()
	s := start(t, pageConfig)
	key, _ := s.Create("acme", "Zapier production", "read_only")
	s.Post("/workspaces/acme/suspend")
	b := newTab(t)
	b.open(s.page() + "#/acme")
	b.sees("This workspace is suspended")
	row := `document.querySelector("tbody tr .state").innerText`
	if got := eval[string](b, row); !strings.Contains(got, "Suspended") || strings.Contains(got, "Active") {
		t.Errorf("got the status %q in the list, want Suspended", got)
	}
	b.open(s.page() + "#/acme/keys/" + key.ID)
	b.sees("Last used")
	badges := `document.querySelector("h1 + .badges").innerText`
	if got := eval[string](b, badges); !strings.Contains(got, "Suspended") || strings.Contains(got, "Active") {
		t.Errorf("got the status %q of the key, want Suspended", got)
	}
}

// TestPage_endOfRotated verifies that a key which is revoked before it expires is listed
// with the end that comes first.
func TestPage_endOfRotated(t *testing.T) {
	t.Parallel()
	s := furnished(t)
	b := newTab(t)
	b.open(s.page() + "#/acme")
	b.sees("Warehouse sync production Ops")
	ends := `[...[...document.querySelectorAll("tbody tr")].find((row) => row.innerText.includes("rotated")).querySelectorAll("[data-label=Expires], .state")]`
	got := eval[string](b, ends+`.map((cell) => cell.innerText).join(" ")`)
	if !strings.Contains(got, "Being rotated, ends in 5 days") || strings.Count(got, "in 5 days") != 2 || strings.Contains(got, "in 30 days") {
		t.Errorf("got the end and the status %q, want no other end than in 5 days", got)
	}
}

// TestPage_tryCommand verifies that the command which tries a new key works, asks for the
// token, and does not hold it; and that a page on paper does not hold it either.
func TestPage_tryCommand(t *testing.T) {
	t.Parallel()
	s := start(t, pageConfig)
	b := newCopier(t, s.origin())
	b.open(s.page() + "#/acme")
	b.click("button", "Create key")
	b.fill("Name", "Zapier production")
	b.click("button", "Create key")
	b.sees("Copy the token of “Zapier production” in acme")
	token := b.copyToken()

	command := eval[string](b, `document.querySelector("#command").textContent`)
	if strings.Contains(command, token) {
		t.Errorf("the command %q holds the token", command)
	}
	shell := exec.CommandContext(t.Context(), "bash", "-c", command)
	shell.Stdin = strings.NewReader(token + "\n")
	if out, err := shell.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	if got := s.Upstream.Take(); len(got) != 1 || !strings.HasPrefix(got[0].Head, "GET /public/v1/me ") {
		t.Errorf("got %d requests upstream, want one for /public/v1/me", len(got))
	}

	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"})
	must(t, err)
	if got := eval[string](b, `document.body.innerText`); strings.Contains(got, token) || !strings.Contains(got, "Copy the token of") {
		t.Errorf("got %q on paper, want the dialog without the token", got)
	}
}

// TestPage_ended verifies that nobody seems to be signed in once the sign-in in front of
// the page wants another one.
func TestPage_ended(t *testing.T) {
	t.Parallel()
	s := start(t, pageConfig)
	b := newTab(t)
	b.open(s.page() + "#/acme")
	b.sees("No keys yet", "dana@acme.example")
	signedOut := strings.Replace(pageConfig, "\thandle /settings/api* {", "\tredir /settings/api/workspaces* /login\n\thandle /settings/api* {", 1)
	if out, err := s.Reload(signedOut); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b.look()
	b.sees("You have been signed out")
	b.misses("dana@acme.example")
}
