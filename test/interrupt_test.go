package test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// TestBackup_interrupted holds that a backup which somebody breaks off leaves
// nothing behind, and the one of before as it was.
func TestBackup_interrupted(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(signal.String(), func(t *testing.T) {
			begun := make(chan struct{})
			endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/octet-stream")
				w.Header().Set("Content-Length", "1073741824")
				_, _ = w.Write(make([]byte, 1<<20))
				_ = http.NewResponseController(w).Flush()
				close(begun)
				<-r.Context().Done()
			}))
			defer endless.Close()
			dir := t.TempDir()
			file := filepath.Join(dir, "keys.backup")
			must(t, os.WriteFile(file, []byte("yesterday's"), 0o600))
			cmd := exec.Command(binary, "api-keys", "backup", "--address", strings.TrimPrefix(endless.URL, "http://"), file)
			var said gatewaytest.Log
			cmd.Stderr = &said
			must(t, cmd.Start())
			<-begun
			must(t, cmd.Process.Signal(signal))
			err := cmd.Wait()
			if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 || !strings.Contains(said.String(), "interrupted") {
				t.Errorf("got %v and %q, want status 1, and that it was interrupted", err, said.String())
			}
			left, err := os.ReadDir(dir)
			must(t, err)
			content, err := os.ReadFile(file)
			must(t, err)
			if len(left) != 1 || string(content) != "yesterday's" {
				t.Errorf("got %d files and %q, want yesterday's backup alone", len(left), content)
			}
		})
	}
}
