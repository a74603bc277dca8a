package test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// twoBlocks returns a configuration with one api_key_auth for the site, and one
// for a part of it, with a handler between the two.
func twoBlocks(outer, between, inner string) string {
	strict := "handle /public/v1/strict/* {\n\t\troute {\n" + between + "\napi_key_auth {\n" + inner + "\n}\nreverse_proxy {{.Upstream}}\n}\n}\n\treverse_proxy {{.Upstream}}"
	return strings.Replace(withOptions(outer), "reverse_proxy {{.Upstream}}", strict, 1)
}

const strict = "/public/v1/strict/search"

// TestBlocks_judge verifies that the second block judges the key that the first has found,
// by its own rules, and by what the first saw of the request.
func TestBlocks_judge(t *testing.T) {
	t.Parallel()
	s := start(t, twoBlocks(
		"read_methods GET HEAD OPTIONS POST QUERY\n browsers allow\n workspace_header X-Tenant\n key_id_header X-Outer-Key",
		"request_header -Sec-Fetch-Site\n request_header -Early-Data",
		"read_paths "+strict+"\n realm strict",
	))
	key, readOnly := s.Create("acme", "Zapier production", "read_only")
	_, full := s.Create("acme", "Warehouse sync", "full_access")
	const innerWrite = `Bearer realm="strict", error="insufficient_scope", scope="write"`
	for _, c := range s.Clients(t) {
		for _, test := range []struct {
			name, method, path, token string
			fields                    []string
			status                    int
			body, challenge           string
		}{
			{"a read", "GET", strict, readOnly, nil, 200, "ok", ""},
			{"a read on a read path", "POST", strict, readOnly, nil, 200, "ok", ""},
			{"a write only for the second", "POST", strict + "/x", readOnly, nil, 403, forbidden, innerWrite},
			{"a method that only the first takes for a read", "QUERY", strict, readOnly, nil, 403, forbidden, innerWrite},
			{"the same where there is no second", "QUERY", contacts, readOnly, nil, 200, "ok", ""},
			{"a header that names another path", "POST", strict, readOnly, []string{"X-Original-URL", "/x"}, 403, forbidden, innerWrite},
			{"a browser, whose sign is gone", "GET", strict, full, []string{"Sec-Fetch-Site", "same-origin"}, 403, forbidden, ""},
			{"early data, whose sign is gone", "POST", strict + "/x", full, []string{"Early-Data", "1"}, 425, `{"error":"Too Early."}`, ""},
			{"an unknown key", "GET", strict, gatewaytest.OtherToken(full), nil, 401, unauthorized, invalidToken},
		} {
			t.Run(c.Name+"/"+test.name, func(t *testing.T) {
				forged := []string{"X-Tenant", "evil", "X~Tenant", "evil", "X-Outer-Key", "evil", "X-Workspace-ID", "evil", "X-Api-Key-Id", "evil"}
				got := c.Send(t, test.method, test.path, nil, slices.Concat(bearer(test.token), test.fields, forged)...)
				if test.status != 200 {
					s.wantRefused(t, got, test.status, test.body, test.challenge)
					return
				}
				received := s.wantPassed(t, got)
				wantHeaders := map[string]string{"X-Tenant": "acme", "X-Outer-Key": key.ID, "X-API-Key-Access": "read_only"}
				if test.path == strict {
					wantHeaders["X-Workspace-ID"], wantHeaders["X-API-Key-ID"] = "acme", key.ID
				}
				for name, want := range wantHeaders {
					if values := received.Values(name); !slices.Equal(values, []string{want}) {
						t.Errorf("got %s %q upstream, want %q alone", name, values, want)
					}
				}
				if strings.Contains(received.Head, "evil") || received.Values("Authorization") != nil {
					t.Errorf("got upstream what the client sent, or its token:\n%s", received.Head)
				}
			})
		}
	}
}

