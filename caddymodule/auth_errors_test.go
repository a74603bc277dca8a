package caddymodule

import (
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

func TestAuth_errorRoutes(t *testing.T) {
	const echo = `respond "{err.status_code} {err.message} [{http.request.header.X-Workspace-ID}{http.request.header.Authorization}]"`
	own := func(body string) string { return "401 " + body + " []" }
	for _, test := range []struct {
		name, sites, host string
		want              string // the body
		contentType       string
	}{
		{"own route", "http://a.test:{{.Port}} {\n api_key_auth\n handle_errors {\n " + echo + " 401\n }\n}", "a.test", own("no credentials"), "text/plain; charset=utf-8"},
		{"own route for this status", "http://a.test:{{.Port}} {\n api_key_auth\n handle_errors 401 {\n " + echo + " 401\n }\n}", "a.test", own("no credentials"), "text/plain; charset=utf-8"},
		{"own route for a range", "http://a.test:{{.Port}} {\n api_key_auth\n handle_errors 4xx {\n " + echo + " 401\n }\n}", "a.test", own("no credentials"), "text/plain; charset=utf-8"},
		{"own route for another status", "http://a.test:{{.Port}} {\n api_key_auth\n handle_errors 404 5xx {\n " + echo + " 401\n }\n}", "a.test", unauthorized, "application/json"},
		{"own route for another path", "http://a.test:{{.Port}} {\n api_key_auth\n handle_errors {\n @p path /other\n handle @p {\n " + echo + " 401\n }\n }\n}", "a.test", unauthorized, "application/json"},
		{"route of another site", "http://a.test:{{.Port}} {\n api_key_auth\n}\nhttp://b.test:{{.Port}} {\n handle_errors {\n " + echo + " 401\n }\n}", "a.test", unauthorized, "application/json"},
		{"route of this site, not of the other", "http://a.test:{{.Port}} {\n api_key_auth\n handle_errors {\n " + echo + " 401\n }\n}\nhttp://b.test:{{.Port}} {\n handle_errors {\n respond other\n }\n}", "a.test", own("no credentials"), "text/plain; charset=utf-8"},
		{"no route", "http://a.test:{{.Port}} {\n api_key_auth\n}", "a.test", unauthorized, "application/json"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newServer(t)
			if err := load(s.adapt(strings.ReplaceAll(test.sites, "\n api_key_auth", "\n bind 127.0.0.1\n api_key_auth"))); err != nil {
				t.Fatal(err)
			}
			got := s.send("GET /", "Host: "+test.host+"\r\nX-Workspace-ID: evil\r\n")
			got.mustBe(t, 401, test.want)
			got.mustHave(t, "Content-Type", test.contentType)
			got.mustHave(t, "WWW-Authenticate", basicChallenge)
			got.mustHave(t, "Cache-Control", "no-store")
		})
	}
}

// TestAuth_errorRoutesKeepTheRefusal: an error route can word a refusal, but
// neither turn it into a success nor pass on the request.
func TestAuth_errorRoutesKeepTheRefusal(t *testing.T) {
	const toUpstream = "\thandle_errors {\n\t\treverse_proxy {{.Upstream}}\n\t}\n"
	t.Run("the status", func(t *testing.T) {
		s := serve(t, proxied+"\thandle_errors {\n\t\theader Cache-Control public\n\t\trespond fine 200\n\t}\n")
		got := s.send("GET /", "")
		got.mustBe(t, 401, "fine")
		got.mustHave(t, "WWW-Authenticate", basicChallenge)
		got.mustHave(t, "Cache-Control", "no-store")
	})
	t.Run("the status of another server", func(t *testing.T) {
		s := serve(t, proxied+toUpstream)
		s.send("GET /", "").mustBe(t, 401, "ok")
	})
	t.Run("the body", func(t *testing.T) {
		s := serve(t, proxied+toUpstream)
		s.sendBody("POST /", "Content-Length: 4\r\n", "evil").mustBe(t, 401, "ok")
		s.received(t).mustNotHold(t, "evil")
	})
	t.Run("an upgrade", func(t *testing.T) {
		s := serve(t, proxied+toUpstream)
		s.send("GET /", "Connection: Upgrade\r\nUpgrade: websocket\r\n").mustBe(t, 401, "ok")
		if got := s.received(t).Values("Upgrade"); got != nil {
			t.Errorf("got Upgrade %q upstream, want none", got)
		}
	})
	t.Run("trailers of a request that was copied before", func(t *testing.T) {
		s := serve(t, "\ttracing\n"+proxied+toUpstream)
		s.sendBody("POST /", "Transfer-Encoding: chunked\r\nTrailer: X-Workspace-ID\r\n", "1\r\na\r\n0\r\nX-Workspace-ID: evil\r\n\r\n")
		s.received(t).mustNotHold(t, "evil")
	})
}

