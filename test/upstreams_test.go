package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/identity"
	"github.com/agiled/caddy-api-keys/internal/upstreamtest"
)

// upstreamsConfig has every example behind it, at a path of its own, and a recorder.
const upstreamsConfig = `{
	admin {{.Admin}}
	grace_period 5s
	api_keys {
		store badger {
			path {{.Store}}
		}
	}
}
(upstreams) {
	reverse_proxy {args[0]}/recorder/* {{.Upstream}}
PROGRAMS}
http://{{.Plain}} {
	handle /bound/* {
		api_key_auth {
			assertion {
				issuer   http://{{.Plain}}
				audience contacts
				bind     request
			}
		}
		import upstreams /bound
	}
	handle {
		api_key_auth {
			assertion {
				issuer   http://{{.Plain}}
				audience contacts
			}
		}
		import upstreams ""
	}
}
`

// TestUpstreams verifies that the upstreams that the documents show accept what the gateway
// sends them, and nothing that does not come from it.
func TestUpstreams(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	var addresses []string
	var proxies strings.Builder
	for i, p := range upstreamtest.Programs {
		addresses = append(addresses, p.Start(t, "http://"+s.Plain+"/.well-known/api-keys/jwks.json", "contacts"))
		fmt.Fprintf(&proxies, "\treverse_proxy {args[0]}/%d/* %s\n", i, addresses[i])
	}
	s.Run(strings.Replace(upstreamsConfig, "PROGRAMS", proxies.String(), 1))
	s.AwaitReady()
	key, token := s.Create("acme", "Zapier production", "read_only")

	// send sends a request, through the gateway or around it.
	send := func(t *testing.T, address, path string, fields ...string) (int, map[string]string) {
		t.Helper()
		r, err := http.NewRequest("GET", "http://"+address+path, nil)
		must(t, err)
		for i := 0; i < len(fields); i += 2 {
			r.Header.Add(fields[i], fields[i+1])
		}
		response, err := http.DefaultClient.Do(r)
		must(t, err)
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		must(t, err)
		var body map[string]string
		if err := json.Unmarshal(text, &body); err != nil {
			t.Errorf("%s: got the body %q: %v", path, text, err)
		}
		return response.StatusCode, body
	}
	// captured returns the assertion that the recorder receives for a path.
	captured := func(t *testing.T, path string) string {
		t.Helper()
		r, err := http.NewRequest("GET", "http://"+s.Plain+path, nil)
		must(t, err)
		r.Header.Set("Authorization", "Bearer "+token)
		response, err := http.DefaultClient.Do(r)
		must(t, err)
		must(t, response.Body.Close())
		for line := range strings.SplitSeq(s.Upstream.Take()[0].Head, "\r\n") {
			if name, value, _ := strings.Cut(line, ": "); strings.EqualFold(name, identity.AssertionHeader) {
				return value
			}
		}
		t.Fatal("the upstream received no assertion")
		return ""
	}
	free, bound := captured(t, "/recorder/"), captured(t, "/bound/recorder/")

	for i, p := range upstreamtest.Programs {
		t.Run(p.Name, func(t *testing.T) {
			path := "/" + strconv.Itoa(i) + "/a%2Fb"
			tests := []struct {
				name, address, path string
				fields              []string
				status              int
			}{
				{"through the gateway", s.Plain, path + "?q=x", []string{"Authorization", "Bearer " + token, "X-Workspace-ID", "globex"}, 200},
				{"bound, through the gateway", s.Plain, "/bound" + path + "?q=x", []string{"Authorization", "Bearer " + token}, 200},
				{"around the gateway", addresses[i], path, []string{"X-Workspace-ID", "acme"}, 401},
				{"around it, with the key", addresses[i], path, []string{"Authorization", "Bearer " + token}, 401},
				{"around it, with an assertion that was captured", addresses[i], path, []string{identity.AssertionHeader, free}, 200},
				{"around it, with one for another request", addresses[i], path, []string{identity.AssertionHeader, bound}, 401},
			}
			for _, test := range tests {
				status, body := send(t, test.address, test.path, test.fields...)
				if status != test.status {
					t.Errorf("%s: got %d %v, want %d", test.name, status, body, test.status)
				}
				if status == 200 && (body["workspace"] != "acme" || body["key"] != key.ID || body["access"] != "read_only") {
					t.Errorf("%s: got the caller %v, want the key's", test.name, body)
				}
			}
		})
	}
}
