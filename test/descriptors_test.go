package test

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDescriptors_idle takes as many connections as the gateway lets open, and more,
// on which nothing is asked. A key can be revoked all the same, and a change needs
// files too.
func TestDescriptors_idle(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %t", secure), func(t *testing.T) {
			s := newServer(t)
			limited := filepath.Join(s.dir, "limited")
			must(t, os.WriteFile(limited, []byte("#!/bin/sh\nulimit -n 256\nexec '"+s.program+"' \"$@\"\n"), 0o700))
			s.program = limited
			s.run(gatewayConfig)
			s.awaitReady()
			key, token := s.create("acme", "Warehouse sync", "full_access")
			s.wantStatus(t, token, 200)

			address := s.Plain
			if secure {
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
			s.revoke(key)
			for _, want := range []string{"this process may open few files and connections", "a connection was closed, for this process has nearly as many files", "raise the limit"} {
				if !strings.Contains(s.log.String(), want) {
					t.Errorf("the log does not say %q", want)
				}
			}
		})
	}
}
