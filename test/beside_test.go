package test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestStart_twice starts a second server with the file of the first. It refuses before it
// takes anything from the first, whose admin endpoint answers as before.
func TestStart_twice(t *testing.T) {
	t.Parallel()
	block := regexp.MustCompile(`(?s)\tapi_keys \{.*?\n\t\}\n`)
	for _, admin := range []string{"TCP", "Unix socket", "Unix socket, without an api_keys block"} {
		t.Run(admin, func(t *testing.T) {
			t.Parallel()
			s := newRacedServer(t)
			config, address := httpOnly(gatewayConfig), s.Admin
			if admin != "TCP" {
				address = "unix/" + filepath.Join(s.Dir, "admin.sock")
				config = strings.Replace(config, "admin {{.Admin}}", "admin "+address, 1)
			}
			if strings.Contains(admin, "without") {
				s.Store = filepath.Join(s.Dir, "data", "caddy", "api_keys")
				config = block.ReplaceAllString(config, "")
			}
			s.Run(config)
			answers := func() (string, error) {
				return s.run("create", "--address", address, "--workspace", "acme", "--name", "Warehouse sync", "--preset", "read-only", "--owner", "Ops")
			}
			s.Await("the server to answer", func() bool {
				_, err := s.run("list", "--address", address, "--workspace", "acme")
				return err == nil
			})
			before, _ := os.Stat(strings.TrimPrefix(address, "unix/"))

			out, err := s.runRefused(filepath.Join(s.Dir, "Caddyfile"))
			for _, want := range []string{s.Store, fmt.Sprintf("locked by another process (pid %d)", s.Cmd.Process.Pid), "caddy reload"} {
				if err == nil || !strings.Contains(out, want) {
					t.Errorf("got %v, want %q in:\n%s", err, want, out)
				}
			}
			if strings.Contains(out, "admin endpoint started") {
				t.Errorf("it has taken the admin endpoint:\n%s", out)
			}
			if after, _ := os.Stat(strings.TrimPrefix(address, "unix/")); before != nil && !os.SameFile(before, after) {
				t.Error("the socket is another one")
			}
			if out, err := answers(); err != nil {
				t.Errorf("the first server: got %v, want it to answer as before:\n%s", err, out)
			}
			if out, err := s.Command("reload", "--config", filepath.Join(s.Dir, "Caddyfile"), "--force").CombinedOutput(); err != nil {
				t.Errorf("reload: got %v:\n%s", err, out)
			}
			if out, err := s.run("revoke-all", "--address", address, "--workspace", "acme", "--reason", "test", "--yes"); err != nil {
				t.Errorf("after the reload: got %v:\n%s", err, out)
			}
		})
	}
}
