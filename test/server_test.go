package test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/template"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// server is a running Caddy with a folder, an upstream and ports of its own.
type server struct {
	t        *testing.T
	dir      string
	program  string // the file of the binary
	process  *exec.Cmd
	exited   chan struct{}
	log      buffer
	upstream *upstream
	secure   bool     // the configuration serves Secure
	env      []string // more variables for the process

	// What a configuration can name, as {{.Admin}} and so on.
	Admin    string // address of the admin endpoint
	Plain    string // address for plain HTTP
	Secure   string // address for HTTPS, HTTP/2 and HTTP/3
	Upstream string // address of the upstream
	Store    string // directory of the key store
}

// gatewayConfig is the configuration that most tests use: a gateway with one
// plain and one secure address. See withOptions.
const gatewayConfig = `{
	admin {{.Admin}}
	grace_period 5s
	skip_install_trust
	debug
	api_keys {
		store badger {
			path {{.Store}}
		}
	}
}
http://{{.Plain}}, https://{{.Secure}} {
	tls internal
	log
	api_key_auth
	reverse_proxy {{.Upstream}}
}
`

// withOptions returns gatewayConfig with lines in its api_key_auth.
func withOptions(lines ...string) string {
	block := "api_key_auth {\n\t\t" + strings.Join(lines, "\n\t\t") + "\n\t}"
	return strings.Replace(gatewayConfig, "api_key_auth", block, 1)
}

// httpOnly leaves the secure address out of a configuration: it takes a while
// to get its certificate.
func httpOnly(config string) string {
	return strings.NewReplacer(", https://{{.Secure}}", "", "\ttls internal\n", "").Replace(config)
}

// Port returns the port for plain HTTP.
func (s *server) Port() string {
	_, port, _ := net.SplitHostPort(s.Plain)
	return port
}

// newServer prepares a server without starting it.
func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir(), program: binary, exited: make(chan struct{}), upstream: newUpstream(t)}
	s.Admin = gatewaytest.Address(t)
	s.Plain = strings.Replace(gatewaytest.Address(t), "127.0.0.1", "localhost", 1)
	s.Secure = strings.Replace(gatewaytest.Address(t), "127.0.0.1", "localhost", 1)
	s.Upstream = s.upstream.address
	s.Store = filepath.Join(s.dir, "keys")
	return s
}

// start runs a configuration until the test ends, and waits until it serves.
func start(t *testing.T, config string) *server {
	t.Helper()
	return startWith(t, nil, config)
}

// startWith is start for a process with more environment variables.
func startWith(t *testing.T, env []string, config string) *server {
	t.Helper()
	s := newServer(t)
	s.env = env
	s.run(config)
	s.awaitReady()
	return s
}

// run starts the process.
func (s *server) run(config string) {
	s.t.Helper()
	s.secure = strings.Contains(config, "{{.Secure}}")
	s.process = s.caddy("run", "--config", s.write("Caddyfile", config))
	s.launch()
}

// launch starts s.process, and stops it when the test ends.
func (s *server) launch() {
	s.t.Helper()
	s.process.Stdout, s.process.Stderr = &s.log, &s.log
	s.process.Env = append(s.process.Env, "GORACE="+os.Getenv("GORACE")+" exitcode=0")
	if err := s.process.Start(); err != nil {
		s.t.Fatalf("starting caddy: %v", err)
	}
	go func() {
		_ = s.process.Wait()
		close(s.exited)
	}()
	process := s.process
	s.t.Cleanup(func() {
		if s.process != process {
			return // it was stopped, and another one started
		}
		s.stop()
		for _, report := range races(s.log.String()) {
			s.t.Errorf("caddy has a data race:\n%s", report)
		}
		if s.t.Failed() {
			s.t.Logf("warnings and errors of caddy:\n%s", s.log.troubles())
		}
	})
}

// stop ends the process as a service manager would, and waits for its end.
func (s *server) stop() {
	_ = s.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(20 * time.Second):
		_ = s.process.Process.Kill()
		<-s.exited
		s.t.Error("caddy did not stop within 20 s of SIGTERM")
	}
}

