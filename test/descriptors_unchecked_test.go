package test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// revokeOnNewConnection revokes a key on a connection of its own, which needs a
// descriptor, while clients hold all that they can get.
func (s *server) revokeOnNewConnection(t *testing.T, key client.Key) {
	t.Helper()
	anew := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	path := "/api-keys/workspaces/" + key.WorkspaceID + "/keys/" + key.ID + "/revoke"
	resp, err := anew.Post("http://"+s.Admin+path, "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatalf("revoking: %v", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("revoking: got %s, want 200", resp.Status)
	}
}

// TestDescriptors_redirects takes as many connections as it can get from the server that
// Caddy adds to redirect to HTTPS, which has no api_key_auth. A key can be revoked all
// the same.
func TestDescriptors_redirects(t *testing.T) {
	t.Parallel()
	s := startLimited(t, 256, redirecting(gatewayConfig))
	key, _ := s.Create("acme", "Warehouse sync", "full_access")
	for range 400 {
		conn, err := net.Dial("tcp", s.Plain)
		must(t, err)
		defer conn.Close()
	}
	s.Await("a connection to be closed", func() bool {
		return strings.Contains(s.Log.String(), "closed a connection, because this process has almost reached its limit")
	})
	s.revokeOnNewConnection(t, key)
}

// redirecting returns a configuration whose site has HTTPS alone, so that Caddy redirects
// requests to its plain address.
func redirecting(config string) string {
	config = strings.Replace(config, "http://{{.Plain}}, ", "", 1)
	return strings.Replace(config, "{\n", "{\n\thttp_port {{slice .Plain 10}}\n", 1) // after 127.0.0.1:
}

// TestDescriptors_unchecked sends more requests over few HTTP/2 connections than there
// are descriptors for, to an upstream that does not answer. No api_key_auth lets them
// pass, and yet a key can be revoked; and once they are gone, requests pass again.
func TestDescriptors_unchecked(t *testing.T) {
	t.Parallel()
	const check = "\tapi_key_auth\n\treverse_proxy {{.Upstream}}\n"
	for name, handlers := range map[string]string{
		"a route beside it":        "\thandle /silent {\n\t\treverse_proxy SILENT\n\t}\n\thandle {\n" + check + "\t}\n",
		"error routes":             check + "\thandle_errors {\n\t\treverse_proxy SILENT\n\t}\n",
		"before the Settings page": "\thandle /silent {\n\t\tforward_auth SILENT {\n\t\t\turi /\n\t\t}\n\t\tapi_key_admin {\n\t\t\ttrust_upstream_auth\n\t\t}\n\t}\n\thandle {\n" + check + "\t}\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			silent, asked := listenSilently(t)
			s := startLimited(t, 512, strings.Replace(gatewayConfig, check, strings.ReplaceAll(handlers, "SILENT", silent), 1))
			key, _ := s.Create("acme", "Warehouse sync", "full_access")
			_, good := s.Create("globex", "Zapier production", "read_only")

			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			const sent = 600
			statuses := make(chan int, sent)
			transport := &http.Transport{TLSClientConfig: gatewaytest.Insecure.Clone(), ForceAttemptHTTP2: true}
			defer transport.CloseIdleConnections()
			for range sent {
				go func() {
					r, err := http.NewRequestWithContext(ctx, "GET", "https://"+s.Secure+"/silent", nil)
					if err != nil {
						statuses <- 0
						return
					}
					resp, err := transport.RoundTrip(r)
					for err != nil && ctx.Err() == nil { // it may dial for each request, and be refused connections
						resp, err = transport.RoundTrip(r)
					}
					if err != nil {
						statuses <- 0
						return
					}
					_ = resp.Body.Close()
					statuses <- resp.StatusCode
				}()
			}
			got := make(map[int]int)
			for range sent - 112 { // an eighth of the limit is reserved, a quarter of the rest is for requests
				select {
				case status := <-statuses:
					got[status]++
				case <-time.After(time.Minute):
					t.Fatalf("got the responses %v and %d requests upstream, want %d of %d refused", got, asked.Load(), sent-112, sent)
				}
			}
			if got[http.StatusServiceUnavailable] != sent-112 {
				t.Errorf("got the responses %v, want those 503 that there is no descriptor for", got)
			}
			s.revokeOnNewConnection(t, key)
			if asked.Load() == 0 {
				t.Error("no request came upstream")
			}
			if !strings.Contains(s.Log.String(), "refused a request, because this process has almost reached its limit") {
				t.Error("the log does not say why requests were refused")
			}
			cancel()
			// One that is still refused may be handed to the upstream that does not answer.
			impatient := &http.Client{Timeout: time.Second}
			s.Await("requests to pass again", func() bool {
				r, err := http.NewRequestWithContext(t.Context(), "GET", s.origin()+contacts, nil)
				must(t, err)
				r.Header.Set("Authorization", "Bearer "+good)
				resp, err := impatient.Do(r)
				return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
			})
		})
	}
}

// listenSilently accepts connections, on which it answers nothing, and counts them.
func listenSilently(t *testing.T) (address string, accepted *atomic.Int64) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	accepted = new(atomic.Int64)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			t.Cleanup(func() { _ = conn.Close() })
		}
	}()
	return fmt.Sprint(listener.Addr()), accepted
}
