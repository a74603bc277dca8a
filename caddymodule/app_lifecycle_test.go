package caddymodule

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/testenv/bubble"
)

// gate is a handler that holds accepted requests before they are judged, until a
// test releases them.
type gate struct{}

var (
	gateReached = make(chan struct{})
	gateOpened  = make(chan struct{})
)

func init() {
	caddy.RegisterModule(gate{})
	httpcaddyfile.RegisterHandlerDirective("test_gate", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		h.Next()
		return gate{}, nil
	})
}

func (gate) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.test_gate", New: func() caddy.Module { return new(gate) }}
}

func (gate) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	gateReached <- struct{}{}
	<-gateOpened
	return next.ServeHTTP(w, r)
}

const gated = "\troute {\n\t\ttest_gate\n\t\tapi_key_auth\n\t\treverse_proxy {{.Upstream}}\n\t}\n"

// newApp returns an app that has not started.
func newApp() *App {
	app := (*App)(nil).CaddyModule().New().(*App)
	app.log = zap.NewNop()
	return app
}

// judge passes a request with a token to a handler, without a server.
func judge(app *App, ctx context.Context) (w *httptest.ResponseRecorder, passed bool) {
	return judgeBy(&Auth{app: app, log: zap.NewNop(), refusals: refusals("api")}, ctx)
}

func judgeBy(h *Auth, ctx context.Context) (w *httptest.ResponseRecorder, passed bool) {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+apikey.NewToken("agk").Reveal())
	w = httptest.NewRecorder()
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, new(caddyhttp.Server))
	_ = h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		passed = true
		return nil
	}))
	return w, passed
}

func TestAuth_beforeStart(t *testing.T) {
	t.Run("waits", func(t *testing.T) {
		bubble.Test(t, func(t *testing.T) {
			app, started := newApp(), new(instance)
			var got *instance
			go func() { got = app.instance(context.Background()) }()
			time.Sleep(startTimeout - time.Second)
			bubble.Wait()
			if got != nil {
				t.Fatal("got an instance before the app has started")
			}
			app.shared.Store(started)
			close(app.ready)
			bubble.Wait()
			if got != started {
				t.Errorf("got %p, want the instance %p as soon as the app has started", got, started)
			}
		})
	})
	t.Run("not where the store is open", func(t *testing.T) {
		app := newApp()
		app.path = t.TempDir()
		_, err := acquire(app.path, settings{cacheSize: 1, auditRetention: time.Hour, lastUsedResolution: time.Minute}, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closeStore(app.path) })
		if w, passed := judge(app, t.Context()); w.Code != 401 || passed {
			t.Errorf("got %d passed=%v, want 401 by the store of the configuration before", w.Code, passed)
		}
	})
	t.Run("not for ever", func(t *testing.T) {
		bubble.Test(t, func(t *testing.T) {
			before := time.Now()
			w, passed := judge(newApp(), t.Context())
			if w.Code != 503 || w.Body.String() != bodies[503] || passed {
				t.Errorf("got %d %q passed=%v, want 503", w.Code, w.Body, passed)
			}
			if waited := time.Since(before); waited != startTimeout {
				t.Errorf("got an answer after %v, want it after %v", waited, startTimeout)
			}
		})
	})
	t.Run("not for a client that is gone", func(t *testing.T) {
		bubble.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			before := time.Now()
			if w, passed := judge(newApp(), ctx); w.Code != 503 || passed {
				t.Errorf("got %d passed=%v, want 503", w.Code, passed)
			}
			if waited := time.Since(before); waited != 0 {
				t.Errorf("got an answer after %v, want it at once", waited)
			}
		})
	})
}

