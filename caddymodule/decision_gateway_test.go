package caddymodule_test

import (
	"crypto/tls"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// newDecisionGateway has a server for each policy.
func newDecisionGateway(t testing.TB) *fuzzGateway {
	servers := object{}
	for i, p := range fuzzPolicies {
		auth := func(config object) object {
			block := object{"handler": "api_key_auth"}
			maps.Copy(block, config)
			return block
		}
		handlers := []object{{"handler": "fuzz_before"}, auth(p.config), {"handler": "fuzz_behind"}}
		if p.outer != nil {
			handlers = slices.Insert(handlers, 1, auth(p.outerConfig))
		}
		server := object{"logs": object{}, "routes": []object{{"handle": handlers}}}
		if p.errorPage {
			server["errors"] = object{"routes": []object{{"handle": []object{{"handler": "fuzz_errors"}}}}}
		}
		servers[string(rune('0'+i))] = server
	}
	return newFuzzGateway(t, servers)
}

// decideBoth has the handler and the model decide on the same request.
func (g *fuzzGateway) decideBoth(t *testing.T, input []byte) {
	number, q, ok := g.decode(input)
	if !ok {
		return
	}
	p := fuzzPolicies[number]
	want := decide(p.policy, g.keys, q)
	if p.outer != nil {
		want = decideTwice(*p.outer, p.policy, g.keys, q)
	}
	got := g.send(t, string(rune('0'+number)), q)
	check(t, p.policy, p.errorPage, q, want, got)
	if t.Failed() {
		t.Logf("policy %d, %#v", number, q)
	}
}

// An outcome is the result of a request.
type outcome struct {
	*httptest.ResponseRecorder
	next      http.Header // seen by the next handler; nil if it was not called
	trailer   http.Header
	identity  []any       // values of the placeholders
	failed    http.Header // seen by the error routes
	logLines  string
	readEarly bool
}

// send passes a request to the server, as net/http would have read it. It keeps
// what Caddy removes by default, because a site can turn that off.
func (g *fuzzGateway) send(t *testing.T, server string, q request) *outcome {
	target := q.path + q.query
	u, err := url.ParseRequestURI(target)
	if err != nil {
		t.Fatal(err)
	}
	body := &fuzzBody{Reader: strings.NewReader(q.body)}
	r := &http.Request{
		Method: q.method, URL: u, RequestURI: target, Host: "api.example.com", RemoteAddr: "192.0.2.1:1234",
		Proto: "HTTP/1.1", ProtoMajor: q.version, Header: http.Header{}, Body: body, ContentLength: int64(len(q.body)),
		TLS: &tls.ConnectionState{HandshakeComplete: !q.early},
	}
	for _, field := range q.fields {
		r.Header.Add(field[0], field[1])
	}
	switch q.version {
	case 1:
		r.ProtoMinor = 1
	case 2:
		r.Proto = "HTTP/2.0"
		if q.extended != "" {
			r.Header[":protocol"] = []string{q.extended}
		}
	case 3:
		r.Proto = "HTTP/3.0"
		if q.extended != "" {
			r.Proto = q.extended
		}
	}
	if len(q.trailers) > 0 {
		r.ContentLength = -1
		body.atEnd = func() {
			if r.Trailer == nil {
				r.Trailer = http.Header{}
			}
			for _, field := range q.trailers {
				r.Trailer.Add(field[0], field[1])
			}
		}
		if len(q.trailers)%2 == 1 { // declared
			r.Trailer = http.Header{}
			for _, field := range q.trailers {
				r.Trailer[http.CanonicalHeaderKey(field[0])] = nil
			}
		}
	}

	o := &outcome{ResponseRecorder: httptest.NewRecorder()}
	body.answered = func() bool { return o.Flushed }
	sent := r.Header.Clone()
	hooks := &fuzzHooks{
		before: func(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
			r.Header = sent
			return next.ServeHTTP(w, r)
		},
		behind: func(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
			if o.next != nil {
				t.Error("the next handler was called twice")
			}
			o.next = r.Header.Clone()
			_, _ = io.Copy(io.Discard, r.Body)
			o.trailer = r.Trailer
			repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
			for _, name := range []string{"http.api_key.workspace_id", "http.api_key.id", "http.api_key.access", "http.auth.user.id"} {
				value, _ := repl.Get(name)
				o.identity = append(o.identity, value)
			}
			for name, values := range r.Header { // as Caddy's header directive does
				_ = append(values, "added")
				if !slices.Equal(values, o.next[name]) {
					t.Errorf("%s was changed through another header", name)
				}
			}
			for _, values := range r.Header {
				for i := range values {
					values[i] = "changed"
				}
			}
			_, err := w.Write([]byte("upstream"))
			return err
		},
		errors: func(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
			o.failed = r.Header.Clone()
			o.trailer = r.Trailer
			w.WriteHeader(r.Context().Value(caddyhttp.ErrorCtxKey).(caddyhttp.HandlerError).StatusCode)
			_, err := w.Write([]byte("the site's page"))
			return err
		},
	}
	takeLog()
	g.servers[server].ServeHTTP(o, hooks.with(r))
	o.logLines = takeLog()
	o.readEarly = body.early
	return o
}

// fuzzBody is a body with trailers.
type fuzzBody struct {
	io.Reader
	atEnd    func()
	answered func() bool
	early    bool // it was read before the response was sent
}

func (b *fuzzBody) Read(p []byte) (int, error) {
	b.early = b.early || !b.answered()
	n, err := b.Reader.Read(p)
	if err == io.EOF && b.atEnd != nil {
		b.atEnd()
		b.atEnd = nil
	}
	return n, err
}

func (*fuzzBody) Close() error { return nil }
