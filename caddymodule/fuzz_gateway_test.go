package caddymodule_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage"
	_ "github.com/caddyserver/caddy/v2/modules/logging"

	_ "github.com/agiled/caddy-api-keys/caddymodule"
)

// A knownKey is a key of the store.
type knownKey struct {
	id, workspace, access string
	status                string // active, expired or revoked
	suspended             bool   // whether its workspace is
	expires               string // RFC 3339, if that is within 14 days
}

// object is JSON.
type object = map[string]any

// A fuzzGateway is a running Caddy with some keys.
type fuzzGateway struct {
	servers map[string]*caddyhttp.Server
	tokens  []string // in the order of fuzzKeys, then an unknown one
	keys    map[string]knownKey
}

// fuzzKeys are the keys of a fuzzGateway.
var fuzzKeys = []knownKey{
	{workspace: "acme", access: "full_access", status: "active"},
	{workspace: "acme", access: "read_only", status: "active"},
	{workspace: "initech", access: "full_access", status: "active", expires: "168h"},
	{workspace: "acme", access: "full_access", status: "revoked"},
	{workspace: "acme", access: "read_only", status: "revoked"},
	{workspace: "acme", access: "full_access", status: "expired", expires: "1ms"},
	{workspace: "globex", access: "full_access", status: "active", suspended: true},
	{workspace: "globex", access: "read_only", status: "active", suspended: true},
	{workspace: "globex", access: "full_access", status: "revoked", suspended: true},
}

// newFuzzGateway runs Caddy with the given servers.
func newFuzzGateway(t testing.TB, servers object) *fuzzGateway {
	dir, err := os.MkdirTemp("", "fuzz")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	servers["admin"] = object{"routes": []object{{"handle": []object{{"handler": "api_key_admin", "trust_upstream_auth": true}}}}}
	config, err := json.Marshal(object{
		"admin":   object{"disabled": true, "config": object{"persist": false}},
		"storage": object{"module": "file_system", "root": filepath.Join(dir, "storage")},
		"logging": object{"logs": object{"default": object{"level": "DEBUG", "writer": object{"output": "fuzz_log"}, "encoder": object{"format": "lazy", "wrap": object{"format": "json"}}}}},
		"apps": object{
			"api_keys": object{"store": object{"path": filepath.Join(dir, "keys")}, "foreign_tokens": "accept"},
			"http":     object{"servers": servers},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	app, err := caddy.ActiveContext().AppIfConfigured("http")
	if err != nil {
		t.Fatal(err)
	}
	g := &fuzzGateway{servers: app.(*caddyhttp.App).Servers, keys: make(map[string]knownKey)}
	for i, key := range fuzzKeys {
		g.create(t, key, i)
	}
	g.post(t, "/workspaces/globex/suspend", nil)
	unknown := "agk_" + strings.Repeat("0123456789", 5)[:43]
	g.tokens = append(g.tokens, checksummed(unknown))
	return g
}

// create creates a key with the given properties.
func (g *fuzzGateway) create(t testing.TB, key knownKey, number int) {
	request := object{"name": fmt.Sprintf("Number %d of the fuzzer", number), "preset": key.access}
	if key.expires != "" {
		request["expires_in"] = key.expires
	}
	answer := g.post(t, "/workspaces/"+key.workspace+"/keys", request)
	made := answer["key"].(object)
	key.id = made["id"].(string)
	if key.status == "revoked" {
		g.post(t, "/workspaces/"+key.workspace+"/keys/"+key.id+"/revoke", nil)
	}
	if key.expires != "" {
		at, err := time.Parse(time.RFC3339, made["expires_at"].(string))
		if err != nil {
			t.Fatal(err)
		}
		key.expires = at.UTC().Format(time.RFC3339)
		if key.status == "expired" {
			time.Sleep(time.Until(at))
		}
	}
	token := answer["token"].(string)
	g.tokens = append(g.tokens, token)
	g.keys[token] = key
}

func (g *fuzzGateway) post(t testing.TB, path string, body any) object {
	content := []byte("{}")
	if body != nil {
		content, _ = json.Marshal(body)
	}
	r := httptest.NewRequest("POST", "http://admin"+path, bytes.NewReader(content))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	g.servers["admin"].ServeHTTP(w, r)
	var answer object
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code/100 != 2 {
		t.Fatalf("POST %s: got %d %s", path, w.Code, w.Body)
	}
	return answer
}

// checksummed appends the checksum to a token.
func checksummed(token string) string { return token + base62Checksum(token) }

// The modules of these tests. What they do with a request is in its context.
func init() {
	caddy.RegisterModule(fuzzLog{})
	for name, do := range map[string]func(*fuzzHooks) caddyhttp.MiddlewareHandler{
		"fuzz_before": func(h *fuzzHooks) caddyhttp.MiddlewareHandler { return h.before },
		"fuzz_behind": func(h *fuzzHooks) caddyhttp.MiddlewareHandler { return h.behind },
		"fuzz_errors": func(h *fuzzHooks) caddyhttp.MiddlewareHandler { return h.errors },
	} {
		caddy.RegisterModule(fuzzHandler{name: name, of: do})
	}
}

// fuzzHooks run before and after api_key_auth, and in the error routes.
type fuzzHooks struct {
	before, behind, errors middleware
}

type middleware func(http.ResponseWriter, *http.Request, caddyhttp.Handler) error

func (m middleware) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return m(w, r, next)
}

type fuzzHooksKey struct{}

// with returns r with the hooks in its context.
func (h *fuzzHooks) with(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), fuzzHooksKey{}, h))
}

// serverHooks run for requests that arrive over a connection.
var serverHooks *fuzzHooks

type fuzzHandler struct {
	name string
	of   func(*fuzzHooks) caddyhttp.MiddlewareHandler
}

func (h fuzzHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: caddy.ModuleID("http.handlers." + h.name), New: func() caddy.Module { return &h }}
}

func (h *fuzzHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	hooks, ok := r.Context().Value(fuzzHooksKey{}).(*fuzzHooks)
	if !ok {
		hooks = serverHooks
	}
	return h.of(hooks).ServeHTTP(w, r, next)
}

// fuzzLog receives Caddy's log.
type fuzzLog struct{}

var logged struct {
	sync.Mutex
	lines bytes.Buffer
}

// takeLog returns what was logged since the last call.
func takeLog() string {
	logged.Lock()
	defer logged.Unlock()
	defer logged.lines.Reset()
	return logged.lines.String()
}

func (fuzzLog) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.logging.writers.fuzz_log", New: func() caddy.Module { return new(fuzzLog) }}
}

func (fuzzLog) String() string                      { return "fuzz_log" }
func (fuzzLog) WriterKey() string                   { return "fuzz_log" }
func (fuzzLog) OpenWriter() (io.WriteCloser, error) { return fuzzLog{}, nil }
func (fuzzLog) Close() error                        { return nil }
func (fuzzLog) Write(line []byte) (int, error) {
	logged.Lock()
	defer logged.Unlock()
	return logged.lines.Write(line)
}
