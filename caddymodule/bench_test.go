package caddymodule

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// passed stands in for the proxy after the measured handler. Like the proxy, it
// sets a placeholder: the first one in a request costs an allocation, no matter
// which handler sets it.
var passed = caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
	r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).Set("http.reverse_proxy.upstream.hostport", "127.0.0.1:9000")
	return nil
})

// exchangeOf is one request that can be sent repeatedly, as Caddy passes it to its
// handlers.
type exchangeOf struct {
	request *http.Request
	header  http.Header // as received
	server  *caddyhttp.Server
	answer  discard
}

// discard is a ResponseWriter that drops everything.
type discard struct{ header http.Header }

func (d discard) Header() http.Header       { return d.header }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}

func newExchange(token string) *exchangeOf {
	r := httptest.NewRequest(http.MethodGet, "https://api.example.com/public/v1/orders?limit=50", nil)
	for name, value := range map[string]string{
		"Accept": "application/json", "Accept-Encoding": "gzip, br", "Accept-Language": "en",
		"Authorization": "Bearer " + token, "Cache-Control": "no-cache", "Connection": "keep-alive",
		"Content-Type": "application/json", "User-Agent": "zapier/2.1", "X-Request-Id": "0190f1c2-8a4e-7c30-b0f5-0e6a3f1d2c4b",
		"Traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	} {
		r.Header.Set(name, value)
	}
	return &exchangeOf{
		request: r, header: r.Header,
		server: new(caddyhttp.Server), answer: discard{make(http.Header)},
	}
}

// send prepares the request like Caddy's server, and passes it to a handler.
func (e *exchangeOf) send(b testing.TB, h caddyhttp.MiddlewareHandler) {
	e.request.Header = maps.Clone(e.header)
	clear(e.answer.header)
	r := caddyhttp.PrepareRequest(e.request, caddy.NewReplacer(), e.answer, e.server)
	var err error
	if h == nil {
		err = passed.ServeHTTP(e.answer, r)
	} else {
		err = h.ServeHTTP(e.answer, r, passed)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// benchHandler returns a provisioned handler, and the token of a key in its store.
func benchHandler(b testing.TB) (*Auth, string) {
	b.Helper()
	return handlerOn(b, Store{}, nil)
}

// fleetHandler is benchHandler for a gateway of a fleet.
func fleetHandler(b testing.TB) (*Auth, string) {
	b.Helper()
	return handlerOn(b, Store{Module: etcdStore, EtcdStore: EtcdStore{
		Endpoints: etcdtest.Start(b, 1).Endpoints(), IntegrityKeys: []string{firstKey},
	}}, nil)
}

// signingHandler is benchHandler for a handler that signs assertions.
func signingHandler(b testing.TB, bind string) (*Auth, string) {
	b.Helper()
	signed := Assertion{Issuer: "https://api.example.com", Audience: "contacts", Bind: bind}
	return handlerOn(b, Store{}, caddyconfig.JSON(Auth{Assertion: &signed}, nil))
}

// handlerOn returns a provisioned handler with a new store, and the token of a key in it.
func handlerOn(b testing.TB, on Store, config json.RawMessage) (*Auth, string) {
	b.Helper()
	on.Path = b.TempDir() + "/keys"
	ctx, err := caddy.ProvisionContext(&caddy.Config{
		Admin: &caddy.AdminConfig{Disabled: true},
		Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{
			"default": {BaseLog: caddy.BaseLog{WriterRaw: []byte(`{"output":"discard"}`)}},
		}},
		AppsRaw: caddy.ModuleMap{appName: caddyconfig.JSON(App{Store: on}, nil)},
	})
	if err != nil {
		b.Fatal(err)
	}
	module, err := ctx.LoadModuleByID("http.handlers.api_key_auth", config)
	if err != nil {
		b.Fatal(err)
	}
	h := module.(*Auth)
	if err := h.app.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := h.app.Cleanup(); err != nil {
			b.Error(err)
		}
		releaseAll()
	})
	gatewaytest.Await(b, "the lease", func() bool { return h.app.instance(context.Background()).store.Ping() == nil })
	k := newKey(apikey.FullAccess)
	if err := apply(h.app.instance(context.Background()), apikey.Create{Key: k.Key}); err != nil {
		b.Fatal(err)
	}
	return h, k.token
}

