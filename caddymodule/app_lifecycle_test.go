package caddymodule

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
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
