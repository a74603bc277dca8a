package cli

import (
	"os"
	"path/filepath"
	"testing"
)

func TestInstalled(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "admin.sock")
	if got := installed(socket); got != "" {
		t.Errorf("without a socket: got %q, want none, for Caddy's default", got)
	}
	if err := os.WriteFile(socket, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := installed(socket), "unix/"+socket; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
