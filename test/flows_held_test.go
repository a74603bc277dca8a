package test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// TestFlows_held verifies that a request which reverse_proxy holds back is not sent once
// its key has ended, whole or in part: while it tries again to reach an upstream, while
// other requests take all the connections that it may have, while an upstream is slow to
// begin TLS, and while another upstream is asked first.
func TestFlows_held(t *testing.T) {
	t.Parallel()
	busy := make(chan struct{})
	received := make(chan string, 100)
	upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		received <- r.Method
		select {
		case <-busy:
		case <-r.Context().Done():
		}
	}))
	listener := upstream.Listener
	upstream.Start()
	defer upstream.Close()
	defer close(busy)

	down, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts, and then refuses
	if err != nil {
		t.Fatal(err)
	}
	_ = down.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, and nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()

	for _, tt := range []struct{ name, proxy string }{
		{"retries", "reverse_proxy " + down.Addr().String() + " {\n\t\tlb_try_duration 1m\n\t\trequest_buffers 64KiB\n\t}"},
		{"a queue", "reverse_proxy " + listener.Addr().String() + " {\n\t\ttransport http {\n\t\t\tmax_conns_per_host 1\n\t\t}\n\t}"},
		{"a TLS handshake", "reverse_proxy https://" + silent.Addr().String() + " {\n\t\ttransport http {\n\t\t\ttls_insecure_skip_verify\n\t\t}\n\t}"},
		{"an upstream that fails first", "intercept {\n\t\t@failed status 5xx\n\t\thandle_response @failed {\n\t\t\treverse_proxy " + listener.Addr().String() + "\n\t\t}\n\t}\n\treverse_proxy " + silent.Addr().String()},
		{"another upstream", "forward_auth " + silent.Addr().String() + " {\n\t\turi /may\n\t}\n\treverse_proxy " + listener.Addr().String()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := startRaced(t, strings.Replace(gatewayConfig, "reverse_proxy {{.Upstream}}", tt.proxy, 1))
			all := s.Clients(t)
			if tt.name == "a queue" {
				s.holdConnections(t, all[:2], received) // each site has an upstream connection of its own
			}
			for _, c := range all {
				for _, r := range []struct{ method, body string }{{"GET", ""}, {"POST", ""}, {"POST", "amount=1000"}} {
					key, token := s.Create("acme", r.method+" over "+strings.Map(dashed, c.Name)+" "+r.body, "full_access")
					before := s.counted("allowed")
					answers := make(chan gatewaytest.Answer, 1)
					go func() {
						answers <- c.Send(t, r.method, contacts, strings.NewReader(r.body), "Authorization", "Bearer "+token)
					}()
					s.Await("the request to be judged", func() bool { return s.counted("allowed") > before })
					s.Revoke(key)
					select {
					case got := <-answers:
						if got.Status != 401 || got.Body != unauthorized {
							t.Errorf("%s: got %d %q, want what a revoked key gets", c.Name, got.Status, got.Body)
						}
					case <-time.After(20 * time.Second):
						t.Fatalf("%s: the request was still held 20 s after its key was revoked", c.Name)
					}
				}
			}
			select {
			case method := <-received:
				t.Errorf("got %s upstream after its key was revoked, want nothing", method)
			default:
			}
		})
	}
}

// holdConnections takes the one connection that each of the sites has to its upstream.
func (s *server) holdConnections(t *testing.T, sites []gatewaytest.Client, received <-chan string) {
	t.Helper()
	_, token := s.Create("other", "Holds the connection", "full_access")
	ctx, cancel := context.WithCancel(t.Context())
	var held sync.WaitGroup
	t.Cleanup(func() { cancel(); held.Wait() })
	for _, c := range sites {
		request, err := http.NewRequestWithContext(ctx, "GET", c.Base+contacts, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		held.Go(func() {
			if response, err := c.Do(request); err == nil {
				_ = response.Body.Close()
			}
		})
		if got := <-received; got != "GET" {
			t.Fatalf("got %s upstream, want the request that holds the connection", got)
		}
	}
}
