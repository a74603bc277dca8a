package test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// TestUpgrade_passes opens a WebSocket with full access, and checks who the
// upstream takes the client for.
func TestUpgrade_passes(t *testing.T) {
	t.Parallel()
	s := startWithConnect(t, gatewayConfig)
	key, full := s.Create("acme", "Warehouse sync", "full_access")
	for _, o := range openers {
		t.Run(o.name, func(t *testing.T) {
			k := o.open(t, s, full)
			if k.status != 101 && k.status != 200 {
				t.Fatalf("got status %d %s, want the socket to open", k.status, k.refusal.Body)
			}
			k.wantOpen(t)
			received := s.Upstream.Take()
			wantIdentity(t, received, key)
			if want := "GET " + contacts + " HTTP/1.1"; received[0].Line() != want {
				t.Errorf("got %q upstream, want %q", received[0].Line(), want)
			}
		})
	}
}

// TestUpgrade_readOnly verifies that a key which may only read cannot open what nobody
// judges any more.
func TestUpgrade_readOnly(t *testing.T) {
	t.Parallel()
	s := startWithConnect(t, gatewayConfig)
	_, readOnly := s.Create("acme", "Zapier production", "read_only")
	for _, o := range openers {
		t.Run(o.name, func(t *testing.T) {
			s.wantRefused(t, o.open(t, s, readOnly).refusal, 403, forbidden, needsWrite)
		})
	}
	for _, upgrade := range []string{"websocket", "WebSocket", "WEBSOCKET"} {
		for _, connection := range []string{"Connection: Upgrade", "Connection: keep-alive, upgrade", "X-Nothing: 1"} {
			t.Run("Upgrade: "+upgrade+", "+connection, func(t *testing.T) {
				got := gatewaytest.Raw(t, s.Plain, "GET "+contacts+" HTTP/1.1\r\nHost: "+s.Plain+"\r\nAuthorization: Bearer "+readOnly+
					"\r\n"+connection+"\r\nUpgrade: "+upgrade+"\r\n\r\n")
				s.wantRefused(t, got, 403, forbidden, needsWrite)
			})
		}
	}
}

// TestUpgrade_endsWithItsKey verifies that an open WebSocket lives no longer than the right
// to open it, and that other keys' sockets do.
func TestUpgrade_endsWithItsKey(t *testing.T) {
	t.Parallel()
	s := startWithConnect(t, gatewayConfig)
	_, other := s.Create("acme", "Another key of acme", "full_access")
	_, elsewhere := s.Create("initech", "A key of initech", "full_access")
	for _, o := range openers {
		t.Run(o.name, func(t *testing.T) {
			stays, away := o.open(t, s, other), o.open(t, s, elsewhere)

			t.Run("revoked", func(t *testing.T) {
				key, token := s.Create("acme", "Revoked over "+o.name, "full_access")
				k, second := o.open(t, s, token), o.open(t, s, token)
				k.wantOpen(t)
				s.Revoke(key)
				k.wantClosed(t, time.Second)
				second.wantClosed(t, time.Second)
			})
			t.Run("expired", func(t *testing.T) {
				life := "2s"
				made, err := s.Keys().CreateKey(t.Context(), "acme", client.CreateRequest{Name: "Expired over " + o.name, Preset: "full_access", ExpiresIn: &life})
				must(t, err)
				k := o.open(t, s, made.Token)
				k.wantOpen(t)
				k.wantClosed(t, time.Until(made.Key.ExpiresAt)+time.Second)
				if now := time.Now(); now.Before(made.Key.ExpiresAt) {
					t.Errorf("got it closed %s before the key expired", made.Key.ExpiresAt.Sub(now))
				}
			})
			t.Run("suspended", func(t *testing.T) {
				_, token := s.Create("globex", "Suspended over "+o.name, "full_access")
				k := o.open(t, s, token)
				k.wantOpen(t)
				s.Post("/workspaces/globex/suspend")
				k.wantClosed(t, time.Second)
				s.Post("/workspaces/globex/resume")
			})

			stays.wantOpen(t)
			away.wantOpen(t)
		})
	}
}

