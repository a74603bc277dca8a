package caddymodule_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// FuzzFraming sends bytes to a gateway and checks what its upstream receives: each
// request was judged, once, and has the identity of the key that it was judged by,
// and nothing of the client's in its place.
//
// {full}, {read} and so on in the bytes are tokens: see framingTokens.
func FuzzFraming(f *testing.F) {
	gateway := newFramingGateway(f)
	for _, seed := range framingSeeds() {
		f.Add(false, []byte(seed))
		f.Add(true, []byte(seed))
	}
	f.Fuzz(func(t *testing.T, odd bool, input []byte) {
		if len(input) > 16<<10 {
			return
		}
		gateway.exchange(t, odd, input)
	})
}

// framingEnd follows every input. If the server reads it as a request, it closes
// the connection.
const framingEnd = "GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

// A framingGateway is Caddy between a client and an upstream.
type framingGateway struct {
	*fuzzGateway
	dir    string
	tokens *strings.Replacer
	ticket string // a secret header that identifies judgements

	mu       sync.Mutex
	judged   map[string]*judgement
	problems []string
}

// A judgement is the result of a request that reached api_key_auth.
type judgement struct {
	method   string
	header   http.Header
	passed   bool
	key      knownKey
	status   int // of the response
	received int // by the upstream
	whole    int // of these, with the complete body
	settled  bool
}

func newFramingGateway(f *testing.F) *framingGateway {
	dir, err := os.MkdirTemp("", "framing")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = os.RemoveAll(dir) })
	g := &framingGateway{dir: dir, judged: make(map[string]*judgement), ticket: "X-Ticket-" + strconv.FormatUint(rand.Uint64(), 36)}
	g.ticket = http.CanonicalHeaderKey(g.ticket)
	listener, err := net.Listen("unix", filepath.Join(dir, "upstream"))
	if err != nil {
		f.Fatal(err)
	}
	upstream := &http.Server{Handler: http.HandlerFunc(g.upstream), ReadHeaderTimeout: time.Minute}
	go func() { _ = upstream.Serve(listener) }()
	f.Cleanup(func() { _ = upstream.Close() })

	server := func(name string, proxy object) object {
		proxy["handler"], proxy["upstreams"] = "reverse_proxy", []object{{"dial": "unix/" + filepath.Join(dir, "upstream")}}
		return object{
			"listen": []string{"unix/" + filepath.Join(dir, name)}, "protocols": []string{"h1"},
			"listener_wrappers": []object{{"wrapper": "fuzz_listener"}},
			"routes":            []object{{"handle": []object{{"handler": "fuzz_before"}, {"handler": "api_key_auth"}, {"handler": "fuzz_behind"}, proxy}}},
		}
	}
	plain, odd := server("plain", object{}), server("odd", object{"request_buffers": 4096})
	odd["expected_underscore_headers"] = []string{"X_Workspace_ID", "X_HTTP_*"}
	odd["expected_dot_headers"] = []string{"X.Api.*"}
	g.fuzzGateway = newFuzzGateway(f, object{"plain": plain, "odd": odd})
	var pairs []string
	for i, name := range framingTokens {
		if name != "" {
			pairs = append(pairs, name, g.fuzzGateway.tokens[i])
		}
	}
	g.tokens = strings.NewReplacer(pairs...)
	serverHooks = &fuzzHooks{before: g.before, behind: g.behind}
	return g
}

