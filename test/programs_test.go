package test

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// program is an HTTP client that customers use. It is run with a method, an
// address and a token, and prints the status and the body of the answer.
type program struct {
	name string
	tool string // as testenv knows it
	args func(t *testing.T, method, url, token string) []string
}

func script(args ...string) func(t *testing.T, method, url, token string) []string {
	return func(_ *testing.T, method, url, token string) []string {
		return slices.Concat(args, []string{method, url, token})
	}
}

func curl(options ...string) func(t *testing.T, method, url, token string) []string {
	return func(_ *testing.T, method, url, token string) []string {
		args := append(options, "-sS", "-w", "%{stderr}%{http_code}", "-H", "Authorization: Bearer "+token, url)
		if method == "POST" {
			args = append(args, "-d", `{"name":"Ada"}`)
		}
		return args
	}
}

var programs = []program{
	{"curl", "curl", curl()},
	{"curl, which offers HTTP/2", "curl", curl("--http2")},
	{"Node's fetch", "node", script("testdata/clients/client.mjs")},
	{"Python's urllib", "python3", script("testdata/clients/client.py")},
	{"Java's HttpClient, which offers HTTP/2", "java", func(t *testing.T, method, url, token string) []string {
		return append(javaClient(t, "Client"), method, url, token)
	}},
}

// javaClient returns the arguments with which java runs a program of testdata/clients, from
// classes: it would compile a source each time, which takes most of a client's time.
func javaClient(t *testing.T, name string, options ...string) []string {
	t.Helper()
	classes := filepath.Join(filepath.Dir(binary), "java")
	javac := testenv.Tool(t, "javac")
	compileJava.Do(func() {
		if out, err := exec.Command(javac, "-J-XX:TieredStopAtLevel=1", "-J-XX:+UseSerialGC", "-d", classes,
			"testdata/clients/Client.java", "testdata/clients/Upload.java").CombinedOutput(); err != nil {
			t.Errorf("javac: %v\n%s", err, out)
		}
	})
	return slices.Concat(testenv.JavaFlags, options, []string{"-cp", classes, name})
}

var compileJava sync.Once

// TestPrograms verifies that the clients that customers write their integrations with are
// not taken for browsers, and are told what is wrong with a token.
func TestPrograms(t *testing.T) {
	t.Parallel()
	s := start(t, gatewayConfig)
	key, token := s.Create("acme", "Warehouse sync", "full_access")
	tests := []struct {
		method string
		token  string
		want   string
	}{
		{"GET", token, "200 ok"},
		{"POST", token, "200 ok"},
		{"GET", gatewaytest.OtherToken(token), "401 " + unauthorized},
		{"POST", token[:20], "401 " + unauthorized},
	}
	for _, p := range programs {
		t.Run(p.name, func(t *testing.T) {
			path := testenv.Tool(t, p.tool)
			for _, test := range tests {
				s.Upstream.Take()
				got := p.run(t, path, p.args(t, test.method, "http://"+s.Plain+"/public/v1/contacts", test.token))
				if got != test.want {
					t.Errorf("%s: got %q, want %q", test.method, got, test.want)
				}
				if strings.HasPrefix(test.want, "401") {
					s.Upstream.WantNothing(t)
					continue
				}
				received := s.Upstream.Take()
				wantIdentity(t, received, key)
				if method, _, _ := strings.Cut(received[0].Head, " "); method != test.method {
					t.Errorf("the upstream received the method %s, want %s", method, test.method)
				}
				if test.method == "POST" && received[0].Body != `{"name":"Ada"}` {
					t.Errorf("the upstream received the body %q", received[0].Body)
				}
			}
		})
	}
	answer, err := s.Keys().ShowKey(t.Context(), "acme", key.ID)
	if err != nil || answer.ExposedAt != nil {
		t.Errorf("got exposed_at %v (%v) without a browser, want none", answer.ExposedAt, err)
	}
}

// TestPrograms_readOnly verifies that a key which may only read does so from all of them,
// even from those that offer to speak HTTP/2.
func TestPrograms_readOnly(t *testing.T) {
	t.Parallel()
	s := start(t, httpOnly(gatewayConfig))
	_, token := s.Create("acme", "Zapier production", "read_only")
	for _, p := range programs {
		t.Run(p.name, func(t *testing.T) {
			path := testenv.Tool(t, p.tool)
			for method, want := range map[string]string{"GET": "200 ok", "POST": "403 " + forbidden} {
				if got := p.run(t, path, p.args(t, method, "http://"+s.Plain+contacts, token)); got != want {
					t.Errorf("%s: got %q, want %q", method, got, want)
				}
			}
			s.wantNoOffer(t, s.wantPassed(t, gatewaytest.Answer{Status: 200}))
		})
	}
}

// run returns what the program prints, the status first.
func (p program) run(t *testing.T, path string, args []string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, args...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", p.name, err, stderr.String())
	}
	if p.tool == "curl" { // which prints the status apart from the body
		return stderr.String() + " " + stdout.String()
	}
	return strings.TrimSpace(stdout.String())
}

// TestPrograms_go is for the client of Go's standard library, with its own
// headers and nothing set but the token, in every version of HTTP.
func TestPrograms_go(t *testing.T) {
	t.Parallel()
	s := start(t, gatewayConfig)
	key, token := s.Create("acme", "Warehouse sync", "full_access")
	for _, c := range s.Clients(t) {
		for _, method := range []string{"GET", "POST"} {
			s.Upstream.Take()
			if got := c.Send(t, method, "/public/v1/contacts", strings.NewReader(`{}`), "Authorization", "Bearer "+token); got.Status != 200 {
				t.Errorf("%s over %s: got status %d, want 200", method, c.Name, got.Status)
			}
			wantIdentity(t, s.Upstream.Take(), key)
			if got := c.Send(t, method, "/public/v1/contacts", nil, "Authorization", "Bearer "+gatewaytest.OtherToken(token)); got.Status != 401 {
				t.Errorf("%s with an unknown token over %s: got status %d, want 401", method, c.Name, got.Status)
			}
			s.Upstream.WantNothing(t)
		}
	}
}
