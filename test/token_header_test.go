package test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// tokenHeaderConfig takes tokens in a header of their own, and logs and traces all that
// can be.
const tokenHeaderConfig = `{
	admin {{.Admin}}
	skip_install_trust
	debug
	servers {
		trace
	}
	log {
		format lazy
	}
	api_keys {
		store badger {
			path {{.Store}}
		}
	}
}
http://{{.Plain}}, https://{{.Secure}} {
	tls internal
	tracing {
		span api
	}
	log {
		output file access.json
		format lazy json
	}
	log for_people {
		output file access.txt
		format lazy console
	}
	log filtered {
		output file filtered.json
		format lazy filter {
			request>uri delete
		}
	}
	log without_headers {
		output file headless.json
		format filter {
			request>headers delete
		}
	}
	handle /forwarded/* {
		api_key_auth {
			token_header X-API-Key
			forward_token
		}
		reverse_proxy {{.Upstream}}
	}
	handle /nested/* {
		route {
			api_key_auth {
				token_header X-API-Key
				forward_token
			}
			api_key_auth {
				token_header X-Strict-Key
			}
			reverse_proxy {{.Upstream}}
		}
	}
	handle_path /rewritten/* {
		api_key_auth {
			token_header X-API-Key
		}
		reverse_proxy {{.Upstream}}
	}
	handle /broken/* {
		api_key_auth {
			token_header X-API-Key
			forward_token
		}
		reverse_proxy 127.0.0.1:1
	}
	handle {
		api_key_auth {
			token_header X-API-Key
			whoami /public/v1/me
		}
		reverse_proxy {{.Upstream}}
	}
	handle_errors {
		respond "{err.status_code} {err.message} {http.request.header.X-API-Key} {http.request.header.Authorization}"
	}
}
`

// TestTokenHeader sends tokens in a header of their own, rightly and wrongly, over each
// version of HTTP. The header reaches an upstream only where it is forwarded, and its value
// is in no log, trace, file or answer.
func TestTokenHeader(t *testing.T) {
	t.Parallel()
	collected := collect(t)
	s := start(t, tokenHeaderConfig, collected.env...)
	_, full := s.Create("acme", "Warehouse sync", "full_access")
	_, other := s.Create("acme", "Zapier production", "read_only")
	unknown := gatewaytest.OtherToken(other)
	search := newSearch([]canary{{"full access", full}, {"other", other}, {"unknown", unknown}})

	for _, test := range []struct {
		what      string
		fields    []string
		status    int
		challenge string
	}{
		{"the token", []string{"X-API-Key", full}, 200, ""},
		{"in lower case", []string{"x-api-key", full}, 200, ""},
		{"a bearer token", bearer(full), 200, ""},
		{"unknown", []string{"X-API-Key", unknown}, 401, invalidToken},
		{"a scheme", []string{"X-API-Key", "Bearer " + full}, 401, invalidToken},
		{"empty", []string{"X-API-Key", ""}, 401, invalidToken},
		{"both", append(bearer(full), "X-API-Key", full), 401, invalidToken},
		{"both, one empty", append(bearer(full), "X-API-Key", ""), 401, invalidToken},
		{"twice", []string{"X-API-Key", full, "X-API-Key", full}, 401, invalidToken},
		{"two in one", []string{"X-API-Key", full + ", " + other}, 401, invalidToken},
		{"underscores", []string{"X_API_Key", full}, 401, challenge},
		{"dots", []string{"X.API.Key", full}, 401, challenge},
		{"another header", []string{"X-Strict-Key", ""}, 401, challenge},
		{"neither", nil, 401, challenge},
	} {
		for _, c := range s.Clients(t) {
			for _, path := range []string{"/public/v1/contacts", "/forwarded/x", "/nested/x", "/rewritten/x", "/broken/x", "/public/v1/me"} {
				want := test.status
				if want == 200 && path == "/broken/x" {
					want = 502
				}
				got := c.Send(t, "GET", path, nil, test.fields...)
				if got.Status != want || got.Header.Get("WWW-Authenticate") != test.challenge {
					t.Errorf("%s, %s over %s: got status %d and WWW-Authenticate %q, want %d and %q", test.what, path, c.Name, got.Status, got.Header.Get("WWW-Authenticate"), want, test.challenge)
				}
				search.in(t, test.what+": the answer", got.All())
			}
		}
	}
	for _, request := range s.Upstream.Take() {
		forwarded := strings.HasPrefix(request.Head, "GET /forwarded/")
		if tokens := append(request.Values("X-API-Key"), request.Values("Authorization")...); forwarded && len(tokens) != 1 || !forwarded && len(tokens) > 0 {
			t.Errorf("got the tokens %q upstream:\n%s", tokens, request.Head)
		}
		if !forwarded {
			search.in(t, "the upstream", []byte(request.Head+request.Trailer))
		}
	}
	s.sendTokenHeaderRaw(t, full)

	search.in(t, "the metrics", []byte(s.fetch("/metrics")))
	s.Stop()
	search.in(t, "the log", []byte(s.Log.String()))
	search.files(t, s.Dir)
	_, traced := collected.received(t)
	search.in(t, "the traces", traced)
	for _, name := range []string{"access.json", "access.txt", "filtered.json", "headless.json"} {
		if content, err := os.ReadFile(filepath.Join(s.Dir, name)); err != nil || name != "headless.json" && !strings.Contains(string(content), "REDACTED") {
			t.Errorf("%s has no redacted header: %v", name, err)
		}
	}
	for _, want := range []string{"rewrote request", "http.handlers.reverse_proxy", "http.log.error"} {
		if !strings.Contains(s.Log.String(), want) {
			t.Errorf("the log has nothing of %s: it was not looked for there", want)
		}
	}
}

// sendTokenHeaderRaw sends what only HTTP/1.1 has: the header named in Connection, which
// proxies delete then, and as a trailer.
func (s *server) sendTokenHeaderRaw(t *testing.T, token string) {
	t.Helper()
	const key = "X-API-Key: "
	for _, test := range []struct {
		name, request string
		status        int
		want          []string // upstream
	}{
		{"in Connection, and forwarded", "GET /forwarded/x HTTP/1.1\r\nConnection: x-api-key, close\r\n" + key + token + "\r\n", 200, []string{token}},
		{"in Connection", "GET /x HTTP/1.1\r\nConnection: X-API-Key\r\nConnection: close\r\n" + key + token + "\r\n", 200, nil},
		{"a trailer", "POST /forwarded/x HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: X-API-Key\r\n" + key + token + "\r\n", 200, []string{token}},
		{"only a trailer", "POST /forwarded/x HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: X-API-Key\r\n", 401, nil},
	} {
		request := strings.Replace(test.request, "\r\n", "\r\nHost: "+s.Plain+"\r\n", 1) + "\r\n"
		if strings.Contains(request, "chunked") {
			request += "0\r\n" + key + token + "\r\n\r\n"
		}
		s.Upstream.Take()
		if got := gatewaytest.Raw(t, s.Plain, request); got.Status != test.status {
			t.Errorf("%s: got status %d, want %d", test.name, got.Status, test.status)
		}
		var tokens []string
		for _, received := range s.Upstream.Take() {
			tokens = append(tokens, received.Values("X-API-Key")...)
			if strings.Contains(received.Trailer, token) {
				t.Errorf("%s: the token was forwarded as a trailer", test.name)
			}
		}
		if !slices.Equal(tokens, test.want) {
			t.Errorf("%s: got the tokens %q upstream, want %q", test.name, tokens, test.want)
		}
	}
}