// exchange sends an input, waits for everything that follows, and checks it.
func (g *framingGateway) exchange(t *testing.T, odd bool, input []byte) {
	name := "plain"
	if odd {
		name = "odd"
	}
	connections.Add(1)
	conn, err := net.Dial("unix", filepath.Join(g.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(100 * time.Millisecond))
	_, _ = io.WriteString(conn, g.tokens.Replace(string(input))+framingEnd)
	_, err = io.Copy(io.Discard, conn)
	waited := !errors.Is(err, os.ErrDeadlineExceeded) // the client did not hang up
	_ = conn.Close()
	waitForConnections(t)
	takeLog()

	g.mu.Lock()
	defer g.mu.Unlock()
	for _, j := range g.judged {
		if j.settled {
			continue
		}
		j.settled = true
		switch {
		case !j.passed && j.received > 0:
			t.Errorf("refused with %d, and received: %+v", j.status, j)
		case waited && j.whole > 0 && j.status/100 != 2:
			t.Errorf("answered with %d, and received: %+v", j.status, j)
		case waited && j.status/100 == 2 && j.whole != 1:
			t.Errorf("answered with %d, and received %d times: %+v", j.status, j.whole, j)
		}
	}
	// An abandoned one may still be on its way to the upstream.
	maps.DeleteFunc(g.judged, func(_ string, j *judgement) bool { return !j.passed || j.received > 0 || len(g.judged) > 1000 })
	for _, problem := range g.problems {
		t.Error(problem)
	}
	g.problems = nil
}

func (g *framingGateway) problem(format string, args ...any) {
	g.problems = append(g.problems, fmt.Sprintf(format, args...))
}

// before sees every request before api_key_auth, and its response.
func (g *framingGateway) before(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	j := &judgement{method: r.Method, header: r.Header.Clone()}
	ticket := strconv.FormatUint(rand.Uint64(), 36)
	g.mu.Lock()
	g.judged[ticket] = j
	g.mu.Unlock()
	recorder := caddyhttp.NewResponseRecorder(w, nil, nil)
	caddyhttp.SetVar(r.Context(), g.ticket, ticket)
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		j.status = recorder.Status()
	}()
	return next.ServeHTTP(recorder, r)
}

// behind sees those that api_key_auth let pass.
func (g *framingGateway) behind(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	ticket := caddyhttp.GetVar(r.Context(), g.ticket).(string)
	g.mu.Lock()
	j := g.judged[ticket]
	j.passed = true
	if credentials := j.header["Authorization"]; len(credentials) == 1 && len(credentials[0]) == len("Bearer ")+53 {
		j.key = g.keys[credentials[0][len("Bearer "):]]
	}
	if j.key.status != "active" || j.key.suspended {
		g.problem("passed without a valid key: %+v", j)
	}
	g.mu.Unlock()
	r.Header.Set(g.ticket, ticket)
	return next.ServeHTTP(w, r)
}

// upstream sees what Caddy passes on.
func (g *framingGateway) upstream(w http.ResponseWriter, r *http.Request) {
	j := g.received(r)
	_, err := io.Copy(io.Discard, r.Body)
	g.mu.Lock()
	if len(r.Trailer) > 0 {
		g.problem("trailers were passed on: %v", r.Trailer)
	}
	if j != nil && err == nil {
		j.whole++
	}
	g.mu.Unlock()
	_, _ = io.WriteString(w, "upstream")
}

func (g *framingGateway) received(r *http.Request) *judgement {
	g.mu.Lock()
	defer g.mu.Unlock()
	tickets := r.Header[g.ticket]
	if len(tickets) != 1 || g.judged[tickets[0]] == nil {
		g.problem("a request that was not judged: %s %s %v", r.Method, r.RequestURI, r.Header)
		return nil
	}
	j := g.judged[tickets[0]]
	if j.received++; j.received > 1 {
		g.problem("received twice: %+v", j)
	}
	if r.Method != j.method {
		g.problem("judged as %s, received as %s", j.method, r.Method)
	}
	for i, want := range []string{j.key.workspace, j.key.id, j.key.access} {
		if got := r.Header[http.CanonicalHeaderKey(standardNames[i])]; !slices.Equal(got, []string{want}) {
			g.problem("%s is %q, want %q", standardNames[i], got, want)
		}
	}
	for name := range r.Header {
		ours := slices.ContainsFunc(standardNames[:], func(n string) bool { return name == http.CanonicalHeaderKey(n) })
		offer := name == "Upgrade" && !strings.EqualFold(strings.Join(r.Header[name], ","), "websocket") || name == "Http2-Settings"
		if isIdentity(policy{}, name) && !ours || isOverride(name) || isPath(name) || offer || strings.EqualFold(name, "Authorization") {
			g.problem("the client's %s was passed on: %q", name, r.Header[name])
		}
	}
	if j.key.access == "read_only" {
		for name := range j.header {
			if isOverride(name) || name == "Upgrade" && slices.Equal(j.header[name], []string{"websocket"}) {
				g.problem("a read-only key with %s passed", name)
			}
		}
		if !slices.Contains([]string{"GET", "HEAD", "OPTIONS"}, r.Method) {
			g.problem("a read-only key's %s passed", r.Method)
		}
	}
	return j
}
