package test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// TestRunbook_commands runs every block of shell of the runbook, against an admin
// socket as the Debian package has one. What this machine need not have is stood in
// for here, and runs on the machine that deploy/deb/test boots.
func TestRunbook_commands(t *testing.T) {
	t.Parallel()
	testenv.Tool(t, "jq")
	testenv.Tool(t, "curl")
	s := newServer(t)
	socket := filepath.Join(s.Dir, "admin.sock")
	s.Run(strings.NewReplacer("admin {{.Admin}}", "admin unix/"+socket+"|0220", "\tlog\n", "\tlog {\n\t\toutput file access.log\n\t}\n").Replace(httpOnly(gatewayConfig)))
	s.awaitSocket(socket)
	if got := s.Clients(t)[0].Send(t, "GET", "/public/v1/contacts", nil); got.Status != 401 {
		t.Fatalf("got status %d, want a line in the access log", got.Status)
	}

	programs := filepath.Join(s.Dir, "bin")
	must(t, os.Mkdir(programs, 0o700))
	must(t, os.Symlink(binary, filepath.Join(programs, "caddy")))
	must(t, os.WriteFile(filepath.Join(s.Dir, "journal"), []byte(s.Log.String()), 0o600))
	for name, does := range map[string]string{
		"systemctl":  fmt.Sprintf(`case "$*" in *MainPID*) echo %d ;; esac`, s.Cmd.Process.Pid),
		"journalctl": "cat '" + s.Dir + "/journal'",
		"iostat":     ":",
		"top":        ":",
	} {
		must(t, os.WriteFile(filepath.Join(programs, name), []byte("#!/bin/sh\n"+does+"\n"), 0o700))
	}

	text := strings.NewReplacer(
		"/run/caddy-api-keys/admin.sock", socket, "/var/lib/caddy-api-keys/api_keys", s.Store, "/var/log/caddy-api-keys/", s.Dir+"/",
		"/var/tmp", s.Dir, "--max-depth 2 /var ", "--max-depth 2 "+s.Dir+" ",
	).Replace(documents(t)["docs/runbook.md"])
	runBlocks(t, text, "", socket, "PATH="+programs+":"+os.Getenv("PATH"))
}

// awaitSocket waits until the server answers on its admin socket.
func (s *server) awaitSocket(socket string) {
	s.T.Helper()
	overSocket := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	s.Await("the server to answer", func() bool {
		response, err := overSocket.Get("http://localhost/api-keys/healthz")
		return err == nil && response.Body.Close() == nil && response.StatusCode == http.StatusOK
	})
}

// runBlocks runs every block of shell of a document in a directory, the current one if
// it is "", with more variables in the environment, and returns what they print. They
// use keys that are created through the admin socket.
func runBlocks(t *testing.T, text, dir, socket string, env ...string) (out string) {
	t.Helper()
	program, err := filepath.Abs("../deploy/deb/run-blocks")
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "caddy", "api-keys", "create", "--address", "unix/"+socket,
		"--workspace", "acme", "--preset", "full-access", "-o", "json", "--name")
	cmd.Dir, cmd.Stdin, cmd.Env = dir, strings.NewReader(text), append(os.Environ(), env...)
	printed, err := cmd.CombinedOutput()
	if want := fmt.Sprintf("%d blocks were run", strings.Count(text, "```sh\n")); err != nil || !strings.Contains(string(printed), want) {
		t.Errorf("got %v, want that %s:\n%s", err, want, printed)
	}
	return string(printed)
}

// TestRunbook_inline verifies what stands in the sentences: a command with options says
// where the server or the store is, and one without is a name that exists.
func TestRunbook_inline(t *testing.T) {
	t.Parallel()
	found := regexp.MustCompile("`caddy api-keys ([a-z-]+)([^`]*)`").FindAllStringSubmatch(withoutCode(documents(t)["docs/runbook.md"]), -1)
	if len(found) == 0 {
		t.Fatal("the runbook names no command")
	}
	for _, command := range found {
		if out, err := exec.Command(binary, "api-keys", command[1], "--help").CombinedOutput(); err != nil || !strings.Contains(string(out), "api-keys "+command[1]) {
			t.Errorf("%s: got %v, and:\n%s", command[0], err, out)
		}
		if options := command[2]; strings.Contains(options, " -") && !strings.Contains(options, "--address ") && !strings.Contains(options, "--store ") {
			t.Errorf("%s does not say where the server is", command[0])
		}
	}
}
