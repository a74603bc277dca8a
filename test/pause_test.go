package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// TestPause stops the process for a while, as a debugger or an overloaded host
// does. What came meanwhile is answered afterwards, and judged by the time at
// which it is judged.
func TestPause(t *testing.T) {
	t.Parallel()
	s := startRaced(t, httpOnly(gatewayConfig))
	_, token := s.Create("acme", "Warehouse sync", "full_access")
	life := "1s"
	answer, err := s.Keys().CreateKey(t.Context(), "acme", client.CreateRequest{Name: "Short lived job", Preset: "full_access", ExpiresIn: &life})
	must(t, err)
	s.wantStatus(t, answer.Token, 200)
	s.wantStatus(t, token, 200)

	must(t, s.Cmd.Process.Signal(syscall.SIGSTOP))
	s.Await("every thread to stop", s.paused)
	requests := map[string]int{token: 200, answer.Token: 401, gatewaytest.OtherToken(token): 401}
	var waiting sync.WaitGroup
	for token, want := range requests {
		waiting.Go(func() { s.wantStatus(t, token, want) })
	}
	s.Await("the key to expire", func() bool { return time.Now().After(answer.Key.ExpiresAt) })
	must(t, s.Cmd.Process.Signal(syscall.SIGCONT))
	waiting.Wait()
}

// paused reports whether every thread of the process is stopped: each of them
// does so on its own, and until then may still answer a request.
func (s *server) paused() bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", s.Cmd.Process.Pid))
	must(s.T, err)
	for _, thread := range threads {
		status, err := os.ReadFile(thread)
		if err != nil || !strings.Contains(string(status), "State:\tT") {
			return false
		}
	}
	return len(threads) > 0
}
