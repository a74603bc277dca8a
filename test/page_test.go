package test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// gateway returns a client of the public API.
func (s *server) gateway() gatewaytest.Client {
	return gatewaytest.Client{Name: "HTTP/1.1", Base: s.origin(), Client: http.DefaultClient}
}

// wantGateway asks the public API with a token.
func (s *server) wantGateway(token string, status int) {
	s.T.Helper()
	if got := s.gateway().Send(s.T, "GET", "/public/v1/contacts", nil, "Authorization", "Bearer "+token); got.Status != status {
		s.T.Errorf("the gateway: got %d %s, want %d", got.Status, got.Body, status)
	}
}

// TestPage is a key's whole life on the page: created, copied, used, rotated,
// revoked, and told of in the activity.
func TestPage(t *testing.T) {
	t.Parallel()
	s := start(t, pageConfig)
	b := newCopier(t, s.origin())
	b.open(s.page() + "#/acme")
	b.sees("No keys yet")

	b.click("button", "Create key")
	b.fill("Name", "Zapier production")
	b.fill("Owner", "Ops")
	if got := eval[string](b, `document.querySelector("[name=preset]:checked").value`); got != "read_only" {
		t.Errorf("got the preset %q offered first, want read_only", got)
	}
	b.click("radio", "Full access")
	b.click("button", "Create key")
	token := b.copyToken()
	b.sees(token, "curl -H @-", s.origin()+"/public/v1/me")
	b.click("button", "Done")

	b.sees("Zapier production Ops Full access", "Never", "in 90 days")
	if strings.Contains(eval[string](b, `document.documentElement.outerHTML`), token) {
		t.Error("the token is still in the page, after its dialog was closed")
	}
	s.wantGateway(token, http.StatusOK)

	b.click("link", "Zapier production")
	b.sees("First used", "Last used")
	b.sees("ago")
	b.click("button", "Rotate")
	b.fill("Name of the replacement", "Zapier production 2")
	b.click("button", "Create the replacement")
	next := b.copyToken()
	b.click("button", "Done")
	b.sees("Being rotated", "Create a replacement", "The new key has not been used yet")
	s.wantGateway(next, http.StatusOK)
	b.sees("The new key was first used", "The new token has been used")
	s.wantGateway(token, http.StatusOK)

	b.click("button", "Revoke the old key")
	b.sees("Every request with Zapier production", "It is in use", "Its owner is Ops")
	if got := b.text(); !regexp.MustCompile(`last used [^.]* ago from (127\.0\.0\.1|::1)\.`).MatchString(got) {
		t.Errorf("got %q, want it to say who used the key last", got)
	}
	b.fill("Reason", "Switched over")
	b.click("button", "Revoke key")
	b.sees("was revoked", "It cannot be reactivated", "Switched over")
	s.wantGateway(token, http.StatusUnauthorized)
	s.wantGateway(next, http.StatusOK)

	b.click("link", "Activity")
	b.sees(
		"dana@acme.example revoked Zapier production", "Reason: Switched over",
		"dana@acme.example rotated Zapier production",
		"dana@acme.example created Zapier production", "(Full access)",
	)
	b.calm(s.origin(), token, next)
	b.wantNothingKept(token, next)
}

// mayCopy lets the page use the clipboard, as a person would when asked.
func (b *tab) mayCopy(origin string) {
	b.t.Helper()
	b.allow(origin, "clipboard-read", "clipboard-write")
}

// copyToken copies the token that is shown, and returns what was copied.
func (b *tab) copyToken() string {
	b.t.Helper()
	b.sees("Copy the token of")
	b.click("button", "Copy token")
	b.sees("Copied")
	token := eval[string](b, `navigator.clipboard.readText()`)
	if len(token) != 53 || !strings.HasPrefix(token, "agk_") {
		b.t.Fatalf("got %q copied, want a token", token)
	}
	return token
}

// wantNothingKept holds that the browser kept nothing of tokens.
func (b *tab) wantNothingKept(tokens ...string) {
	b.t.Helper()
	kept := eval[string](b, `(async () => JSON.stringify([
		{...localStorage}, {...sessionStorage}, document.cookie, location.href, history.state,
		await indexedDB.databases(), await navigator.serviceWorker?.getRegistrations(), await globalThis.caches?.keys(),
	]))()`)
	for _, token := range tokens {
		if strings.Contains(kept, token) {
			b.t.Errorf("the browser keeps a token: %s", kept)
		}
	}
	if want := `[{},{},"",`; !strings.HasPrefix(kept, want) {
		b.t.Errorf("got %s kept, want nothing", kept)
	}
	entries, err := chromedp.Run(b.ctx, chromedp.NavigationEntries())
	must(b.t, err)
	for _, entry := range entries.Entries {
		for _, token := range tokens {
			if strings.Contains(entry.URL+entry.Title, token) {
				b.t.Errorf("the history keeps a token: %s", entry.URL)
			}
		}
	}
}

