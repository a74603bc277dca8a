package test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"syscall"
	"testing"
)

// TestStop_underLoad ends the server while requests are in flight, and holds
// that they get their answers, and that the process ends as it should.
func TestStop_underLoad(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-release
		_, _ = io.WriteString(w, "at last")
	}))
	t.Cleanup(slow.Close)
	s := newServer(t)
	s.Upstream = slow.Listener.Addr().String()
	s.run(gatewayConfig)
	s.awaitReady()
	_, token := s.create("acme", "Warehouse sync", "full_access")

	const each = 8
	versions := clients(t, s)
	var requests sync.WaitGroup
	for _, c := range versions {
		for range each {
			requests.Go(func() {
				got := c.send(t, "POST", "/public/v1/contacts", nil, "Authorization", "Bearer "+token)
				if got.status != 200 || got.body != "at last" {
					t.Errorf("over %s: got %d %q, want 200 %q", c.name, got.status, got.body, "at last")
				}
			})
		}
	}
	for range each * len(versions) {
		<-arrived
	}
	must(t, s.process.Process.Signal(syscall.SIGTERM))
	s.await("the server to take no more connections", func() bool {
		conn, err := net.Dial("tcp", s.Plain)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	close(release)
	requests.Wait()
	<-s.exited
	if got := s.process.ProcessState.ExitCode(); got != 0 {
		t.Errorf("got exit status %d, want 0", got)
	}
}