// TestAuth_allocations: a request with a cached key costs three allocations more
// than without the handler: the values of the headers, the function that resolves
// placeholders, and the user's id.
func TestAuth_allocations(t *testing.T) {
	h, token := benchHandler(t)
	e := newExchange(token)
	without := testing.AllocsPerRun(1000, func() { e.send(t, nil) })
	with := testing.AllocsPerRun(1000, func() { e.send(t, h) })
	if with-without > 3 {
		t.Errorf("got %v allocations on top of %v, want at most 3", with-without, without)
	}
}

// TestAuth_assertionAllocations: a signed request costs one allocation more at most.
func TestAuth_assertionAllocations(t *testing.T) {
	h, token := benchHandler(t)
	e := newExchange(token)
	without := testing.AllocsPerRun(1000, func() { e.send(t, h) })
	h, token = signingHandler(t, bindNone)
	e = newExchange(token)
	with := testing.AllocsPerRun(1000, func() { e.send(t, h) })
	if with-without > 1 {
		t.Errorf("got %v allocations on top of %v, want at most 1", with-without, without)
	}
}

// twice runs a handler twice.
type twice struct{ *Auth }

func (h twice) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return h.Auth.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		return h.Auth.ServeHTTP(w, r, next)
	}))
}

// sendAll has a handler judge requests with the same token, one after the other.
func sendAll(b *testing.B, h *Auth, token string) {
	e := newExchange(token)
	b.ReportAllocs()
	for b.Loop() {
		e.send(b, h)
	}
}

// BenchmarkAuth measures the handler on top of what Caddy does for any request,
// which is the first of these benchmarks.
func BenchmarkAuth(b *testing.B) {
	b.Run("without", func(b *testing.B) {
		e := newExchange("")
		b.ReportAllocs()
		for b.Loop() {
			e.send(b, nil)
		}
	})
	b.Run("cached", func(b *testing.B) {
		h, token := benchHandler(b)
		sendAll(b, h, token)
	})
	b.Run("cached, signed", func(b *testing.B) {
		h, token := signingHandler(b, bindNone)
		sendAll(b, h, token)
	})
	b.Run("cached, signed for each request", func(b *testing.B) {
		h, token := signingHandler(b, bindRequest)
		sendAll(b, h, token)
	})
	b.Run("cached, in a fleet", func(b *testing.B) {
		h, token := fleetHandler(b)
		sendAll(b, h, token)
	})
	b.Run("parallel", func(b *testing.B) {
		h, token := benchHandler(b)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for e := newExchange(token); pb.Next(); {
				e.send(b, h)
			}
		})
	})
	// Twice is with a second block, as on a site that is stricter in one part.
	b.Run("twice", func(b *testing.B) {
		h, token := benchHandler(b)
		e := newExchange(token)
		b.ReportAllocs()
		for b.Loop() {
			e.send(b, twice{h})
		}
	})
	// A cold key is read from the store on each request.
	b.Run("cold", func(b *testing.B) {
		h, token := benchHandler(b)
		cold, e := h.app.instance(context.Background()).authn, newExchange(token)
		parsed, _ := apikey.ParseToken(token)
		forget := apikey.Outcome{Stale: []apikey.Digest{parsed.Digest()}}
		b.ReportAllocs()
		for b.Loop() {
			cold.Changed(forget)
			e.send(b, h)
		}
	})
	b.Run("refused", func(b *testing.B) {
		h, token := benchHandler(b)
		e := newExchange(token[:52])
		b.ReportAllocs()
		for b.Loop() {
			e.send(b, h)
		}
	})
}

// BenchmarkAuth_signing measures what an assertion adds to a request, which is less than
// what separate benchmarks differ by: batches of requests with and without one take turns.
func BenchmarkAuth_signing(b *testing.B) {
	const batch = 100
	plain, plainToken := benchHandler(b)
	signing, signingToken := signingHandler(b, bindNone)
	without, with := newExchange(plainToken), newExchange(signingToken)
	send := func(e *exchangeOf, h *Auth) time.Duration {
		begun := time.Now()
		for range batch {
			e.send(b, h)
		}
		return time.Since(begun)
	}
	var added []time.Duration
	for b.Loop() {
		difference := -send(without, plain) + send(with, signing)
		difference += send(with, signing) - send(without, plain)
		added = append(added, difference/(2*batch))
	}
	slices.Sort(added)
	b.ReportMetric(float64(added[len(added)/2]), "ns-added/request")
	b.ReportMetric(0, "ns/op")
}
