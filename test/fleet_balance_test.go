package test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
)

// fleetDocs returns the Caddyfiles that docs/fleet.md shows for gateways and for a
// balancer in front of them, with other addresses and limits.
func fleetDocs(t *testing.T, endpoints, gateways []string) (gateway, balancer string) {
	t.Helper()
	text, err := os.ReadFile("../docs/fleet.md")
	must(t, err)
	shown := regexp.MustCompile("(?ms)^```caddyfile\n(.*?)^```$").FindAllStringSubmatch(string(text), -1)
	if len(shown) != 2 {
		t.Fatalf("docs/fleet.md has %d Caddyfiles, want those of a gateway and of a balancer", len(shown))
	}
	gateway = replaceAll(t, shown[0][1],
		"admin unix//run/caddy-api-keys/admin.sock|0220", "admin {{.Admin}}\n\tskip_install_trust\n\tauto_https disable_redirects",
		"https://10.0.0.1:2379 https://10.0.0.2:2379 https://10.0.0.3:2379", strings.Join(endpoints, " "),
		"username gw\n", "\n", "password {env.ETCD_PASSWORD}\n", "\n",
		"/var/lib/caddy-api-keys/api_keys", "{{.Store}}", "{env.API_KEYS_FLEET_KEY}", fleetKey,
		"api.example.com {", "https://{{.Secure}} {\n\ttls internal",
		"reverse_proxy unix//run/caddy-api-keys/admin.sock", "reverse_proxy {{.Admin}} {\n\t\t\theader_up Host {upstream_hostport}\n\t\t}",
		"60 1m", "20 1h", "30 1m", "10 1h", "localhost:9000", "{{.Upstream}}",
	)
	balancer = "{\n\tadmin {{.Admin}}\n}\n" + replaceAll(t, shown[1][1],
		"api.example.com {", "http://{{.Plain}} {",
		"https://10.0.0.11 https://10.0.0.12 https://10.0.0.13", "https://"+strings.Join(gateways, " https://"),
		"Host api.example.com", "Host localhost",
		"tls_server_name api.example.com", "tls_server_name localhost\n\t\t\ttls_insecure_skip_verify",
	)
	return gateway, balancer
}

// replaceAll replaces strings that text must have, given in pairs.
func replaceAll(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("there is no %q in:\n%s", pairs[i], text)
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

// passed sends requests with a token at the same time, and returns how many were allowed.
// All others must be over the limit.
func (s *server) passed(t *testing.T, token string, requests int) int {
	t.Helper()
	var passed atomic.Int64
	var all sync.WaitGroup
	for range requests {
		all.Go(func() {
			switch status := s.status(t, token); status {
			case http.StatusOK:
				passed.Add(1)
			case http.StatusTooManyRequests:
			default:
				t.Errorf("got status %d, want 200 or 429", status)
			}
		})
	}
	all.Wait()
	return int(passed.Load())
}

// awaitKey waits until a gateway of a fleet has a key.
func (s *server) awaitKey(t *testing.T, key client.Key) {
	t.Helper()
	s.Await("the new key", func() bool {
		_, err := s.Keys().ShowKey(t.Context(), key.WorkspaceID, key.ID)
		return err == nil
	})
}

// TestFleet_balancer: behind the balancer of docs/fleet.md, limits are exact. When a
// gateway is gone, its keys have the limit once more, and all others keep counting.
func TestFleet_balancer(t *testing.T) {
	t.Parallel()
	const limit = 20 // as in fleetDocs
	cluster := etcdtest.Start(t, 1)
	fleet := []*server{newRacedServer(t), newRacedServer(t), newRacedServer(t)}
	gateway, balancer := fleetDocs(t, cluster.Endpoints(), []string{fleet[0].Secure, fleet[1].Secure, fleet[2].Secure})
	for _, s := range fleet {
		s.Run(gateway)
	}
	for _, s := range fleet {
		s.AwaitReady()
	}
	front := newRacedServer(t)
	front.Run(balancer)
	front.Await("the balancer", func() bool {
		conn, err := net.Dial("tcp", front.Plain)
		return err == nil && conn.Close() == nil
	})
	tokens := make([]string, 12)
	for i := range tokens {
		var key client.Key
		key, tokens[i] = fleet[0].Create("acme", "Client "+strings.Repeat("x", i+1), "full_access")
		for _, s := range fleet {
			s.awaitKey(t, key)
		}
	}

	for i, token := range tokens {
		if got := front.passed(t, token, 2*limit); got != limit {
			t.Errorf("key %d: %d requests were allowed, want %d", i, got, limit)
		}
	}
	var keys []int // of each gateway
	for _, s := range fleet {
		keys = append(keys, len(s.Upstream.Take())/limit)
	}
	if slices.Max(keys) == len(tokens) {
		t.Error("all keys went to the same gateway")
	}

	fleet[0].Stop()
	moved := 0
	front.Await("the balancer to notice", func() bool {
		for _, token := range tokens {
			switch front.status(t, token) {
			case http.StatusOK:
				moved++
			case http.StatusBadGateway:
				return false
			}
		}
		return true
	})
	for _, token := range tokens {
		moved += front.passed(t, token, 2*limit)
	}
	if want := keys[0] * limit; moved != want {
		t.Errorf("%d requests were allowed after a gateway had gone, want %d for each of its %d keys", moved, limit, keys[0])
	}
}

// TestFleet_perFleet: the gateways that serve divide a limit.
func TestFleet_perFleet(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, 1)
	config := strings.Replace(fleetConfig(cluster.Endpoints()), "api_key_auth", "api_key_auth {\n\t\trate_limit read 30 1h per_fleet\n\t}", 1)
	fleet := []*server{newRacedServer(t), newRacedServer(t), newRacedServer(t)}
	for _, s := range fleet {
		s.Run(config)
	}
	for _, s := range fleet {
		s.AwaitReady()
	}
	shares := func(want int) {
		t.Helper()
		_, probe := fleet[0].Create("acme", "Probe "+strconv.Itoa(want), "read_only")
		key, token := fleet[0].Create("acme", "Share of "+strconv.Itoa(want), "read_only")
		policy := fmt.Sprintf(`"read";q=%d;w=3600`, want)
		for i, s := range fleet {
			s.awaitKey(t, key)
			s.Await("the share of the limit", func() bool { return s.policy(t, probe) == policy })
			if got := s.passed(t, token, 30); got != want {
				t.Errorf("gateway %d of %d: %d requests were allowed, want %d", i, len(fleet), got, want)
			}
		}
	}
	shares(10)
	fleet[2].Stop()
	fleet = fleet[:2]
	shares(15)
}

// policy returns the limit that an answer names.
func (s *server) policy(t *testing.T, token string) string {
	t.Helper()
	return s.get(t, token).Header.Get("RateLimit-Policy")
}
