package test

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// canaryConfig logs all that can be logged, and has every kind of path: to the
// upstream with and without the token, answered by the gateway, answered by the
// site's error routes, and to both mounts of the admin API.
const canaryConfig = `{
	admin {{.Admin}}
	skip_install_trust
	debug
	metrics {
		per_host
	}
	servers {
		trace
	}
	api_keys {
		store badger {
			path {{.Store}}
		}
		webhook {env.TEST_WEBHOOK} {
			secret {env.TEST_WEBHOOK_SECRET}
		}
	}
}
http://{{.Plain}}, https://{{.Secure}} {
	tls internal
	log {
		output file access.json
	}
	log for_people {
		output file access.txt
		format console
	}
	handle /settings/* {
		api_key_admin {
			base_path /settings
			token {env.TEST_ADMIN_TOKEN}
		}
	}
	handle /forwarded/* {
		api_key_auth {
			forward_token
		}
		reverse_proxy {{.Upstream}}
	}
	handle /broken/* {
		api_key_auth
		reverse_proxy 127.0.0.1:1
	}
	handle {
		api_key_auth {
			whoami /public/v1/me
			rate_limit write 2 1h
		}
		reverse_proxy {{.Upstream}}
	}
	handle_errors {
		respond "{err.status_code} {err.status_text} {err.message} {err.trace} {http.api_key.id} {http.auth.user.id}"
	}
}
`

const (
	adminCanary = "canary-of-the-admin-token-0123456789"
	queryCanary = "canary-of-a-webhooks-address-0123456789"
)

// canary is a token that must turn up nowhere but where it is meant to.
type canary struct {
	name  string
	token string
}

// secret returns the part of the token that cannot be guessed.
func (c canary) secret() string {
	secret := strings.TrimPrefix(c.token, "agk_")
	return secret[:min(43, len(secret))]
}

// canaries makes one token of each kind.
func (s *server) canaries() []canary {
	s.T.Helper()
	_, full := s.Create("acme", "Warehouse sync", "full_access")
	_, readOnly := s.Create("acme", "Zapier production", "read_only")
	revokedKey, revoked := s.Create("acme", "Old export job", "full_access")
	s.Revoke(revokedKey)
	_, suspended := s.Create("globex", "Globex billing", "full_access")
	s.Post("/workspaces/globex/suspend")
	_, expired := s.CreateExpired(s.T)
	_, other := s.Create("acme", "A base for invented ones", "full_access")
	return []canary{
		{"full access", full},
		{"read-only", readOnly},
		{"revoked", revoked},
		{"suspended", suspended},
		{"expired", expired},
		{"unknown", gatewaytest.OtherToken(other)},
		{"of a wrong checksum", other[:len(other)-1] + strings.ToUpper(other[len(other)-1:]) + "x"},
		{"truncated", gatewaytest.OtherToken(gatewaytest.OtherToken(other))[:50]},
	}
}

// TestCanaries drives tokens through every path on which they may come in, and
// then looks for them, and for their secrets alone, wherever the server writes
// or shows anything.
//
// What a client itself puts into a URL, into the name of a key or into a header
// that is not for credentials is logged and kept as it stands, so the tokens
// are sent in none of these.
func TestCanaries(t *testing.T) {
	t.Parallel()
	webhook := newHookReceiver(t)
	webhook.say(func(_ hookMessage, w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) })
	s := start(t, canaryConfig,
		"TEST_ADMIN_TOKEN="+adminCanary, "TEST_WEBHOOK="+webhook.server.URL+"/?"+queryCanary, "TEST_WEBHOOK_SECRET="+webhook.secret)
	tokens := s.canaries()
	search := newSearch(append(tokens, canary{"admin", adminCanary}, canary{"webhook", webhook.secret}, canary{"webhook's address", queryCanary}))
	for _, c := range tokens {
		s.sendCanary(t, c, search)
		s.sendInBodies(t, c, search)
	}

	s.wantForwardedOnly(t, tokens[0])
	for _, path := range []string{
		"/config/", "/metrics", "/reverse_proxy/upstreams", "/pki/ca/local", "/debug/pprof/cmdline",
		"/debug/pprof/goroutine?debug=2", "/debug/pprof/goroutine?debug=1", "/debug/pprof/heap?debug=1",
		"/debug/pprof/allocs?debug=1", "/debug/pprof/block?debug=1", "/debug/pprof/mutex?debug=1", "/debug/pprof/threadcreate?debug=1",
		"/api-keys/audit?limit=200", "/api-keys/workspaces/acme", "/api-keys/workspaces/acme/audit?limit=200",
		"/api-keys/workspaces/acme/keys?limit=200", "/api-keys/workspaces/globex/keys?limit=200",
	} {
		search.in(t, "GET "+path, []byte(s.fetch(path)))
	}
	search.in(t, "a backup", unzstd(t, s.fetch("/api-keys/backup")))
	search.files(t, s.Dir)
	s.Stop()
	search.files(t, s.Dir)
	search.in(t, "the log", []byte(s.Log.String()))

	for _, name := range []string{"access.json", "access.txt", "config/caddy/autosave.json", "keys/MANIFEST"} {
		if info, err := os.Stat(filepath.Join(s.Dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s was not searched: %v", name, err)
		}
	}
	for _, want := range []string{`"level":"debug"`, "http.handlers.reverse_proxy", "admin.api", "http.log.error"} {
		if !strings.Contains(s.Log.String(), want) {
			t.Errorf("the log has nothing of %s: it was not looked for there", want)
		}
	}
}

// unzstd returns what is in a backup.
func unzstd(t *testing.T, compressed string) []byte {
	t.Helper()
	in, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	content, err := in.DecodeAll([]byte(compressed), nil)
	if err != nil || len(content) == 0 {
		t.Fatalf("got a backup of %d bytes, and error %v", len(content), err)
	}
	return content
}