// TestBlocks_forwardToken verifies that the token goes upstream only where each block has
// it handed on.
func TestBlocks_forwardToken(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ outer, inner, want string }{
		{"", "", ""}, {"forward_token", "", ""}, {"", "forward_token", ""}, {"forward_token", "forward_token", "Bearer "},
	} {
		s := start(t, httpOnly(twoBlocks(test.outer, "", test.inner)))
		_, token := s.Create("acme", "Warehouse sync", "full_access")
		c := s.Clients(t)[0]
		got := strings.Join(s.wantPassed(t, c.Send(t, "GET", strict, nil, bearer(token)...)).Values("Authorization"), ",")
		if test.want != "" {
			test.want += token
		}
		if got != test.want {
			t.Errorf("%q and %q: got Authorization %q upstream, want %q", test.outer, test.inner, got, test.want)
		}
	}
}

// TestBlocks_limits verifies that a request counts in the limits of each block that it
// passes, once where they are the same.
func TestBlocks_limits(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, outer, inner string
		passes, after      int // at the strict path, and then elsewhere
		policies           []string
	}{
		{"a stricter one inside", "rate_limit read 5 10m", "rate_limit read 3 10m", 3, 1, []string{`"read";q=5;w=600`, `"read";q=3;w=600`}},
		{"a stricter one outside", "rate_limit read 3 10m", "rate_limit read 5 10m", 3, 0, []string{`"read";q=3;w=600`, `"read";q=5;w=600`}},
		{"the same", "rate_limit read 4 10m", "rate_limit read 4 10m", 4, 0, []string{`"read";q=4;w=600`}},
		{"one for what only the second takes for a write", "rate_limit read 9 10m", "read_methods HEAD\n rate_limit write 2 10m", 2, 6, []string{`"read";q=9;w=600`, `"write";q=2;w=600`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, httpOnly(twoBlocks(test.outer, "", test.inner)))
			_, token := s.Create("acme", "Warehouse sync", "full_access")
			c := s.Clients(t)[0]
			for range test.passes {
				got := c.Send(t, "GET", strict, nil, bearer(token)...)
				s.wantPassed(t, got)
				if policies := got.Header.Values("RateLimit-Policy"); !slices.Equal(policies, test.policies) {
					t.Errorf("got RateLimit-Policy %q, want %q", policies, test.policies)
				}
				if values := got.Header.Values("RateLimit"); len(values) != len(test.policies) {
					t.Errorf("got RateLimit %q, want one for each policy", values)
				}
			}
			if got := c.Send(t, "GET", strict, nil, bearer(token)...); got.Status != 429 {
				t.Errorf("got status %d after %d requests, want 429", got.Status, test.passes)
			}
			for range test.after { // what the second block refused counts in the first
				s.wantPassed(t, c.Send(t, "GET", contacts, nil, bearer(token)...))
			}
			if got := c.Send(t, "GET", contacts, nil, bearer(token)...); got.Status != 429 {
				t.Errorf("got status %d elsewhere after %d more requests, want 429", got.Status, test.after)
			}
		})
	}
}

// TestBlocks_whoami asks for it in either block.
func TestBlocks_whoami(t *testing.T) {
	t.Parallel()
	s := start(t, httpOnly(twoBlocks("whoami /public/v1/strict/outer", "", "whoami /public/v1/strict/inner")))
	key, token := s.Create("acme", "Warehouse sync", "full_access")
	for _, path := range []string{"/public/v1/strict/outer", "/public/v1/strict/inner"} {
		got := s.Clients(t)[0].Send(t, "GET", path, nil, bearer(token)...)
		if got.Status != 200 || !strings.Contains(got.Body, key.ID) {
			t.Errorf("%s: got %d %q, want who this is", path, got.Status, got.Body)
		}
		s.wantNothing(t)
	}
}

// TestBlocks_keyEndHeaders verifies that two blocks speak of a key's end once, and that a
// refusal by the second does not.
func TestBlocks_keyEndHeaders(t *testing.T) {
	t.Parallel()
	s := start(t, httpOnly(twoBlocks("read_methods GET POST", "", "")))
	week := "7d"
	made, err := s.Keys().CreateKey(t.Context(), "acme", client.CreateRequest{Name: "Zapier production", Preset: "read_only", ExpiresIn: &week})
	must(t, err)
	c := s.Clients(t)[0]
	for method, want := range map[string]int{"GET": 1, "POST": 0} {
		if got := c.Send(t, method, strict, nil, bearer(made.Token)...).Header.Values("X-API-Key-Expires"); len(got) != want {
			t.Errorf("%s: got X-API-Key-Expires %q, want it %d times", method, got, want)
		}
	}
}

