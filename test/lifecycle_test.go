package test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// TestReload_underLoad reloads again and again while requests come in, and
// holds that each of them gets the right answer, and that no key is lost.
func TestReload_underLoad(t *testing.T) {
	t.Parallel()
	s := startRaced(t, gatewayConfig)
	_, full := s.Create("acme", "Warehouse sync", "full_access")
	_, readOnly := s.Create("acme", "Zapier production", "read_only")
	other := s.copyStore("keys-moved")
	moved := strings.Replace(gatewayConfig, "{{.Store}}", other, 1)
	changed := strings.Replace(gatewayConfig, "api_key_auth", "api_key_auth {\n\t\trealm changed\n\t}", 1)

	load := startLoad(t, s, full, readOnly)
	for round := range 5 {
		for _, step := range []struct {
			name, config string
			rejected     bool
		}{
			{"unchanged", gatewayConfig, false},
			{"changed", changed, false},
			{"refused while provisioning", strings.Replace(gatewayConfig, "reverse_proxy {{.Upstream}}", "reverse_proxy {{.Upstream}} {\n\t\ttransport http {\n\t\t\ttls_trust_pool file /nowhere\n\t\t}\n\t}", 1), true},
			{"refused while starting", gatewayConfig + "http://:1 {\n\tbind 203.0.113.1\n}\n", true},
			{"store moved", moved, false},
			{"refused with the store moved", moved + "http://:1 {\n\tbind 203.0.113.1\n}\n", true},
			{"store moved back", gatewayConfig, false},
		} {
			if accepted, said := s.offer(step.config); accepted == step.rejected {
				t.Fatalf("%s: got accepted = %v, want %v:\n%s", step.name, accepted, !step.rejected, said)
			}
			s.createAfterReload(fmt.Sprintf("Made after reload %d (%s)", round, step.name))
		}
	}
	load.stop()
	if keys, err := s.Keys().ListKeys(t.Context(), "acme", client.ListOptions{Limit: 200}); err != nil || len(keys.Keys) != 2+5*5 {
		t.Errorf("got %d keys (%v) in the first store, want %d", len(keys.Keys), err, 2+5*5)
	}

	s.Stop()
	load.wantAnswered(t, s)
	t.Logf("%d requests got the right answer during 35 reloads; %d were never read", load.right.Load(), len(load.unanswered))
}

// copyStore stops the server, copies its store, and starts it again.
func (s *server) copyStore(name string) string {
	s.T.Helper()
	s.Stop()
	target := s.Dir + "/" + name
	if err := os.CopyFS(target, os.DirFS(s.Store)); err != nil {
		s.T.Fatal(err)
	}
	s.Exited = make(chan struct{})
	s.Run(gatewayConfig)
	s.AwaitReady()
	return target
}

// TestBesideARunningServer verifies that a configuration can be adapted and validated on
// the same store while it is served.
func TestBesideARunningServer(t *testing.T) {
	t.Parallel()
	s := startRaced(t, gatewayConfig)
	_, token := s.Create("acme", "Warehouse sync", "full_access")
	for _, command := range []string{"adapt", "validate"} {
		if out, err := s.Command(command, "--config", s.Dir+"/Caddyfile").CombinedOutput(); err != nil {
			t.Errorf("caddy %s: %v\n%s", command, err, out)
		}
	}
	if got := s.Clients(t)[0].Send(t, "GET", "/public/v1/me", nil, "Authorization", "Bearer "+token); got.Status != 200 {
		t.Errorf("got status %d afterwards, want 200", got.Status)
	}
}

// TestStart_refused verifies that nothing starts half, and that the message says which
// store, what is wrong with it, and what to do.
func TestStart_refused(t *testing.T) {
	t.Parallel()
	running := startRaced(t, gatewayConfig)
	tests := []struct {
		name    string
		prepare func(t *testing.T, s *server)
		want    []string
	}{
		{"another process has it", func(_ *testing.T, s *server) { s.Store = running.Store },
			[]string{running.Store, fmt.Sprintf("locked by another process (pid %d)", running.Cmd.Process.Pid)}},
		{"a file stands there", func(t *testing.T, s *server) { must(t, os.WriteFile(s.Store, nil, 0o600)) },
			[]string{"the path must be a directory"}},
		{"it holds something else", func(t *testing.T, s *server) {
			must(t, os.Mkdir(s.Store, 0o700))
			must(t, os.WriteFile(s.Store+"/invoices.csv", nil, 0o600))
		}, []string{`"invoices.csv"`, "but no key store: give the path of your key store"}},
		{"its disk is not mounted", func(t *testing.T, s *server) { must(t, os.Symlink(s.Dir+"/unmounted", s.Store)) },
			[]string{"/unmounted", "which does not exist: mount or create that directory"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newRacedServer(t)
			test.prepare(t, s)
			out, err := s.runRefused(s.Write("Caddyfile", gatewayConfig))
			if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() <= 0 {
				t.Fatalf("got %v, want an exit status above 0", err)
			}
			for _, want := range append(test.want, "opening key store at", s.Store) {
				if !strings.Contains(strings.ReplaceAll(out, `\"`, `"`), want) {
					t.Errorf("got no %q in:\n%s", want, out)
				}
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
