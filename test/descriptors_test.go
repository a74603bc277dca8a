package test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// startLimited starts a server that may open so many files and connections.
func startLimited(t *testing.T, limit int, config string) *server {
	t.Helper()
	s := newRacedServer(t)
	limited := filepath.Join(s.Dir, "limited")
	must(t, os.WriteFile(limited, fmt.Appendf(nil, "#!/bin/sh\nulimit -n %d\nexec '%s' \"$@\"\n", limit, s.Program), 0o700))
	s.Program = limited
	s.Run(config)
	s.AwaitReady()
	return s
}

// TestDescriptors_busy has every connection that the gateway lets open wait for an
// upstream that does not answer, which takes another one for each. A key can be
// revoked all the same; and once they are gone, requests pass again.
func TestDescriptors_busy(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer silent.Close()
	var mu sync.Mutex
	var waiting []net.Conn
	go func() {
		for {
			conn, err := silent.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			waiting = append(waiting, conn)
			mu.Unlock()
		}
	}()
	config := strings.Replace(httpOnly(gatewayConfig), "\tapi_key_auth\n", "\tapi_key_auth\n\treverse_proxy /silent "+silent.Addr().String()+"\n", 1)
	s := startLimited(t, 512, config)
	key, token := s.Create("acme", "Warehouse sync", "read_only")
	_, good := s.Create("globex", "Zapier production", "read_only")

	var conns []net.Conn
	for range 600 {
		conn, err := net.Dial("tcp", s.Plain)
		must(t, err)
		conns = append(conns, conn)
	}
	refused, failed := make(chan struct{}, len(conns)), make(chan string, len(conns))
	for _, conn := range conns {
		_, _ = fmt.Fprintf(conn, "GET /silent HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", s.Plain, token)
		go func() {
			begin := make([]byte, 12)
			if _, err := io.ReadFull(conn, begin); err != nil {
				return
			}
			if status := string(begin); status == "HTTP/1.1 503" {
				refused <- struct{}{}
			} else {
				failed <- status
			}
		}()
	}
	select {
	case <-refused:
	case status := <-failed:
		t.Errorf("got %q, want no request to pass for which there is no descriptor", status)
	case <-time.After(time.Minute):
		t.Error("got no request refused in a minute, want those that the limit has no room for")
	}
	s.Revoke(key)
	for _, conn := range conns {
		conn.Close()
	}
	s.Await("requests to pass again", func() bool {
		return s.gateway().Send(t, "GET", contacts, nil, "Authorization", "Bearer "+good).Status == http.StatusOK
	})
	mu.Lock()
	defer mu.Unlock()
	if len(waiting) == 0 {
		t.Error("no request came upstream")
	}
	for _, conn := range waiting {
		conn.Close()
	}
}

// TestDescriptors_idle takes as many connections as the gateway lets open, and more,
// on which nothing is asked. A key can be revoked all the same, and a change needs
// files too.
func TestDescriptors_idle(t *testing.T) {
	t.Parallel()
	wrapped := strings.Replace(gatewayConfig, "{\n", "{\n\tservers {\n\t\tprotocols h1\n\t}\n", 1) // Caddy hides the descriptors
	for _, tt := range []struct {
		name, config string
		secure       bool
	}{
		{"plain", gatewayConfig, false},
		{"TLS", gatewayConfig, true},
		{"wrapped", wrapped, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := startLimited(t, 256, tt.config)
			key, token := s.Create("acme", "Warehouse sync", "full_access")
			s.wantStatus(t, token, 200)

			address := s.Plain
			if tt.secure {
				address = s.Secure
			}
			closed := 0
			for range 400 {
				conn, err := net.Dial("tcp", address)
				must(t, err)
				defer conn.Close()
				must(t, conn.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
				if _, err := conn.Read(make([]byte, 1)); err == io.EOF || err != nil && strings.Contains(err.Error(), "reset") {
					closed++
				}
			}
			if closed < 100 || closed == 400 {
				t.Errorf("got %d of 400 connections closed, want those that the limit has no room for", closed)
			}
			s.Revoke(key)
			for _, want := range []string{"this process has a low limit of open files", "closed a connection, because this process has almost reached its limit", "raise the limit"} {
				if !strings.Contains(s.Log.String(), want) {
					t.Errorf("the log does not say %q", want)
				}
			}
		})
	}
}