// sendCanary sends a token to every path in each version of HTTP, wherever a
// client may put a credential.
func (s *server) sendCanary(t *testing.T, c canary, search *search) {
	t.Helper()
	places := map[string][]string{
		"Authorization":       {"Authorization", "Bearer " + c.token},
		"two of them":         {"Authorization", "Bearer " + c.token, "Authorization", "Bearer " + c.token},
		"two in one":          {"Authorization", "Bearer " + c.token + ", Bearer " + c.token},
		"another scheme":      {"Authorization", "Basic " + c.token},
		"no scheme":           {"Authorization", c.token},
		"Proxy-Authorization": {"Proxy-Authorization", "Bearer " + c.token},
		"Cookie":              {"Cookie", "token=" + c.token},
		"from a browser":      {"Authorization", "Bearer " + c.token, "Sec-Fetch-Site", "cross-site", "Origin", "https://example.com"},
		"an override":         {"Authorization", "Bearer " + c.token, "X-HTTP-Method-Override", "DELETE"},
	}
	paths := []string{"/public/v1/contacts", "/public/v1/me", "/forwarded/contacts", "/broken/contacts", "/settings/workspaces/acme/keys"}
	for _, client := range s.Clients(t) {
		for place, fields := range places {
			for _, path := range paths {
				for _, method := range []string{"GET", "POST", "TRACE", "FROB"} {
					got := client.Send(t, method, path, nil, fields...)
					search.in(t, fmt.Sprintf("the answer to %s %s, %s %s over %s", method, path, c.name, place, client.Name), got.All())
				}
			}
		}
	}
	// Where no library would send it.
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: %[2]s\r\nAuthorization : Bearer %[1]s\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: %[2]s\r\nAuthorization: Bearer\t%[1]s\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: %[2]s\r\nauthorization: bearer %[1]s\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
		"POST / HTTP/1.1\r\nHost: %[2]s\r\nContent-Length: 60\r\n\r\n%[1]s",
		"POST / HTTP/1.1\r\nHost: %[2]s\r\nTransfer-Encoding: chunked\r\nTrailer: Authorization\r\n\r\n0\r\nAuthorization: Bearer %[1]s\r\n\r\n",
	} {
		search.in(t, "the answer to "+request, gatewaytest.Raw(t, s.Plain, fmt.Sprintf(request, c.token, s.Plain)).All())
	}
}

// sendInBodies sends a token in bodies of the admin API that it must refuse.
func (s *server) sendInBodies(t *testing.T, c canary, search *search) {
	t.Helper()
	web := s.Clients(t)[0]
	mounts := []string{web.Base + "/settings", "http://" + s.Admin + "/api-keys"}
	for _, body := range canaryBodies(c.token) {
		for _, mount := range mounts {
			web.Base = mount
			for _, path := range []string{"/workspaces/acme/keys", "/workspaces/acme/keys/key_unknown/revoke", "/workspaces/initech/suspend"} {
				got := web.Send(t, http.MethodPost, path, strings.NewReader(body), "Authorization", "Bearer "+adminCanary, "Content-Type", "application/json")
				if got.Status < 400 {
					t.Errorf("POST %s %s: got status %d, want a refusal", path, body, got.Status)
				}
				search.in(t, "the answer to POST "+path, got.All())
			}
		}
	}
}

// canaryBodies are bodies of calls of the admin API that none of them takes.
func canaryBodies(token string) []string {
	return []string{
		`{"name":"` + token + `","preset":"none"}`,
		`{"name":"Fine name","preset":"` + token + `"}`,
		`{"name":"Fine name","preset":"full_access","expires_in":"` + token + `"}`,
		`{"name":"Fine name","preset":"full_access","expires_in":{"` + token + `":1}}`,
		`{"name":"Fine name","preset":"full_access","owner":["` + token + `"]}`,
		`{"name":"` + token + `\u0000","preset":"full_access","reason":"\u0000"}`,
		`{"name":"` + token + token + `","preset":"full_access"}`,
		`{"token":"` + token + `"}`,
		`{"` + token + `":"` + token + `"}`,
		`{"reason":"` + token + `","reason":"twice"}`,
		`"` + token + `"`,
		`{"name":"` + token,
		token,
	}
}

// wantForwardedOnly checks that the upstream got a token where the mount hands
// it on, which also shows that a search would find one, and nowhere else.
func (s *server) wantForwardedOnly(t *testing.T, c canary) {
	t.Helper()
	forwarded := false
	for _, request := range s.Upstream.Take() {
		switch got := request.Values("Authorization"); {
		case strings.Contains(request.Head, " /forwarded/"):
			forwarded = forwarded || strings.Contains(request.Head, c.secret())
		case len(got) > 0:
			t.Errorf("the upstream received Authorization %q:\n%s", got, request.Head)
		}
	}
	if !forwarded {
		t.Error("no token was handed on to the upstream")
	}
}

// search looks for canaries.
type search struct{ canaries []canary }

func newSearch(canaries []canary) *search { return &search{canaries} }

func (s *search) in(t *testing.T, where string, content []byte) {
	t.Helper()
	for _, c := range s.canaries {
		if at := bytes.Index(content, []byte(c.secret())); at >= 0 {
			t.Errorf("%s holds the %s token: …%s…", where, c.name, content[max(0, at-200):min(len(content), at+100)])
		}
	}
}

// files searches every file below a folder.
func (s *search) files(t *testing.T, dir string) {
	t.Helper()
	must(t, fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(filepath.Join(dir, path))
		s.in(t, path, content)
		return err
	}))
}
