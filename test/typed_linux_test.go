package test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// TestCommandLine_typedToken types tokens at a terminal, where none may be seen.
func TestCommandLine_typedToken(t *testing.T) {
	t.Parallel()
	s := start(t, gatewayConfig)
	key, token := s.Create("acme", "Zapier production", "read_only")
	for _, test := range []struct {
		command string
		typed   string
		status  int
		want    string
	}{
		{"lookup", token + "\n", 0, key.ID},
		{"lookup", "\n", 2, "write a token to standard input"},
		{"revoke --token-stdin", token + "\n", 0, "revoked"},
	} {
		t.Run(test.command, func(t *testing.T) {
			screen, status := s.typed(t, test.command, func(terminal io.Writer) {
				_, err := io.WriteString(terminal, test.typed)
				must(t, err)
			})
			if status != test.status || !strings.Contains(screen, test.want) {
				t.Errorf("got status %d, want %d and %q:\n%s", status, test.status, test.want, screen)
			}
			if strings.Contains(screen, token) {
				t.Error("the token was shown")
			}
		})
	}
	screen, status := s.typed(t, "lookup", func(terminal io.Writer) {
		_, err := terminal.Write([]byte{3}) // Ctrl-C
		must(t, err)
	})
	if status != 1 || !strings.Contains(screen, "interrupted") {
		t.Errorf("got status %d and %q, want it to have been interrupted", status, screen)
	}
}

// typed runs a command at a terminal, and types once it has asked.
func (s *server) typed(t *testing.T, command string, enter func(io.Writer)) (screen string, status int) {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"api-keys", "--address", s.Admin}, strings.Fields(command)...)...)
	terminal, err := pty.Start(cmd)
	must(t, err)
	defer terminal.Close()
	var shown bytes.Buffer
	asked := false
	for part := make([]byte, 4096); ; {
		n, err := terminal.Read(part)
		shown.Write(part[:n])
		if !asked && strings.Contains(shown.String(), "Token: ") {
			asked = true
			s.Await("the terminal not to show what is typed", func() bool {
				state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
				must(t, err)
				return state.Lflag&unix.ECHO == 0
			})
			enter(terminal)
		}
		if err != nil { // as on Linux when the terminal is closed
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok || exit.Sys().(syscall.WaitStatus).Signaled() {
			t.Fatalf("%s: %v\n%s", command, err, shown.String())
		}
		status = exit.ExitCode()
	}
	return shown.String(), status
}

// TestImport_progress imports a table at a terminal, which shows how much is done of how
// much. A quoted line end makes the table look longer than it is.
func TestImport_progress(t *testing.T) {
	t.Parallel()
	s := start(t, httpOnly(gatewayConfig))
	file := filepath.Join(s.Dir, "keys.csv")
	must(t, os.WriteFile(file, []byte("workspace_id,name,preset,token\n"+
		"acme,Zapier production,read-only,token-of-acme-0000000001\n"+
		"acme,\"Warehouse\nsync\",read-only,token-of-acme-0000000002\n"), 0o600))
	for _, test := range []struct {
		options, what string
		status        int
	}{{"--dry-run ", "Checking keys", 1}, {"", "Importing keys", 1}} {
		screen, status := s.typed(t, "import "+test.options+file, func(io.Writer) {})
		if status != test.status || !strings.Contains(screen, test.what) || !strings.Contains(screen, "100%") || !strings.Contains(screen, "/3") {
			t.Errorf("%s: got status %d, want %d, and all of 3 shown:\n%s", test.what, status, test.status, screen)
		}
	}
}
