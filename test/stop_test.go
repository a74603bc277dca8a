package test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestStop_underLoad ends the server while requests are in flight, and holds
// that they get their answers, and that the process ends as it should.
func TestStop_underLoad(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-release
		_, _ = io.WriteString(w, "at last")
	}))
	t.Cleanup(slow.Close)
	s := newRacedServer(t)
	s.Upstream.Address = slow.Listener.Addr().String()
	s.Run(gatewayConfig)
	s.AwaitReady()
	_, token := s.Create("acme", "Warehouse sync", "full_access")

	const each = 8
	versions := s.Clients(t)
	var requests sync.WaitGroup
	for _, c := range versions {
		for range each {
			requests.Go(func() {
				got := c.Send(t, "POST", "/public/v1/contacts", nil, "Authorization", "Bearer "+token)
				if got.Status != 200 || got.Body != "at last" {
					t.Errorf("over %s: got %d %q, want 200 %q", c.Name, got.Status, got.Body, "at last")
				}
			})
		}
	}
	for range each * len(versions) {
		<-arrived
	}
	must(t, s.Cmd.Process.Signal(syscall.SIGTERM))
	s.Await("the server to take no more connections", func() bool {
		conn, err := net.Dial("tcp", s.Plain)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	close(release)
	requests.Wait()
	<-s.Exited
	if got := s.Cmd.ProcessState.ExitCode(); got != 0 {
		t.Errorf("got exit status %d, want 0", got)
	}
}

// TestStop_whileChecking ends the server while keys are read from the disk for
// the check, and while keys are made and revoked. No request gets a wrong answer,
// each that was read gets one, and what was acknowledged is there afterwards.
func TestStop_whileChecking(t *testing.T) {
	t.Parallel()
	const rounds = 4
	// Of two keys that are used in turn, neither is in memory.
	config := strings.Replace(gatewayConfig, "badger {", "badger {\n\t\t\tcache_size 1", 1)
	s := startRaced(t, config)
	_, full := s.Create("acme", "Warehouse sync", "full_access")
	_, readOnly := s.Create("acme", "Zapier production", "read_only")
	changes, right := 0, int64(0)
	for round := range rounds {
		load := startLoad(t, s, full, readOnly)
		keys := s.changeUntilStopped(round)
		load.stop()
		if got := s.Cmd.ProcessState.ExitCode(); got != 0 {
			t.Errorf("got exit status %d, want 0", got)
		}
		load.wantAnswered(t, s)
		s.restart(config)
		for _, f := range keys {
			s.wantFate(t, f)
		}
		changes, right = changes+len(keys), right+load.right.Load()
	}
	if changes == 0 {
		t.Error("no key was made before a stop")
	}
	t.Logf("%d requests got the right answer, and %d keys were made, until %d stops", right, changes, rounds)
}

// TestStop_bounded ends the server while one request never ends and a WebSocket
// is open: neither keeps it for longer than grace_period.
func TestStop_bounded(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}), make(chan struct{})
	s := newRacedServer(t)
	echoing := s.Upstream.Address
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-release
	}))
	t.Cleanup(func() { close(release); hanging.Close() })
	s.Upstream.Address = hanging.Listener.Addr().String()
	s.Run(strings.NewReplacer("grace_period 5s", "grace_period 1s",
		"\treverse_proxy", "\treverse_proxy "+contacts+" "+echoing+"\n\treverse_proxy").Replace(gatewayConfig))
	s.AwaitReady()
	_, token := s.Create("acme", "Warehouse sync", "full_access")

	open := openH1(t, s, token)
	open.wantOpen(t)
	cut := make(chan error)
	go func() {
		request, err := http.NewRequest(http.MethodGet, "http://"+s.Plain+"/hangs", nil)
		if err == nil {
			request.Header.Set("Authorization", "Bearer "+token)
			_, err = http.DefaultClient.Do(request)
		}
		cut <- err
	}()
	<-arrived
	s.wantCleanStop(t)
	if err := <-cut; err == nil {
		t.Error("got an answer to a request that hangs, want its connection closed")
	}
	open.wantClosed(t, time.Second)
}