// TestAuth_failover: an error route can send a request that passed to another server,
// with its body and without the client's trailers.
func TestAuth_failover(t *testing.T) {
	const failing = "\tapi_key_auth\n\treverse_proxy 127.0.0.1:1\n\thandle_errors {\n\t\treverse_proxy {{.Upstream}}\n\t}\n"
	s := serve(t, failing)
	full := s.create(apikey.FullAccess)
	for _, test := range []struct{ name, header, body string }{
		{"no body", "Content-Length: 0\r\n", ""},
		{"a length", "Content-Length: 4\r\n", "body"},
		{"chunks", "Transfer-Encoding: chunked\r\n", "4\r\nbody\r\n0\r\n\r\n"},
		{"declared trailers", "Transfer-Encoding: chunked\r\nTrailer: X-Workspace-ID, X-Sum\r\n", "4\r\nbody\r\n0\r\nX-Workspace-ID: evil\r\nX-Sum: evil\r\n\r\n"},
		{"undeclared trailers", "Transfer-Encoding: chunked\r\n", "4\r\nbody\r\n0\r\nX-Workspace-ID: evil\r\n\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.sendBody("POST /", full.bearer()+test.header, test.body).mustBe(t, 200, "ok")
			got := s.received(t)
			got.mustNotHold(t, "evil")
			if body := test.body != ""; strings.Contains(got.Body, "body") != body {
				t.Errorf("got the body %q upstream, want the client's: %t", got.Body, body)
			}
		})
	}
	t.Run("trailers of a request that was copied before", func(t *testing.T) {
		s := serve(t, "\ttracing\n"+failing)
		s.sendBody("POST /", s.create(apikey.FullAccess).bearer()+"Transfer-Encoding: chunked\r\nTrailer: X-Workspace-ID\r\n", "1\r\na\r\n0\r\nX-Workspace-ID: evil\r\n\r\n").mustBe(t, 502, "")
	})
}

// TestAuth_errorMessages: {err.message} is one of a few sentences, for any request.
func TestAuth_errorMessages(t *testing.T) {
	s := serve(t, "\tapi_key_auth\n\treverse_proxy {{.Upstream}}\n\thandle_errors {\n\t\trespond \"{err.message}\" {err.status_code}\n\t}\n")
	readOnly, old := s.create(apikey.ReadOnly), s.create(apikey.ReadOnly, expired)
	for _, test := range []struct {
		line, header string
		status       int
		want         string
	}{
		{"GET /{env.HOME}", "", 401, "no credentials"},
		{"GET /", "Authorization: Bearer {env.HOME}\r\n", 401, "malformed credentials"},
		{"GET /", old.bearer(), 401, "the token expired"},
		{"POST /", readOnly.bearer(), 403, "the key may only read"},
		{"TRACE /", "", 405, "method not allowed"},
	} {
		got := s.send(test.line, test.header)
		got.mustBe(t, test.status, test.want)
		got.mustHave(t, "Cache-Control", "no-store")
	}
	if err := s.instance().store.Close(); err != nil {
		t.Fatal(err)
	}
	got := s.send("GET /", key{token: apikey.NewToken("agk").Reveal()}.bearer())
	got.mustBe(t, 503, "the key store cannot answer")
	got.mustHave(t, "Retry-After", "1")
}
