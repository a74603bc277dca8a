package test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// TestReload_moved changes the store's path back and forth under load. Requests
// are judged by the store of before until the reload, and by the other one after
// it: by one of the two in between, and never by none. Each store is free for
// another process once this one has ended, and has its own keys.
func TestReload_moved(t *testing.T) {
	t.Parallel()
	const rounds = 6
	s := startRaced(t, gatewayConfig)
	elsewhere := filepath.Join(s.Dir, "keys-elsewhere")
	moved := strings.Replace(gatewayConfig, "{{.Store}}", elsewhere, 1)
	load := func(config string) {
		t.Helper()
		if accepted, said := s.offer(config); !accepted {
			t.Fatal(said)
		}
	}
	_, here := s.Create("acme", "Known here", "full_access")
	load(moved)
	_, there := s.createAfterReload("Known elsewhere")

	either := []int{http.StatusOK, http.StatusUnauthorized}
	busy := startLoadOf(t, s, ask{http.MethodGet, here, either}, ask{http.MethodGet, there, either})
	// Connections that are open at a reload may bring some more requests to the
	// configuration that took them, until they are closed: new ones do not.
	wantJudged := func(passes, fails string) {
		t.Helper()
		for _, c := range busy.clients {
			s.Await(c.Name+" to lead to the other store", func() bool {
				c.CloseIdleConnections()
				return busy.one(t.Context(), t, c, ask{http.MethodGet, passes, either}) == http.StatusOK &&
					busy.one(t.Context(), t, c, ask{http.MethodGet, fails, either}) == http.StatusUnauthorized
			})
		}
	}
	for range rounds {
		wantJudged(there, here)
		load(gatewayConfig)
		wantJudged(here, there)
		load(moved)
	}
	busy.stop()
	other := newRacedServer(t)
	other.Store = s.Store
	other.wantLocked(t, s.Cmd.Process.Pid) // for two minutes

	s.wantCleanStop(t)
	busy.wantAnswered(t, s)
	t.Logf("%d requests were judged during %d moves; %d were never read", busy.right.Load(), 2*rounds, len(busy.unanswered))
	other.Run(httpOnly(gatewayConfig))
	other.AwaitReady()
	other.wantStatus(t, here, http.StatusOK)
	other.wantStatus(t, there, http.StatusUnauthorized)
	other.wantCleanStop(t)
	other.Store = elsewhere
	other.restart(httpOnly(gatewayConfig))
	other.wantStatus(t, here, http.StatusUnauthorized)
	other.wantStatus(t, there, http.StatusOK)
}
