package test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// TestBackup_interrupted verifies that a backup which somebody breaks off leaves nothing
// behind, and the one of before as it was.
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
			cmd := exec.Command(racedBinary(t), "api-keys", "backup", "--address", strings.TrimPrefix(endless.URL, "http://"), file)
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

// TestImport_interrupted interrupts an import. What was imported stays, and the same import
// continues from there.
func TestImport_interrupted(t *testing.T) {
	t.Parallel()
	s := startRaced(t, httpOnly(gatewayConfig))
	const lines = `{"workspace_id":"acme","name":"Zapier production","preset":"read_only","token":"token-of-acme-0000000001"}
{"workspace_id":"acme","name":"Warehouse sync","preset":"read_only","token":"token-of-acme-0000000002"}
`
	cmd := exec.Command(racedBinary(t), "api-keys", "import", "-", "--from", "jsonl", "--address", s.Admin)
	var said gatewaytest.Log
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	must(t, err)
	must(t, cmd.Start())
	_, err = io.WriteString(in, lines)
	must(t, err)
	s.Await("the keys to be imported", func() bool {
		keys, err := s.Keys().ListKeys(t.Context(), "acme", client.ListOptions{})
		return err == nil && len(keys.Keys) == 2
	})
	must(t, cmd.Process.Signal(os.Interrupt))
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 || !strings.Contains(said.String(), "interrupted") {
		t.Errorf("got %v and %q, want status 1, and that it was interrupted", err, said.String())
	}
	again := exec.Command(racedBinary(t), "api-keys", "import", "-", "--from", "jsonl", "--address", s.Admin)
	again.Stdin = strings.NewReader(lines)
	if out, err := again.CombinedOutput(); err != nil || !strings.Contains(string(out), `"unchanged": 2`) {
		t.Errorf("again: got %v and %s, want both unchanged", err, out)
	}
}

// TestCreateMany_interrupted interrupts the creation of many keys. The token of each that
// was created is printed, and where to continue.
func TestCreateMany_interrupted(t *testing.T) {
	t.Parallel()
	s := startRaced(t, httpOnly(gatewayConfig))
	const lines = 2000
	var table strings.Builder
	table.WriteString("workspace_id,name,preset\n")
	for n := range lines {
		fmt.Fprintf(&table, "acme-%d,Zapier production,read-only\n", n+2)
	}
	file := filepath.Join(s.Dir, "keys.csv")
	must(t, os.WriteFile(file, []byte(table.String()), 0o600))
	cmd := exec.Command(racedBinary(t), "api-keys", "create", "--from-file", file, "-o", "token", "--address", s.Admin)
	var said gatewaytest.Log
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	tokens := bufio.NewScanner(out)
	if !tokens.Scan() {
		t.Fatalf("no token was printed:\n%s", said.String())
	}
	must(t, cmd.Process.Signal(os.Interrupt))
	made := 1
	for tokens.Scan() {
		made++
	}
	err = cmd.Wait()
	want := fmt.Sprintf("interrupted before line %d: to continue, leave out the lines before it\n", made+2)
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 || !strings.Contains(said.String(), want) {
		t.Errorf("got %v and %q, want status 1 and %q", err, said.String(), want)
	}
	found, err := s.run("workspaces", "--address", s.Admin, "--all", "-o", "table")
	must(t, err)
	if got := strings.Count(found, "acme-"); got != made {
		t.Errorf("got %d keys in the store, want the %d whose tokens were printed", got, made)
	}
}