// A token that was not saved is not lost to a slip, and is shown once: not after
// a reload, not after going back, and in no other tab.
func TestPage_tokenOnce(t *testing.T) {
	t.Parallel()
	s := start(t, pageConfig)
	b := newCopier(t, s.origin())
	create := func(name string) string {
		t.Helper()
		b.click("button", "Create key")
		b.fill("Name", name)
		b.click("button", "Create key")
		b.sees("Copy the token of")
		return eval[string](b, `document.querySelector("#token").textContent`)
	}
	b.open(s.page() + "#/acme/activity")
	b.sees("Nothing has happened yet")
	b.click("link", "Keys")

	first := create("Zapier production")
	for _, slip := range []func(){
		func() { b.keys(escape) },
		func() { b.keys(escape, escape) },
		func() { b.click("button", "Done") },
		func() { eval[any](b, `void history.back()`) },
	} {
		slip()
		b.sees("You have not copied the token yet", first)
		b.click("button", "Keep it open")
		b.misses("You have not copied the token yet")
	}

	other := b.another()
	other.open(s.page() + "#/acme")
	other.sees("Zapier production")
	other.misses(first)

	b.do(chromedp.Reload())
	b.sees("Activity")
	b.misses(first)
	if b.asked() != 1 {
		t.Errorf("the browser asked %d times whether to leave the page, want once", b.asked())
	}

	b.click("link", "Keys")
	second := create("Warehouse sync")
	b.click("button", "Copy token")
	b.sees("Copied")
	b.open(s.origin() + "/elsewhere")
	b.do(chromedp.NavigateBack())
	b.sees("Warehouse sync")
	b.misses(second)
	if b.asked() != 1 {
		t.Errorf("the browser asked again, although the token was copied")
	}
}

// Whatever a name holds, it is text.
func TestPage_hostileNames(t *testing.T) {
	t.Parallel()
	names := []string{
		`<script>alert(1)</script>`, `<img src=x onerror=alert(1)>`, `"><svg onload=alert(1)>`, `=cmd()`, `{env.HOME}`,
		`{{.Host}} ${7*7} <%= 7*7 %>`, `{file./etc/passwd}`, `javascript:alert(1)`, `__proto__`, `constructor`, `עברית مفتاح`,
		`**bold** &amp; <b>`, strings.Repeat("W", 80), `a%2Fb?c#d`,
	}
	s := start(t, pageConfig)
	for _, name := range names {
		_, err := s.Keys().CreateKey(t.Context(), "acme", client.CreateRequest{Name: name, Owner: name, Preset: "read_only"})
		must(t, err)
	}
	b := newTab(t)
	b.open(s.page() + "#/acme")
	b.sees(names...)
	b.click("link", "Activity")
	b.sees(names...)
	for _, name := range names {
		b.click("link", "Keys")
		b.click("link", name)
		b.sees("All keys", "Rename")
		if got := squeezed(eval[string](b, `document.querySelector("h1").innerText`)); got != name {
			t.Errorf("got the heading %q, want %q", got, name)
		}
		b.click("button", "Revoke")
		b.sees("Every request with " + name)
		b.click("button", "Cancel")
	}
	if n := eval[int](b, `document.querySelectorAll("script, img, svg[onload]").length`); n != 1 {
		t.Errorf("got %d scripts and pictures on the page, want its one script", n)
	}
	b.calm(s.origin())
}

// Two tabs tell the same, and one that is behind is told why it is refused.
func TestPage_twoTabs(t *testing.T) {
	t.Parallel()
	s := start(t, pageConfig)
	s.Create("acme", "Zapier production", "read_only")
	one := newTab(t)
	one.open(s.page() + "#/acme")
	one.click("link", "Zapier production")
	one.click("button", "Rotate")
	one.sees("Rotate “")

	two := one.another()
	two.open(s.page() + "#/acme")
	two.click("link", "Zapier production")
	two.click("button", "Revoke")
	two.click("button", "Revoke key")
	two.sees("It cannot be reactivated")

	one.click("button", "Create the replacement")
	one.sees("This key is no longer active")
	one.click("button", "Cancel")
	eval[any](one, `void document.dispatchEvent(new Event("visibilitychange"))`)
	one.sees("It cannot be reactivated")
	one.calm(s.origin())
	two.calm(s.origin())
}

// The page says that the server is gone, does not take silence for success, and continues
// by itself when the server is back.
func TestPage_serverGone(t *testing.T) {
	t.Parallel()
	s := start(t, pageConfig)
	s.Create("acme", "Zapier production", "read_only")
	b := newTab(t)
	b.open(s.page() + "#/acme")
	b.sees("Zapier production")
	b.click("button", "Create key")
	b.fill("Name", "Warehouse sync")
	s.Stop()

	b.click("button", "Create key")
	b.sees("this may or may not have been done")
	b.click("button", "Cancel")
	b.sees("The server is not responding", "Zapier production")
	s.restart(pageConfig)
	b.sees("The server is responding again")
	b.misses("The server is not responding")
	b.click("button", "Create key")
	b.fill("Name", "Warehouse sync")
	b.click("button", "Create key")
	b.sees("Copy the token of")
}

// A replacement that is gone replaces nothing: the key continues alone, and can be rotated
// again.
func TestPage_failedRotation(t *testing.T) {
	t.Parallel()
	s := start(t, pageConfig)
	key, _ := s.Create("acme", "Zapier production", "read_only")
	lost, err := s.Keys().RotateKey(t.Context(), "acme", key.ID, client.RotateRequest{})
	must(t, err)
	s.Revoke(lost.Key)
	b := newTab(t)
	b.open(s.page() + "#/acme")
	b.sees("Zapier production No owner Read only")
	b.misses("Being rotated")
	b.open(s.page() + "#/acme/keys/" + key.ID)
	b.sees("Its replacement was revoked, so this key no longer has one")
	b.misses("Put the new token into the system")
	b.click("button", "Rotate")
	b.click("button", "Create the replacement")
	b.sees("Copy the token of")
	b.calm(s.origin())
}
