package test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// server is a gateway of the binary under test.
type server struct{ *gatewaytest.Process }

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

// newServer prepares a server without starting it.
func newServer(t *testing.T) *server {
	t.Helper()
	return &server{gatewaytest.NewProcess(t, binary, binary)}
}

// newRacedServer prepares one with the race detector, if the tests have it. It is for tests
// in which several things happen at once.
func newRacedServer(t *testing.T) *server {
	t.Helper()
	return &server{gatewaytest.NewProcess(t, racedBinary(t), binary)}
}

// start runs a configuration until the test ends, with more environment variables, and waits
// until it serves.
func start(t *testing.T, config string, env ...string) *server {
	t.Helper()
	return newServer(t).start(config, env)
}

// startRaced is start for a server with the race detector: see newRacedServer.
func startRaced(t *testing.T, config string, env ...string) *server {
	t.Helper()
	return newRacedServer(t).start(config, env)
}

func (s *server) start(config string, env []string) *server {
	s.T.Helper()
	s.Env = env
	s.Run(config)
	s.AwaitReady()
	return s
}

// runRefused runs a configuration with which the server must not start, and returns what it
// printed. A server that starts is killed after a while.
func (s *server) runRefused(file string) (string, error) {
	cmd := s.Command("run", "--config", file)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return "", err
	}
	defer time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() }).Stop()
	err := cmd.Wait()
	return out.String(), err
}

// codeOf returns the code of a refusal by the API, "" for another error.
func codeOf(err error) string {
	if refusal, ok := errors.AsType[*client.Error](err); ok {
		return refusal.Code
	}
	return ""
}