// TestBlocks_errors has a block in the error routes judge a request that another
// has let pass, and that then failed.
func TestBlocks_errors(t *testing.T) {
	t.Parallel()
	s := start(t, httpOnly(strings.Replace(withOptions("read_methods GET POST"), "reverse_proxy {{.Upstream}}",
		"reverse_proxy "+gatewaytest.Address(t)+"\n\thandle_errors {\n\t\tapi_key_auth\n\t\trespond {http.api_key.workspace_id} 502\n\t}", 1)))
	_, token := s.Create("acme", "Zapier production", "read_only")
	c := s.Clients(t)[0]
	if got := c.Send(t, "GET", contacts, nil, bearer(token)...); got.Status != 502 || got.Body != "acme" {
		t.Errorf("got %d %q, want the site's error page", got.Status, got.Body)
	}
	if got := c.Send(t, "POST", contacts, nil, bearer(token)...); got.Status != 403 || got.Body != forbidden {
		t.Errorf("got %d %q for what is a write in the error routes, want 403", got.Status, got.Body)
	}
	if got := c.Send(t, "GET", contacts, nil); got.Status != 401 || got.Body != unauthorized {
		t.Errorf("got %d %q without a key, want 401", got.Status, got.Body)
	}
}

// TestBlocks_sockets opens WebSockets through two blocks: they end with their key.
func TestBlocks_sockets(t *testing.T) {
	t.Parallel()
	s := startWithConnect(t, strings.Replace(twoBlocks("", "", ""), "/public/v1/strict/*", "/public/v1/*", 1))
	_, readOnly := s.Create("acme", "Zapier production", "read_only")
	for _, o := range openers {
		t.Run(o.name, func(t *testing.T) {
			key, token := s.Create("acme", "Revoked over "+o.name, "full_access")
			k := o.open(t, s, token)
			k.wantOpen(t)
			s.Upstream.Take()
			s.Revoke(key)
			k.wantClosed(t, time.Second)
			s.wantRefused(t, o.open(t, s, readOnly).refusal, http.StatusForbidden, forbidden, needsWrite)
		})
	}
}

// TestBlocks_counted verifies that each check is counted.
func TestBlocks_counted(t *testing.T) {
	t.Parallel()
	s := start(t, httpOnly(twoBlocks("", "", "")))
	_, token := s.Create("acme", "Warehouse sync", "full_access")
	s.wantPassed(t, s.Clients(t)[0].Send(t, "GET", strict, nil, bearer(token)...))
	if got := s.metrics()[`caddy_api_keys_requests_total{access="full_access",action="read",result="allowed"}`]; got != 2 {
		t.Errorf("got %v requests counted, want one for each check", got)
	}
}

// TestBlocks_lateAnswer revokes a key while the upstream thinks about a request
// that both blocks have let pass: it is refused once, and as any other.
func TestBlocks_lateAnswer(t *testing.T) {
	asked, late := make(chan struct{}), make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		<-late
		_, _ = io.WriteString(w, "found")
	}))
	defer upstream.Close()
	config := twoBlocks("rate_limit read 9 10m", "", "rate_limit read 5 10m")
	s := startRaced(t, strings.ReplaceAll(config, "{{.Upstream}}", upstream.Listener.Addr().String()))
	for _, c := range s.Clients(t) {
		t.Run(c.Name, func(t *testing.T) {
			key, token := s.Create("acme", "Polls over "+c.Name, "full_access")
			answers := make(chan gatewaytest.Answer, 1)
			go func() { answers <- c.Send(t, "GET", strict, nil, bearer(token)...) }()
			<-asked
			s.Revoke(key)
			time.Sleep(promised / 2)
			late <- struct{}{}
			got := <-answers
			if want := invalidToken + `, error_description="The token was revoked."`; got.Status != 401 || got.Body != unauthorized || got.Header.Get("WWW-Authenticate") != want {
				t.Errorf("got %d %s %q, want what a revoked key gets", got.Status, got.Body, got.Header.Get("WWW-Authenticate"))
			}
			if limits := got.Header.Values("RateLimit"); len(limits) > 2 {
				t.Errorf("got RateLimit %q, want no more than one for each block", limits)
			}
		})
	}
}
