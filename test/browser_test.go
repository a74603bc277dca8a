package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// browserConfig has a mount that refuses browsers, one that does so although
// the site answers preflights itself, and two that allow them. The pages come
// from the same origin.
const browserConfig = `{
	admin {{.Admin}}
	skip_install_trust
	api_keys {
		store badger {
			path {{.Store}}
		}
	}
}
(cors) {
	header Access-Control-Allow-Origin *
	header Access-Control-Allow-Headers authorization
	header Access-Control-Allow-Methods "GET, PUT"
	@preflight method OPTIONS
	respond @preflight 204
}
http://{{.Plain}}, https://{{.Secure}} {
	tls internal
	log
	handle /page* {
		reverse_proxy PAGES
	}
	handle /refuse/* {
		api_key_auth
		reverse_proxy {{.Upstream}}
	}
	handle /refuse-cors/* {
		route {
			import cors
			api_key_auth
			reverse_proxy {{.Upstream}}
		}
	}
	handle /allow/* {
		api_key_auth {
			browsers allow
		}
		reverse_proxy {{.Upstream}}
	}
	handle /allow-cors/* {
		route {
			import cors
			api_key_auth {
				browsers allow
			}
			reverse_proxy {{.Upstream}}
		}
	}
}
`

// pageFetch is one fetch of a page, and what it must come to.
type pageFetch struct {
	mount  string
	method string
	token  bool
	// outcome is what the page learns: a status, or "TypeError" where the
	// browser keeps the answer from it.
	outcome string
	// seen is what the gateway judges, in order: the method and the result.
	seen []string
}

var (
	sameOrigin = []pageFetch{
		{"/refuse", "GET", false, "401", []string{"GET missing"}},
		{"/refuse", "POST", false, "401", []string{"POST missing"}},
		{"/refuse", "GET", true, "403", []string{"GET browser"}},
		{"/refuse", "PUT", true, "403", []string{"PUT browser"}},
		{"/allow", "GET", false, "401", []string{"GET missing"}},
		{"/allow", "GET", true, "200", []string{"GET allowed"}},
		{"/allow", "PUT", true, "200", []string{"PUT allowed"}},
	}
	otherOrigin = []pageFetch{
		{"/refuse", "GET", false, "TypeError", []string{"GET missing"}},
		{"/refuse", "POST", false, "TypeError", []string{"POST missing"}},
		{"/refuse", "GET", true, "TypeError", []string{"OPTIONS preflight"}},
		{"/refuse", "PUT", true, "TypeError", []string{"OPTIONS preflight"}},
		{"/refuse-cors", "GET", true, "403", []string{"OPTIONS ", "GET browser"}},
		{"/refuse-cors", "PUT", true, "403", []string{"OPTIONS ", "PUT browser"}},
		{"/allow", "GET", true, "TypeError", []string{"OPTIONS preflight"}},
		{"/allow-cors", "GET", true, "200", []string{"OPTIONS ", "GET allowed"}},
		{"/allow-cors", "PUT", true, "200", []string{"OPTIONS ", "PUT allowed"}},
	}
)

