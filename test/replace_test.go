package test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestReplace puts another file in the place of the binary that is running, as `caddy
// upgrade` does, and restarts from it. Until then the new one works alongside the old, but
// cannot have its store; afterwards everything is as it was.
func TestReplace(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		restart func(s *server)
	}{
		{"with SIGTERM and caddy run", func(s *server) {
			s.wantCleanStop(s.T)
			s.restart(gatewayConfig)
		}},
		{"with caddy stop and caddy start", (*server).stopAndStart},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newServer(t)
			s.Program = filepath.Join(s.Dir, "caddy")
			s.Tool = s.Program
			s.install(t)
			s.Run(gatewayConfig)
			s.AwaitReady()
			key, token := s.Create("acme", "Warehouse sync", "full_access")
			revoked, revokedToken := s.Create("acme", "Old export job", "full_access")
			s.Revoke(revoked)

			s.install(t)
			running, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", s.Cmd.Process.Pid))
			if err != nil || !strings.HasSuffix(running, " (deleted)") {
				t.Fatalf("got the process running %q (%v), want it to run what was replaced", running, err)
			}
			for _, args := range [][]string{
				{"validate", "--config", "Caddyfile"},
				{"adapt", "--config", "Caddyfile"},
				{"api-keys", "list", "--workspace", "acme", "--address", s.Admin},
			} {
				if out, err := s.Command(args...).CombinedOutput(); err != nil {
					t.Errorf("caddy %s alongside the old one: %v\n%s", strings.Join(args, " "), err, out)
				}
			}
			next := newServer(t)
			next.Program, next.Store = s.Program, s.Store
			next.wantLocked(t, s.Cmd.Process.Pid)

			used := time.Now().Truncate(time.Millisecond)
			s.wantStatus(t, token, 200)
			test.restart(s)
			s.wantStatus(t, revokedToken, 401)
			shown, err := s.Keys().ShowKey(t.Context(), "acme", key.ID)
			must(t, err)
			if last := shown.LastUsedAt; last == nil || last.Before(used) {
				t.Errorf("got a last use at %v, want %v or later: that of just before the end", last, used)
			}
			s.wantStatus(t, token, 200)
		})
	}
}

// TestReplace_whenTheOldIsGone starts a second process on a store: it is refused
// while the first one has it, and begins where that one ended.
func TestReplace_whenTheOldIsGone(t *testing.T) {
	t.Parallel()
	old := start(t, httpOnly(gatewayConfig))
	_, token := old.Create("acme", "Warehouse sync", "full_access")
	next := newServer(t)
	next.Store = old.Store
	next.wantLocked(t, old.Cmd.Process.Pid)
	old.wantStatus(t, token, 200)
	old.wantCleanStop(t)
	next.Run(httpOnly(gatewayConfig))
	next.AwaitReady()
	next.wantStatus(t, token, 200)
}

// wantLocked checks that a server does not start, because another process has
// its store.
func (s *server) wantLocked(t *testing.T, pid int) {
	t.Helper()
	out, err := s.runRefused(s.Write("Caddyfile", httpOnly(gatewayConfig)))
	want := fmt.Sprintf("locked by another process (pid %d): stop that process, or choose another path", pid)
	if err == nil || !strings.Contains(out, want) {
		t.Errorf("got %v, want an error and %q in:\n%s", err, want, out)
	}
}

// install puts a new copy of the binary under its name, in one step.
func (s *server) install(t *testing.T) {
	t.Helper()
	from, err := os.Open(binary)
	must(t, err)
	defer from.Close()
	to, err := os.OpenFile(s.Program+".new", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o700)
	must(t, err)
	_, err = io.Copy(to, from)
	must(t, err)
	must(t, to.Close())
	must(t, os.Rename(s.Program+".new", s.Program))
}

// stopAndStart restarts the server with Caddy's own commands: the second one
// leaves a process behind that is not this one's child.
func (s *server) stopAndStart() {
	s.T.Helper()
	stop := func() {
		if out, err := s.Command("stop", "--address", s.Admin).CombinedOutput(); err != nil {
			s.T.Errorf("caddy stop: %v\n%s", err, out)
		}
	}
	stop()
	<-s.Exited
	if got := s.Cmd.ProcessState.ExitCode(); got != 0 {
		s.T.Errorf("got exit status %d, want 0", got)
	}
	s.Cmd, s.Exited = nil, make(chan struct{})

	start := s.Command("start", "--config", "Caddyfile")
	log, err := os.Create(filepath.Join(s.Dir, "log")) // a pipe would not end before the process
	must(s.T, err)
	defer log.Close()
	start.Stdout, start.Stderr = log, log
	if err := start.Run(); err != nil {
		text, _ := os.ReadFile(log.Name())
		s.T.Fatalf("caddy start: %v\n%s", err, text)
	}
	s.T.Cleanup(func() {
		stop()
		s.Await("the process to end", func() bool { // its admin endpoint goes last
			response, err := http.Get("http://" + s.Admin + "/config/")
			if err == nil {
				response.Body.Close()
			}
			return err != nil
		})
	})
	s.AwaitReady()
}