// TestUpgrade_whileRevoking opens WebSockets until their key is revoked, again
// and again with new keys: whenever one is opened, it does not survive.
func TestUpgrade_whileRevoking(t *testing.T) {
	t.Parallel()
	const rounds, workers = 200, 3
	s := startRaced(t, gatewayConfig)
	opened := 0
	for range rounds {
		key, token := s.Create("acme", "Made to be revoked", "full_access")
		var racing sync.WaitGroup
		sockets := make([][]*socket, workers)
		for worker := range workers {
			racing.Go(func() {
				for {
					k := openH1(t, s, token)
					if k.status == 401 {
						return
					}
					if k.status != 101 {
						t.Errorf("got status %d, want 101 or 401", k.status)
						return
					}
					sockets[worker] = append(sockets[worker], k)
				}
			})
		}
		s.Revoke(key)
		racing.Wait()
		for _, k := range slices.Concat(sockets...) {
			k.wantClosed(t, time.Second)
			k.close()
			opened++
		}
	}
	if opened == 0 {
		t.Error("no socket was opened before its key was revoked")
	}
	t.Logf("%d sockets were opened while their keys were revoked", opened)
}

// TestReload_sockets reloads while WebSockets are open. reverse_proxy ends them, or lets
// them continue for its stream_close_delay: then they still end with their key, and with
// the process. Over HTTP/2 and HTTP/3 it is the same.
func TestReload_sockets(t *testing.T) {
	t.Parallel()
	delayed := strings.Replace(gatewayConfig, "{{.Upstream}}", "{{.Upstream}} {\n\t\tstream_close_delay 1h\n\t}", 1)
	s := startRaced(t, gatewayConfig)
	key, token := s.Create("acme", "Warehouse sync", "full_access")
	_, other := s.Create("acme", "Another one", "full_access")

	ends := openH1(t, s, token)
	ends.wantOpen(t)
	if accepted, said := s.offer(delayed); !accepted {
		t.Fatal(said)
	}
	ends.wantClosed(t, 10*time.Second)

	revoked, stays := openH1(t, s, token), openH1(t, s, other)
	if accepted, said := s.offer(delayed); !accepted {
		t.Fatal(said)
	}
	revoked.wantOpen(t)
	s.revokeAfterReload(key)
	revoked.wantClosed(t, 10*time.Second)
	stays.wantOpen(t)
	s.wantCleanStop(t)
	stays.wantClosed(t, 10*time.Second)
}

// TestReload_movedSockets reloads to another store while WebSockets are open, of
// which no revocation would hear there: they end, and those of the new store do
// not when it stays.
func TestReload_movedSockets(t *testing.T) {
	t.Parallel()
	delayed := strings.Replace(gatewayConfig, "{{.Upstream}}", "{{.Upstream}} {\n\t\tstream_close_delay 1h\n\t}", 1)
	moved := strings.Replace(delayed, "{{.Store}}", "{{.Store}}-elsewhere", 1)
	s := startWithConnect(t, delayed)
	_, token := s.Create("acme", "Warehouse sync", "full_access")
	for _, o := range openers {
		t.Run(o.name, func(t *testing.T) {
			k := o.open(t, s, token)
			k.wantOpen(t)
			if accepted, said := s.offer(moved); !accepted {
				t.Fatal(said)
			}
			k.wantClosed(t, 10*time.Second)
			if accepted, said := s.offer(delayed); !accepted {
				t.Fatal(said)
			}
		})
	}
	k := openH1(t, s, token)
	k.wantOpen(t)
	if accepted, said := s.offer(strings.Replace(delayed, "grace_period 5s", "grace_period 6s", 1)); !accepted {
		t.Fatal(said)
	}
	k.wantOpen(t)
}
