package caddymodule

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// patience bounds how long a test waits for what must happen soon.
const patience = 20 * time.Second

// server is a Caddy in this process, in front of an upstream that remembers
// what it received.
type server struct {
	t        *testing.T
	addr     string // of the site
	admin    string // of Caddy's own admin endpoint
	store    string // the directory of the key store
	log      string // the file of Caddy's log, at debug level
	upstream *upstream
	configs  int // that were made
}

// newServer prepares a server without starting it.
func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{
		t: t, addr: gatewaytest.Address(t), admin: gatewaytest.Address(t),
		store: filepath.Join(t.TempDir(), "keys"), log: filepath.Join(t.TempDir(), "log"),
		upstream: newUpstream(t),
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping: %v", err)
		}
		releaseAll()
	})
	return s
}

// serve starts a server whose site has the given lines.
func serve(t *testing.T, site string) *server {
	t.Helper()
	s := newServer(t)
	s.mustLoad(site)
	return s
}

// config returns the configuration of a site, as JSON. In the site, $UPSTREAM
// stands for the address of the upstream.
func (s *server) config(site string) []byte {
	s.t.Helper()
	return s.adapt("http://:$PORT {\n\tbind 127.0.0.1\n\tlog\n" + site + "\n}\n")
}

// adapt returns the configuration of some sites, as JSON.
func (s *server) adapt(sites string) []byte {
	s.t.Helper()
	s.configs++
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	config, _, err := adapt([]byte(strings.NewReplacer(
		"$PORT", port, "$UPSTREAM", s.upstream.addr, "$ADMIN", s.admin, "$STORE", s.store, "$LOG", s.log,
	).Replace(`{
	admin $ADMIN
	persist_config off
	grace_period 2s
	log {
		level DEBUG
		output file $LOG
		format json
	}
	api_keys {
		store badger {
			path $STORE
		}
	}
}
` + sites)))
	if err != nil {
		s.t.Fatal(err)
	}
	return config
}

// load makes a site the running configuration, or returns why it is not.
func (s *server) load(site string) error {
	s.t.Helper()
	return load(s.config(site))
}

// load makes JSON the running configuration.
func load(config []byte) error { return caddy.Load(config, true) }

func (s *server) mustLoad(site string) {
	s.t.Helper()
	if err := s.load(site); err != nil {
		s.t.Fatal(err)
	}
}

// instance returns the one that the running configuration uses.
func (s *server) instance() *instance {
	s.t.Helper()
	app := runningApp()
	if app == nil {
		s.t.Fatal("no configuration with keys is running")
	}
	return app.instance(context.Background())
}

// key is a key and its token.
type key struct {
	apikey.Key
	token string
}

// bearer returns the header line that presents the key.
func (k key) bearer() string { return "Authorization: Bearer " + k.token + "\r\n" }

var keyNumber int

// create makes a key of the workspace acme, changed as wanted.
func (s *server) create(preset apikey.Preset, changes ...func(*apikey.Key)) key {
	s.t.Helper()
	k := newKey(preset)
	for _, change := range changes {
		change(&k.Key)
	}
	s.apply(apikey.Create{Key: k.Key})
	return k
}

// newKey returns a key that is in no store yet.
func newKey(preset apikey.Preset) key {
	keyNumber++
	now, token := time.Now(), apikey.NewToken("agk")
	return key{apikey.Key{
		ID: apikey.NewKeyID(now), WorkspaceID: "acme", Name: fmt.Sprintf("Key number %d", keyNumber), Preset: preset,
		Digest: token.Digest(), TokenHint: token.Hint(), CreatedAt: now, CreatedBy: "test", ExpiresAt: now.Add(90 * 24 * time.Hour),
	}, token.Reveal()}
}

func inWorkspace(id string) func(*apikey.Key) { return func(k *apikey.Key) { k.WorkspaceID = id } }

// expired makes a key whose life is over.
func expired(k *apikey.Key) {
	k.CreatedAt, k.ExpiresAt = k.CreatedAt.Add(-2*time.Hour), k.CreatedAt.Add(-time.Hour)
}

func (s *server) apply(do apikey.Action) {
	s.t.Helper()
	if err := apply(s.instance(), do); err != nil {
		s.t.Fatal(err)
	}
}

func apply(i *instance, do apikey.Action) error {
	now := time.Now()
	_, err := i.store.Apply(context.Background(), apikey.Change{EventID: apikey.NewEventID(now), At: now, Actor: "test", Do: do})
	return err
}