// TestAuth_startsAfterHTTP sends a request to a provisioned server whose app has
// not started.
func TestAuth_startsAfterHTTP(t *testing.T) {
	s := newServer(t)
	var config caddy.Config
	if err := caddy.StrictUnmarshalJSON(s.config(gated), &config); err != nil {
		t.Fatal(err)
	}
	config.Admin = &caddy.AdminConfig{Disabled: true}
	ctx, err := caddy.ProvisionContext(&config)
	if err != nil {
		t.Fatal(err)
	}
	web, err := ctx.App("http")
	if err != nil {
		t.Fatal(err)
	}
	app, err := ctx.App(appName)
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan *httptest.ResponseRecorder)
	go func() {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", "Bearer "+apikey.NewToken("agk").Reveal())
		w := httptest.NewRecorder()
		for _, server := range web.(*caddyhttp.App).Servers {
			server.ServeHTTP(w, r)
		}
		answered <- w
	}()
	<-gateReached
	if _, err := os.Stat(s.Store); err == nil {
		t.Error("got a store before Start, want none")
	}
	gateOpened <- struct{}{}
	if err := app.(*App).Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = app.(*App).Cleanup() })
	if w := <-answered; w.Code != 401 || w.Header().Get("WWW-Authenticate") != invalidChallenge {
		t.Errorf("got %d %q, want the token to be looked up", w.Code, w.Header())
	}
}

// TestAuth_panic: a panic in the check is answered with a refusal, and logged with
// its location.
func TestAuth_panic(t *testing.T) {
	app := newApp()
	app.shared.Store(new(instance)) // has no authenticator
	core, logged := observer.New(zap.DebugLevel)
	h := &Auth{app: app, log: zap.New(core), refusals: refusals("api")}
	w, passed := judgeBy(h, t.Context())
	if w.Code != 500 || w.Body.String() != bodies[500] || passed {
		t.Errorf("got %d %q passed=%v, want 500", w.Code, w.Body, passed)
	}
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("got Cache-Control %q, want no-store", got)
	}
	if logged.Len() != 1 {
		t.Fatalf("got %d lines in the log, want 1", logged.Len())
	}
	stack, _ := logged.All()[0].ContextMap()["stack"].(string)
	if want := "authn.(*Authenticator).Check"; !strings.Contains(stack, want) {
		t.Errorf("got the stack %s\nwant it to contain %s", stack, want)
	}
}

func TestValidate_serverRunning(t *testing.T) {
	s := serve(t, proxied)
	k := s.create(apikey.FullAccess)
	if err := validate(s.config(proxied)); err != nil {
		t.Errorf("validating: got %v, want no error", err)
	}
	s.mustUse(t, 1)
	s.send("GET /", k.bearer()).mustBe(t, 200, "ok")
}

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

func TestCleanup_withoutStart(t *testing.T) {
	s := serve(t, proxied)
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	app := newApp()
	app.Store.Path = s.Store
	if err := app.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	if err := app.Cleanup(); err != nil {
		t.Fatal(err)
	}
	releaseAll()
	s.mustUse(t, 1)
}

// closing is a pooled value that records whether it was closed.
type closing struct{ closed atomic.Bool }

func (c *closing) Destruct() error {
	c.closed.Store(true)
	return nil
}

func TestRelease_drains(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		pooled := new(closing)
		instances.LoadOrStore("/drained", pooled)
		if err := release("/drained"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(drain - time.Second)
		bubble.Wait()
		if pooled.closed.Load() {
			t.Error("got the store closed before the drain is over")
		}
		time.Sleep(time.Second)
		bubble.Wait()
		if !pooled.closed.Load() {
			t.Error("got the store open after the drain, want it closed")
		}
		releaseAll()
	})
}

// TestApp_pathWithPlaceholder: a placeholder in the path is expanded, never taken
// literally.
func TestApp_pathWithPlaceholder(t *testing.T) {
	s := newServer(t)
	want := s.Store
	t.Setenv("STATE_DIRECTORY", filepath.Dir(want))
	s.Store = "{env.STATE_DIRECTORY}/keys"
	s.mustLoad(proxied)
	if got := s.instance().store.Path(); got != want {
		t.Errorf("got the store at %q, want %q", got, want)
	}
}

func TestRealPath(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for path, want := range map[string]string{
		dir:                           dir,
		link:                          dir,
		link + "/a/../b":              dir + "/b",
		filepath.Join(link, "a", "b"): dir + "/a/b",
		"a":                           dir + "/a",
		"link/a":                      dir + "/a",
		"/":                           "/",
	} {
		if got, err := realPath(path); err != nil || got != want {
			t.Errorf("realPath(%q): got %q, %v, want %q", path, got, err, want)
		}
	}
}
