package caddymodule

import (
	"bytes"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// mustUse checks how many configurations hold the store open.
func (s *server) mustUse(t *testing.T, want int) {
	t.Helper()
	if got, _ := instances.References(s.Store); got != want {
		t.Errorf("got %d configurations that hold the store open, want %d", got, want)
	}
}

func TestReload_samePath(t *testing.T) {
	s := serve(t, proxied)
	k := s.create(apikey.FullAccess)
	s.send("GET /", k.bearer()).mustBe(t, 200, "ok")
	shared, misses := s.instance(), s.metric(`caddy_api_keys_cache_lookups_total{outcome="miss"}`)
	for range 3 {
		s.mustLoad(proxied)
	}
	s.send("GET /", k.bearer()).mustBe(t, 200, "ok")
	if s.instance() != shared {
		t.Error("got another instance after a reload, want the same")
	}
	if got := s.metric(`caddy_api_keys_cache_lookups_total{outcome="miss"}`); got != misses {
		t.Errorf("got %s cache misses after a reload, want %s: the key was in memory", got, misses)
	}
	s.mustUse(t, 4)
	releaseAll()
	s.mustUse(t, 1)
	s.send("GET /", k.bearer()).mustBe(t, 200, "ok")
}

// TestReload_anotherPath: requests accepted by a configuration are judged by its
// store, later ones by the new one.
func TestReload_anotherPath(t *testing.T) {
	s := serve(t, gated)
	k := s.create(apikey.FullAccess)
	answers := make(chan answer)
	go func() { answers <- s.send("GET /", k.bearer()) }()
	<-gateReached

	s.Store = filepath.Join(t.TempDir(), "other")
	s.mustLoad(proxied)
	gateOpened <- struct{}{}
	(<-answers).mustBe(t, 200, "ok")
	s.received(t).mustCarry(t, k)

	s.send("GET /", k.bearer()).mustHave(t, "WWW-Authenticate", invalidChallenge)
	s.Upstream.WantNothing(t)
	if got := s.call("GET", "/api-keys/workspaces/acme/keys", "").Body; strings.Contains(got, k.ID) {
		t.Error("got the key of the old store from the admin endpoint, want those of the new one")
	}
}

// TestReload_rejected: a configuration that cannot start leaves the running one
// unchanged, in every order of Caddy's apps.
func TestReload_rejected(t *testing.T) {
	occupied, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer occupied.Close()
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, []byte("not a directory"))

	for _, test := range []struct {
		name string
		load func(*server) error
		want string // in the error
	}{
		{"handler that fails to provision", func(s *server) error {
			return s.load(proxied + "\trespond /x a\n\tapi_key_admin /y {\n\t\ttoken {env.NOT_SET_ANYWHERE}\n\t}\n")
		}, "{env.NOT_SET_ANYWHERE} is empty"},
		{"module that there is not, before any key is asked for", func(s *server) error {
			s.configs++
			return load([]byte(`{"admin":{"listen":"` + s.Admin + `","config":{"persist":false}},
				"apps":{"http":{"servers":{"s":{"routes":[{"handle":[{"handler":"not_there"}]}]}}}}}`))
		}, "not_there"},
		{"server that cannot listen", func(s *server) error {
			config := s.adapt("http://:{{.Port}} {\n bind 127.0.0.1\n " + proxied + "}\nhttp://" + occupied.Addr().String() + " {\n bind 127.0.0.1\n}")
			return load(config)
		}, "address already in use"},
		{"store that cannot be opened", func(s *server) error {
			store := s.Store
			s.Store = file
			defer func() { s.Store = store }()
			return s.load(proxied)
		}, `opening key store at "` + file + `"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, proxied)
			k := s.create(apikey.FullAccess)
			const allowed = `caddy_api_keys_requests_total{access="full_access",action="read",result="allowed"}`
			s.send("GET /", k.bearer()).mustBe(t, 200, "ok")
			before := s.metric(allowed)
			for range 5 {
				if err := test.load(s); err == nil || !strings.Contains(err.Error(), test.want) {
					t.Fatalf("got error %v, want one with %q", err, test.want)
				}
				if got := s.call("GET", "/api-keys/healthz", ""); got.Status != 200 {
					t.Errorf("got %d %s from the admin endpoint, want 200", got.Status, got.Body)
				}
				if got := s.call("GET", "/api-keys/workspaces/acme/keys/"+k.ID, ""); got.Status != 200 {
					t.Errorf("got %d %s from the admin endpoint, want the key", got.Status, got.Body)
				}
				if got := s.metric(allowed); got != before {
					t.Errorf("got %q requests counted, want %q as before", got, before)
				}
			}
			releaseAll()
			s.mustUse(t, 1)
			s.send("GET /", k.bearer()).mustBe(t, 200, "ok")
			s.mustLoad(proxied)
			s.send("GET /", k.bearer()).mustBe(t, 200, "ok")
		})
	}
}

// metric returns the value of one series from the admin endpoint, "" if it is
// not there.
func (s *server) metric(series string) string {
	s.T.Helper()
	got := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (.*)$`).FindStringSubmatch(s.call("GET", "/metrics", "").Body)
	if got == nil {
		return ""
	}
	return got[1]
}

// What a configuration says that is refused is not in force afterwards, even if its other
// apps had started by then. Caddy starts apps in random order.
func TestReload_rejectedSettings(t *testing.T) {
	occupied, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer occupied.Close()
	s := serve(t, proxied)
	i := s.instance()
	before := i.settings.Load()
	const changed = `"api_keys":{"audit_retention":"2400h","last_used_resolution":"2m","backup_key":"` +
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f" + `",`
	refused := bytes.Replace(s.adapt("http://"+occupied.Addr().String()+" {\n bind 127.0.0.1\n "+proxied+"}"), []byte(`"api_keys":{`), []byte(changed), 1)
	for adopted := false; !adopted; adopted = i.settings.Load() != before {
		if err := load(refused); err == nil || !strings.Contains(err.Error(), "address already in use") {
			t.Fatalf("got error %v, want one about the address in use", err)
		}
	}
	if got := *i.settings.Load(); got != *before {
		t.Errorf("got the settings %+v after a refused reload, want those before, %+v", got, *before)
	}
}

// TestReload_metrics: a reload resets no counter.
func TestReload_metrics(t *testing.T) {
	s := serve(t, proxied)
	k := s.create(apikey.ReadOnly)
	const series = `caddy_api_keys_requests_total{access="read_only",action="read",result="allowed"}`
	var first, got int
	if _, err := fmt.Sscan(s.metric(series), &first); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 3; i++ {
		s.send("GET /", k.bearer()).mustBe(t, 200, "ok")
		s.mustLoad(proxied)
		if _, err := fmt.Sscan(s.metric(series), &got); err != nil || got != first+i {
			t.Errorf("got %d counted (%v), want %d", got, err, first+i)
		}
	}
}