// answer is a response that was read to its end.
type answer struct {
	status int
	header http.Header
	body   string
	closed bool // the connection, by the server
}

// send sends a request line and header lines, each with its line ending, as
// they are; the empty line and a Host are added.
func (s *server) send(line, header string) answer {
	s.t.Helper()
	return s.sendBody(line, header, "")
}

func (s *server) sendBody(line, header, body string) answer {
	s.t.Helper()
	if !strings.Contains(header, "Host:") {
		header = "Host: api.test\r\n" + header
	}
	return s.exchange(line, line+" HTTP/1.1\r\n"+header+"\r\n"+body)
}

// exchange sends bytes on a connection of their own and reads one response.
func (s *server) exchange(line, request string) answer {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		got, err := s.tryExchange(line, request)
		if err == nil {
			return got
		}
		// While Caddy closes the listener of another configuration, the kernel
		// resets the connections that were on their way to it.
		if s.configs == 1 || time.Now().After(deadline) {
			s.t.Fatal(err)
		}
	}
}

func (s *server) tryExchange(line, request string) (answer, error) {
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return answer{}, err
	}
	if _, err := io.WriteString(conn, request); err != nil {
		return answer{}, err
	}
	method, _, _ := strings.Cut(line, " ")
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return answer{}, fmt.Errorf("reading the response: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, fmt.Errorf("reading the response's body: %w", err)
	}
	return answer{response.StatusCode, response.Header, string(body), response.Close}, nil
}

// call calls Caddy's own admin endpoint.
func (s *server) call(method, path, body string) answer {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		got, err := s.tryCall(method, path, body)
		if err == nil {
			return got
		}
		if s.configs == 1 || time.Now().After(deadline) { // as in exchange
			s.t.Fatal(err)
		}
	}
}

func (s *server) tryCall(method, path, body string) (answer, error) {
	request, err := http.NewRequest(method, "http://"+s.admin+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	request.Header.Set("Content-Type", "application/json")
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, err
	}
	return answer{response.StatusCode, response.Header, string(content), response.Close}, nil
}

// accessLog waits for so many lines of the access log, and returns them all.
func (s *server) accessLog(want int) []map[string]any {
	s.t.Helper()
	var lines []map[string]any
	eventually(s.t, fmt.Sprintf("%d lines in the access log", want), func() bool {
		lines = nil
		for line := range bytes.Lines(s.logged()) {
			var fields map[string]any
			if err := json.Unmarshal(line, &fields); err != nil {
				return false // the rest of the line is still to come
			}
			if name, _ := fields["logger"].(string); strings.HasPrefix(name, "http.log.access") {
				lines = append(lines, fields)
			}
		}
		return len(lines) >= want
	})
	return lines
}

// logged returns all that Caddy has logged.
func (s *server) logged() []byte {
	s.t.Helper()
	return read(s.t, s.log)
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// upstream is an API that remembers what it received.
type upstream struct {
	addr string

	mu       sync.Mutex
	received []received
	// hold, if not nil, keeps answers back until it is closed.
	hold chan struct{}
}

type received struct {
	method, path string
	header       http.Header
	trailer      http.Header
	body         string
}

func newUpstream(t *testing.T) *upstream {
	t.Helper()
	u := new(upstream)
	s := httptest.NewServer(u)
	t.Cleanup(s.Close)
	u.addr = s.Listener.Addr().String()
	return u
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	u.mu.Lock()
	u.received = append(u.received, received{r.Method, r.URL.Path, r.Header.Clone(), r.Trailer.Clone(), string(body)})
	hold := u.hold
	u.mu.Unlock()
	if hold != nil {
		<-hold
	}
	_, _ = io.WriteString(w, "from upstream")
}

// take returns what was received since it was last asked.
func (u *upstream) take() []received {
	u.mu.Lock()
	defer u.mu.Unlock()
	received := u.received
	u.received = nil
	return received
}

// one returns the only request that was received.
func (u *upstream) one(t *testing.T) received {
	t.Helper()
	received := u.take()
	if len(received) != 1 {
		t.Fatalf("got %d requests upstream, want 1", len(received))
	}
	return received[0]
}

// none fails if anything was received.
func (u *upstream) none(t *testing.T) {
	t.Helper()
	for _, r := range u.take() {
		t.Errorf("got %s %s upstream, want nothing", r.method, r.path)
	}
}
