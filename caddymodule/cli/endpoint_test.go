package cli

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// A gateway that was installed and is stopped has no socket, and is installed all the same.
func TestInstalled(t *testing.T) {
	dir := t.TempDir()
	socket, config := filepath.Join(dir, "run", "admin.sock"), filepath.Join(dir, installedConfig)
	want := func(want bool, where string) {
		t.Helper()
		if got := installed(socket, config); got != want {
			t.Errorf("%s: got %t, want %t", where, got, want)
		}
	}
	want(false, "with neither")
	others := filepath.Join(dir, "etc/caddy-api-keys")
	if err := os.MkdirAll(others, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(others, "github-keys.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want(false, "with another file beside where its configuration would be")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want(true, "with a configuration alone")
	if err := os.Remove(config); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Dir(socket), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want(true, "with a socket that cannot be looked at")
}

// Whoever calls a gateway that was installed and is stopped is told how to start it.
func TestUnreachable_stopped(t *testing.T) {
	address := "unix/" + installedSocket
	endpoint, err := caddy.ParseNetworkAddress(address)
	if err != nil {
		t.Fatal(err)
	}
	_, missing := net.Dial("unix", filepath.Join(t.TempDir(), "admin.sock")) // where there is no socket, on any machine
	err = unreachable(address, endpoint, missing)
	if want := "the gateway is not running: start it with systemctl start caddy-api-keys"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}
