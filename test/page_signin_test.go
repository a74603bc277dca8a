package test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// Where the mount has a token, the page asks for it once, and keeps it nowhere.
func TestPage_signIn(t *testing.T) {
	t.Parallel()
	const token = "an-admin-token-of-the-test"
	s := start(t, pageConfig)
	s.Create("acme", "Zapier production", "read_only")
	b := newTab(t)
	b.open(s.origin() + "/token/")
	b.sees("Sign in", "Admin token")
	for _, wrong := range []struct{ token, said string }{
		{"not-" + token, "This is not the admin token"},
		{"Grüße", "A token contains only plain characters, and no spaces"},
		{"", "A token contains only plain characters, and no spaces"},
	} {
		b.fill("Admin token", wrong.token)
		b.click("button", "Sign in")
		b.wantFieldError("Admin token", wrong.said)
	}
	b.fill("Admin token", token)
	b.click("button", "Sign in")

	b.sees("Choose a workspace")
	b.fill("Workspace", "../acme")
	b.click("button", "Open")
	b.wantFieldError("Workspace", "An id has 1 to 64 characters")
	b.fill("Workspace", "acme")
	b.keys(enter)
	b.sees("Zapier production")
	b.click("link", "Change")
	b.sees("Choose a workspace")
	b.fill("Workspace", "globex")
	b.keys(enter)
	b.sees("No keys yet")

	b.wantNothingKept(token)
	b.do(chromedp.Reload())
	b.sees("Sign in")
	b.fill("Admin token", token)
	b.keys(enter)
	b.sees("No keys yet")
	b.click("button", "Sign out")
	b.sees("Admin token")
	b.calm(s.origin(), token)
}

// wantFieldError waits until a field says what is wrong with it, and has the focus.
func (b *tab) wantFieldError(name, words string) {
	b.t.Helper()
	b.sees(words)
	b.wantFocus("input", name)
	const described = `(({ariaInvalid, ariaDescribedByElements: by}) => ariaInvalid + " " + by[0].innerText)(document.activeElement)`
	if got := eval[string](b, described); !strings.HasPrefix(got, "true "+words) {
		b.t.Errorf("%s: got it described as %q, want it invalid, with %q first", name, got, words)
	}
}

// A mount that is pinned shows its workspace, whatever the address names.
func TestPage_pinned(t *testing.T) {
	t.Parallel()
	s := start(t, pageConfig)
	s.Create("acme", "Zapier production", "read_only")
	s.Create("globex", "Warehouse sync", "read_only")
	b := newTab(t)
	for _, address := range []string{"", "#/globex", "#/globex/activity", "#/../globex", "#/acme"} {
		b.open("about:blank")
		b.open(s.origin() + "/pinned/" + address)
		b.sees("Zapier production")
		b.misses("globex")
		b.misses("Change")
		if got := eval[string](b, `location.hash`); got != "#/acme" {
			t.Errorf("%s: got to %s, want #/acme", address, got)
		}
	}
	b.open(s.origin() + "/nobody/")
	b.sees("You have no workspace here")
	b.calm(s.origin())
}

// What a page of another origin sends changes nothing, though the mount asks for
// no token, and it cannot put the page into a frame.
func TestPage_foreignOrigin(t *testing.T) {
	t.Parallel()
	s := start(t, pageConfig)
	key, _ := s.Create("acme", "Zapier production", "read_only")
	api := s.page() + "workspaces/acme/keys"
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><title>Foreign</title>
			<iframe name=frame src="%s"></iframe><iframe name=answer></iframe>
			<form method=post target=answer enctype=text/plain action="%s"><input name='{"name":"Forged","preset":"read_only","owner":"' value='"}'></form>`, s.page(), api)
	}))
	t.Cleanup(foreign.Close)

	b := newTab(t)
	b.open(foreign.URL)
	framed := eval[string](b, `(() => { try { return String(frames.frame.document.body?.innerText) } catch (refusal) { return refusal.name } })()`)
	if framed != "SecurityError" && framed != "" && framed != "undefined" {
		t.Errorf("got %q in a frame, want nothing to be seen", framed)
	}
	b.wantTrouble("frame-ancestors")

	eval[any](b, fmt.Sprintf(`(async () => {
		const body = '{"name":"Forged","preset":"read_only"}';
		for (const url of [%[1]q, %[1]q + "/%[2]s/revoke", %[1]q.replace("keys", "suspend")]) {
			for (const mode of ["no-cors", "cors"]) {
				for (const type of ["text/plain", "application/json", "application/x-www-form-urlencoded"]) {
					await fetch(url, {method: "POST", mode, body, headers: {"Content-Type": type}}).catch(() => {});
				}
			}
		}
		const answered = new Promise((done) => { frames.answer.frameElement.onload = done });
		document.forms[0].submit();
		await answered;
	})()`, api, key.ID))
	keys, err := s.Keys().ListKeys(t.Context(), "acme", client.ListOptions{})
	must(t, err)
	if len(keys.Keys) != 1 || keys.Keys[0].Status != "active" {
		t.Errorf("got the keys %+v, want the one there was, active", keys.Keys)
	}
	if got := s.events("acme"); len(got) != 1 {
		t.Errorf("got %d events, want one, of the key's creation", len(got))
	}
}

// wantTrouble waits until the browser has complained of something.
func (b *tab) wantTrouble(about string) {
	b.t.Helper()
	b.await("the browser to complain of "+about, func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		if !strings.Contains(strings.Join(b.troubles, "\n"), about) {
			return fmt.Errorf("it complains of %q", b.troubles)
		}
		return nil
	})
}

const enter = "\r"
