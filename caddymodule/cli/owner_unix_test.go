//go:build linux || darwin || freebsd

package cli

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// Another user who has put a FIFO or a link in the way of root's backup receives nothing.
func TestBackUpTo_ofAnotherUser(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = io.WriteString(w, "keys")
	}))
	defer server.Close()
	term := &terminal{client: &client.Client{BaseURL: server.URL}}
	for name, put := range map[string]func(path string) error{
		"a FIFO":           func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a link to a file": func(path string) error { return os.Symlink("target", path) },
		"a device's link":  func(path string) error { return os.Symlink("/dev/null", path) },
	} {
		path := filepath.Join(t.TempDir(), "keys.backup")
		if err := put(path); err != nil {
			t.Fatal(err)
		}
		if reader, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0); err == nil {
			defer reader.Close()
		}
		asked.Store(0)
		_ = backUpTo(t.Context(), term, io.Discard, path)
		if asked.Load() != 1 {
			t.Errorf("%s of root: got %d requests for a backup, want 1", name, asked.Load())
		}
		asked.Store(0)
		giveAway(t, path)
		err := backUpTo(t.Context(), term, io.Discard, path)
		if err == nil || !strings.Contains(err.Error(), "belongs to the user") || asked.Load() != 0 {
			t.Errorf("%s of another user: got %v and %d requests for a backup, want a refusal", name, err, asked.Load())
		}
	}
}

// giveAway gives a file to another user.
func giveAway(t *testing.T, path string) {
	t.Helper()
	for _, as := range [][]string{nil, {"sudo", "-n"}} {
		command := append(slices.Clone(as), "chown", "-h", "65534:65534", path)
		if exec.CommandContext(t.Context(), command[0], command[1:]...).Run() == nil {
			return
		}
	}
	testenv.Lacks(t, "the right to give a file to another user, as root or with sudo")
}
