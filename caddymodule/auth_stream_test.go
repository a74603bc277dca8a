package caddymodule

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/authn"
)

// BenchmarkStream measures what it costs to end a request with its key, compared
// with the same request without a stream: one with a short response, and one with a
// short body too.
func BenchmarkStream(b *testing.B) {
	h, token := benchHandler(b)
	parsed, _ := apikey.ParseToken(token)
	a := h.app.instance(context.Background()).authn
	d := a.Check(context.Background(), &h.policy, &authn.Facts{Method: http.MethodGet, Authorization: []string{"Bearer " + parsed.Reveal()}})
	if !d.Allowed() {
		b.Fatal(d.Result)
	}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		body := new(again)
		r := caddyhttp.PrepareRequest(httptest.NewRequest(method, "/public/v1/orders", body), caddy.NewReplacer(), discard{make(http.Header)}, new(caddyhttp.Server))
		if r.Body, r.ContentLength = body, int64(len(again{}.content())); method == http.MethodGet {
			r.Body, r.ContentLength = http.NoBody, 0
		}
		original, w := r.Body, http.ResponseWriter(discard{make(http.Header)})
		b.Run(method+"/without", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				passed := new(struct {
					response
					identity [4]string
				})
				identify(r, &passed.identity)
				passed.begin(w, &d)
				if err := short.ServeHTTP(passed, r); err != nil {
					b.Fatal(err)
				}
				removeKeyEndTrailers(w.Header())
			}
		})
		b.Run(method+"/with", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				passed := new(passage)
				identify(r, &passed.identity)
				onward := passed.stream.begin(w, r, a, d.Key, false, false)
				passed.response.begin(&passed.stream, &d)
				if err := h.serve(passed, r, onward, short, &d); err != nil {
					b.Fatal(err)
				}
				r.Body = original
			}
		})
	}
}

// identify sets a header whose values belong to the request, as the handler does.
func identify(r *http.Request, values *[4]string) { r.Header["X-Workspace-Id"] = values[0:1:1] }

// again is a short body that can be read repeatedly.
type again struct{ read bool }

func (again) content() string { return `{"name":"Ada Lovelace","email":"ada@example.com"}` }

func (a *again) Read(p []byte) (int, error) {
	if a.read = !a.read; !a.read {
		return 0, io.EOF
	}
	return copy(p, a.content()), nil
}

func (*again) Close() error { return nil }

var shortBuffer = make([]byte, 512)

// short reads a request's body and responds in one piece, like most upstreams.
var short = caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
	for err := error(nil); err == nil; {
		_, err = r.Body.Read(shortBuffer)
	}
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(shortBuffer)
	return err
})