// TestBrowser runs pages in a real Chromium, from every origin that a page can
// have, and holds what becomes of what they fetch.
func TestBrowser(t *testing.T) {
	t.Parallel()
	chromium := testenv.Tool(t, "chromium")
	pages := newPages(t)
	s := newServer(t)
	s.Run(strings.Replace(browserConfig, "PAGES", pages.address, 1))
	s.AwaitReady()

	plain := "http://" + s.Plain
	tests := []struct {
		name     string
		page     string
		gateway  string
		attempts []pageFetch
	}{
		{"same-origin", plain, plain, sameOrigin},
		{"same-origin over HTTP/2", "https://" + s.Secure, "https://" + s.Secure, sameOrigin},
		{"same-site", "http://localhost:" + pages.port(), plain, otherOrigin},
		{"cross-site", "http://127.0.0.1:" + pages.port(), plain, otherOrigin},
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			key, token := s.Create("acme", fmt.Sprintf("In the code of page %d", i), "full_access")
			browsers, preflights := s.counted(`result="browser"`), s.counted(`result="preflight"`)
			s.Upstream.Take()

			var fetches []fetch
			for j, a := range test.attempts {
				f := fetch{URL: fmt.Sprintf("%s%s/%d/%d", test.gateway, a.mount, i, j), Method: a.method}
				if a.token {
					f.Token = token
				}
				fetches = append(fetches, f)
			}
			outcomes := pages.run(t, chromium, test.page, fetches)

			passed, wantBrowser, wantPreflight := 0, 0, 0
			for j, a := range test.attempts {
				what := fmt.Sprintf("%s %s, with the token: %v", a.method, a.mount, a.token)
				if outcomes[j] != a.outcome {
					t.Errorf("%s: the page got %q, want %q", what, outcomes[j], a.outcome)
				}
				if got := s.awaitSeen(fmt.Sprintf("%s/%d/%d", a.mount, i, j), len(a.seen)); !slices.Equal(got, a.seen) {
					t.Errorf("%s: the access log has %q, want %q", what, got, a.seen)
				}
				for _, seen := range a.seen {
					switch _, result, _ := strings.Cut(seen, " "); result {
					case "allowed":
						passed++
					case "browser":
						wantBrowser++
					case "preflight":
						wantPreflight++
					}
				}
			}
			received := s.Upstream.Take()
			if len(received) != passed {
				t.Errorf("the upstream received %d requests, want %d", len(received), passed)
			}
			for _, request := range received {
				if !strings.Contains(request.Head, " /allow") {
					t.Errorf("the upstream received:\n%s", request.Head)
				}
			}
			if got := s.counted(`result="browser"`) - browsers; got != wantBrowser {
				t.Errorf("got %d more requests of result browser, want %d", got, wantBrowser)
			}
			if got := s.counted(`result="preflight"`) - preflights; got != wantPreflight {
				t.Errorf("got %d more requests of result preflight, want %d", got, wantPreflight)
			}
			s.wantExposedOnce(t, key.ID)
		})
	}
}

// TestBrowser_addressBar opens an API's address as a person would: there is no
// token, so it is refused like any request without one.
func TestBrowser_addressBar(t *testing.T) {
	t.Parallel()
	chromium := testenv.Tool(t, "chromium")
	s := start(t, gatewayConfig)
	out, err := browse(t, chromium, "--dump-dom", "http://"+s.Plain+"/public/v1/typed").Output()
	if err != nil || !strings.Contains(string(out), unauthorized) {
		t.Errorf("got (%v) a page without %s:\n%s", err, unauthorized, out)
	}
	if got, want := s.awaitSeen("/public/v1/typed", 1), []string{"GET missing"}; !slices.Equal(got, want) {
		t.Errorf("the access log has %q, want %q", got, want)
	}
	entry := s.accessLog("/public/v1/typed")[0]
	if got := entry.Request.Headers.Get("Sec-Fetch-Site"); got != "none" || entry.Status != 401 {
		t.Errorf("got Sec-Fetch-Site %q and status %d, want none and 401", got, entry.Status)
	}
	s.Upstream.WantNothing(t)
}

// awaitSeen returns the method and the result of the n requests for a path.
func (s *server) awaitSeen(path string, n int) (seen []string) {
	s.T.Helper()
	s.Await("the access log of "+path, func() bool { return len(s.accessLog(path)) >= n })
	for _, entry := range s.accessLog(path) {
		seen = append(seen, entry.Request.Method+" "+entry.Result)
	}
	return seen
}

// wantExposedOnce checks that the key says that it was seen in a browser, and
// that the audit trail has exactly one event of it. Uses are noted in order:
// once a later use by another key is, all of this key's have been.
func (s *server) wantExposedOnce(t *testing.T, id string) {
	t.Helper()
	later, token := s.Create("acme", "Seen after "+id, "read_only")
	s.Clients(t)[0].Send(t, "GET", "/refuse/later", nil, "Authorization", "Bearer "+token, "Sec-Fetch-Site", "cross-site")
	exposures := func(id string) (n int) {
		for _, event := range s.events("acme") {
			if event.Operation == "expose" && event.KeyID == id {
				n++
			}
		}
		return n
	}
	s.Await("the later use to be noted", func() bool { return exposures(later.ID) > 0 })
	if got := exposures(id); got != 1 {
		t.Errorf("got %d events of the exposure of %s, want 1", got, id)
	}
	answer, err := s.Keys().ShowKey(t.Context(), "acme", id)
	if err != nil || answer.ExposedAt == nil {
		t.Errorf("got exposed_at %v (%v), want a time", answer.ExposedAt, err)
	}
}