// caddy returns a command of the binary in the server's own surroundings.
func (s *server) caddy(args ...string) *exec.Cmd {
	cmd := exec.Command(s.program, args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+s.dir+"/data", "XDG_CONFIG_HOME="+s.dir+"/config", "HOME="+s.dir)
	cmd.Env = append(cmd.Env, s.env...)
	return cmd
}

// write renders a configuration and puts it into the server's folder.
func (s *server) write(name, config string) string {
	s.t.Helper()
	var text bytes.Buffer
	if err := template.Must(template.New(name).Parse(config)).Execute(&text, s); err != nil {
		s.t.Fatal(err)
	}
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// reload loads another configuration, and returns what caddy reload said.
func (s *server) reload(config string) (string, error) {
	s.t.Helper()
	out, err := s.caddy("reload", "--config", s.write("Caddyfile", config), "--address", s.Admin, "--force").CombinedOutput()
	return string(out), err
}

// awaitReady waits until the store answers through the admin endpoint.
func (s *server) awaitReady() {
	s.t.Helper()
	s.await("the server to answer", func() bool {
		select {
		case <-s.exited:
			s.t.Fatalf("caddy ended:\n%s", s.log.tail(6000))
		default:
		}
		return s.healthy()
	})
	if s.secure {
		s.await("the certificate", func() bool {
			conn, err := tls.Dial("tcp", s.Secure, insecure.Clone())
			if err != nil {
				return false
			}
			return conn.Close() == nil
		})
	}
}

// healthy reports whether the store answers through the admin endpoint.
func (s *server) healthy() bool {
	response, err := http.Get("http://" + s.Admin + "/api-keys/healthz")
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// await asks again and again until a condition of another process holds, for
// which it cannot be told.
func (s *server) await(what string, holds func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for tick := time.NewTicker(20 * time.Millisecond); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			s.t.Fatalf("waited a minute for %s", what)
		}
	}
}

// keys returns a client of the admin API on Caddy's endpoint.
func (s *server) keys() *client.Client {
	return &client.Client{HTTP: http.DefaultClient, BaseURL: "http://" + s.Admin + "/api-keys"}
}

// codeOf returns the code of a refusal by the API, "" for another error.
func codeOf(err error) string {
	if refusal, ok := errors.AsType[*client.Error](err); ok {
		return refusal.Code
	}
	return ""
}

// create makes a key and returns it with its token.
func (s *server) create(ws, name, preset string) (client.Key, string) {
	s.t.Helper()
	answer, err := s.keys().CreateKey(context.Background(), ws, client.CreateRequest{Name: name, Preset: preset})
	if err != nil {
		s.t.Fatalf("creating the key %q: %v", name, err)
	}
	return answer.Key, answer.Token
}

// revoke ends a key.
func (s *server) revoke(key client.Key) {
	s.t.Helper()
	if _, err := s.keys().RevokeKey(context.Background(), key.WorkspaceID, key.ID, ""); err != nil {
		s.t.Fatalf("revoking %s: %v", key.ID, err)
	}
}

// post makes a call of the admin API that the client has no method for.
func (s *server) post(path string) {
	s.t.Helper()
	response, err := http.Post("http://"+s.Admin+"/api-keys"+path, "", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		s.t.Fatalf("POST %s: got status %d, want 200", path, response.StatusCode)
	}
}

// insecure accepts the certificate of Caddy's internal authority.
var insecure = &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"}

// buffer is a bytes.Buffer for two goroutines.
type buffer struct {
	mu    sync.Mutex
	bytes bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes.String()
}

// troubles returns the lines of a JSON log that are worth a look.
func (b *buffer) troubles() string {
	var lines []string
	for line := range strings.Lines(b.String()) {
		if !strings.Contains(line, `"level":"debug"`) && !strings.Contains(line, `"level":"info"`) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-40):], "")
}

func (b *buffer) tail(n int) string {
	all := b.String()
	return all[max(0, len(all)-n):]
}
