package caddymodule

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// patience bounds how long a test waits for something that should happen soon.
const patience = 20 * time.Second

// server is a gateway in this process.
type server struct {
	*gatewaytest.Gateway
	log     string // the file of Caddy's log, at debug level
	configs int    // number of configurations made
}

// newServer prepares a server without starting it.
func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{Gateway: gatewaytest.New(t), log: filepath.Join(t.TempDir(), "log")}
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

// config returns the JSON configuration of a site.
func (s *server) config(site string) []byte {
	s.T.Helper()
	return s.adapt("http://:{{.Port}} {\n\tbind 127.0.0.1\n\tlog\n" + site + "\n}\n")
}

// adapt returns the JSON configuration of some sites.
func (s *server) adapt(sites string) []byte {
	s.T.Helper()
	s.configs++
	config, _, err := adapt(s.Render(`{
	admin {{.Admin}}
	persist_config off
	grace_period 2s
	log {
		level DEBUG
		output file ` + s.log + `
		format json
	}
	api_keys {
		store badger {
			path {{.Store}}
		}
	}
}
` + sites))
	if err != nil {
		s.T.Fatal(err)
	}
	return config
}

// load runs the configuration of a site, or returns the error.
func (s *server) load(site string) error {
	s.T.Helper()
	return load(s.config(site))
}

// load runs a JSON configuration.
func load(config []byte) error { return caddy.Load(config, true) }

func (s *server) mustLoad(site string) {
	s.T.Helper()
	if err := s.load(site); err != nil {
		s.T.Fatal(err)
	}
}

// instance returns the one that the running configuration uses.
func (s *server) instance() *instance {
	s.T.Helper()
	app := runningApp()
	if app == nil {
		s.T.Fatal("no configuration with keys is running")
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

// create creates a key of the workspace acme, modified as given.
func (s *server) create(preset apikey.Preset, changes ...func(*apikey.Key)) key {
	s.T.Helper()
	k := newKey(preset)
	for _, change := range changes {
		change(&k.Key)
	}
	s.apply(apikey.Create{Key: k.Key})
	return k
}

// newKey returns a key that is not in a store.
func newKey(preset apikey.Preset) key {
	keyNumber++
	now, token := time.Now(), apikey.NewToken("agk")
	return key{apikey.Key{
		ID: apikey.NewKeyID(now), WorkspaceID: "acme", Name: fmt.Sprintf("Key number %d", keyNumber), Preset: preset,
		Digest: token.Digest(), TokenHint: token.Hint(), CreatedAt: now, CreatedBy: "test", ExpiresAt: now.Add(90 * 24 * time.Hour),
	}, token.Reveal()}
}

func inWorkspace(id string) func(*apikey.Key) { return func(k *apikey.Key) { k.WorkspaceID = id } }

// expired creates a key that has expired.
func expired(k *apikey.Key) {
	k.CreatedAt, k.ExpiresAt = k.CreatedAt.Add(-2*time.Hour), k.CreatedAt.Add(-time.Hour)
}

func (s *server) apply(do apikey.Action) {
	s.T.Helper()
	if err := apply(s.instance(), do); err != nil {
		s.T.Fatal(err)
	}
}

func apply(i *instance, do apikey.Action) error {
	now := time.Now()
	_, err := i.store.Apply(context.Background(), apikey.Change{EventID: apikey.NewEventID(now), At: now, Actor: "test", Do: do})
	return err
}

// answer is the response to a request.
type answer struct{ gatewaytest.Answer }

// send sends a raw request line and header lines, each with its line ending; it
// adds the empty line and a Host.
func (s *server) send(line, header string) answer {
	s.T.Helper()
	return s.sendBody(line, header, "")
}

func (s *server) sendBody(line, header, body string) answer {
	s.T.Helper()
	if !strings.Contains(header, "Host:") {
		header = "Host: api.test\r\n" + header
	}
	return s.retry(func() (gatewaytest.Answer, error) {
		return gatewaytest.TryRaw("127.0.0.1:"+s.Port(), line+" HTTP/1.1\r\n"+header+"\r\n"+body)
	})
}

// call calls Caddy's own admin endpoint.
func (s *server) call(method, path, body string) answer {
	s.T.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	return s.retry(func() (gatewaytest.Answer, error) {
		request, err := http.NewRequest(method, "http://"+s.Admin+path, strings.NewReader(body))
		if err != nil {
			return gatewaytest.Answer{}, err
		}
		request.Header.Set("Content-Type", "application/json")
		response, err := client.Do(request)
		if err != nil {
			return gatewaytest.Answer{}, err
		}
		return gatewaytest.ReadAnswer(response)
	})
}

// retry repeats a request that a reload left unanswered: while Caddy closes a
// listener of the old configuration, the kernel resets connections that are still
// queued on it.
func (s *server) retry(send func() (gatewaytest.Answer, error)) answer {
	s.T.Helper()
	for deadline := time.Now().Add(patience); ; {
		got, err := send()
		if err == nil {
			return answer{got}
		}
		if s.configs == 1 || time.Now().After(deadline) {
			s.T.Fatal(err)
		}
	}
}

// accessLog waits for a number of lines in the access log, and returns all of them.
func (s *server) accessLog(want int) []map[string]any {
	s.T.Helper()
	var lines []map[string]any
	s.Await(fmt.Sprintf("%d lines in the access log", want), func() bool {
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

// logged returns everything that Caddy has logged.
func (s *server) logged() []byte {
	s.T.Helper()
	return read(s.T, s.log)
}

// received is a request as the upstream received it.
type received struct{ gatewaytest.Received }

// received returns the only request that the upstream received.
func (s *server) received(t *testing.T) received {
	t.Helper()
	taken := s.Upstream.Take()
	if len(taken) != 1 {
		t.Fatalf("got %d requests upstream, want 1", len(taken))
	}
	return received{taken[0]}
}
