package test

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// TestREADME types what the README says, in a terminal, and reads what it says
// will be seen. What differs from run to run (ids, tokens, times, versions, and the
// ports, which somebody else may use) has to look alike.
func TestREADME(t *testing.T) {
	t.Parallel()
	testenv.Tool(t, "curl")
	root, err := filepath.Abs("..")
	must(t, err)
	sessions := consoleSessions(t, filepath.Join(root, "README.md"))
	if len(sessions) < 2 {
		t.Fatal("the README has no transcript")
	}

	s := newServer(t)
	s.Dir = t.TempDir()
	must(t, os.Symlink(binary, filepath.Join(s.Dir, "caddy")))
	toOurs, toWritten := ownPorts(t, "2019", "8080", "8081", "9000")
	s.runExample(t, root, sessions[0], toOurs)
	ready := sayingReady(t, filepath.Join(root, "README.md"))
	s.Await("the server to say "+ready, func() bool { return strings.Contains(s.Log.String(), ready) })

	said := newReader()
	env := append(os.Environ(), "CADDY_ADMIN="+s.Admin)
	for _, session := range sessions[1:] {
		for _, step := range session {
			if strings.HasPrefix(step.command, "go build ") {
				continue // it is built, and linked into the folder
			}
			command := toOurs.Replace(said.translate(step.command))
			if name, value, ok := strings.Cut(command, "="); ok && regexp.MustCompile(`^[A-Z]+$`).MatchString(name) {
				env = append(env, name+"="+inTerminal(t, s.Dir, env, "printf %s "+value))
				continue
			}
			got := toWritten.Replace(inTerminal(t, s.Dir, env, command))
			said.learn(step.output, got)
			if got, want := alike(got), alike(step.output); got != want {
				t.Errorf("$ %s\ngot:\n%s\nwant:\n%s", step.command, got, want)
			}
		}
	}
}

// ownPorts returns what replaces ports of this machine that are written somewhere
// by ports of the test's own, and the other way round.
func ownPorts(t *testing.T, written ...string) (toOurs, toWritten *strings.Replacer) {
	t.Helper()
	var there, back []string
	for _, port := range written {
		_, ours, err := net.SplitHostPort(gatewaytest.Address(t))
		must(t, err)
		there, back = append(there, ":"+port, ":"+ours), append(back, ":"+ours, ":"+port)
	}
	return strings.NewReplacer(there...), strings.NewReplacer(back...)
}

// runExample starts the server as the README's first session does, at ports of its
// own.
func (s *server) runExample(t *testing.T, root string, session []step, toOurs *strings.Replacer) {
	t.Helper()
	const want = "go run ./cmd/caddy run --config Caddyfile.example"
	if len(session) != 1 || session[0].command != want {
		t.Fatalf("got a first session %v, want one command: %s", session, want)
	}
	example, err := os.ReadFile(filepath.Join(root, "Caddyfile.example"))
	must(t, err)
	file := filepath.Join(s.Dir, "Caddyfile.example")
	must(t, os.WriteFile(file, []byte(toOurs.Replace(string(example))), 0o600))
	s.Admin = toOurs.Replace("localhost:2019")
	s.Cmd = s.Command("run", "--config", file)
	s.Launch()
	s.AwaitReady()
}

// sayingReady returns what a Markdown file says that the log says once the server is
// ready.
func sayingReady(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	said := regexp.MustCompile("is ready when its log says\\s+`([^`]+)`").FindSubmatch(text)
	if said == nil {
		t.Fatalf("%s does not say when the server is ready", path)
	}
	return string(said[1])
}

// step is one command of a transcript, and what it prints.
type step struct{ command, output string }

// consoleSessions returns the transcripts of a Markdown file.
func consoleSessions(t *testing.T, path string) [][]step {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	var sessions [][]step
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		var session []step
		for line := range strings.Lines(block[1]) {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				session = append(session, step{command: strings.TrimSpace(command)})
			} else if len(session) > 0 {
				session[len(session)-1].output += line
			}
		}
		sessions = append(sessions, session)
	}
	return sessions
}

// inTerminal runs a shell command on a terminal of its own, and returns what a
// person sees there.
func inTerminal(t *testing.T, dir string, env []string, command string) string {
	t.Helper()
	cmd := exec.Command("bash", "-c", command)
	cmd.Dir, cmd.Env = dir, env
	terminal, err := pty.Start(cmd)
	must(t, err)
	defer terminal.Close()
	timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	var screen bytes.Buffer
	_, _ = io.Copy(&screen, terminal) // ends with an error when the terminal is closed
	if err := cmd.Wait(); err != nil {
		t.Fatalf("$ %s\n%s%v", command, screen.String(), err)
	}
	return strings.ReplaceAll(screen.String(), "\r\n", "\n")
}

// changing are the parts of an output that differ from run to run.
var changing = []struct {
	pattern *regexp.Regexp
	name    string
}{
	{regexp.MustCompile(`agk_[0-9A-Za-z]{49}`), "TOKEN"},
	{regexp.MustCompile(`agk_…[0-9A-Za-z]{4}`), "HINT"},
	{regexp.MustCompile(`key_[0-9A-HJKMNP-TV-Z]{26}`), "KEY"},
	{regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "UUID"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC`), "TIME"},
	{regexp.MustCompile(`curl/[0-9.]+`), "CURL"},
}

// alike replaces what differs from run to run by its name.
func alike(output string) string {
	for _, c := range changing {
		output = c.pattern.ReplaceAllString(output, c.name)
	}
	return strings.TrimRight(output, "\n")
}

// reader knows which of its own ids and tokens stand for those of the README.
type reader struct{ pairs []string }

func newReader() *reader { return new(reader) }

// learn notes what stands where the README has an id or a token.
func (r *reader) learn(written, seen string) {
	for _, c := range changing[:3] {
		was, is := c.pattern.FindAllString(written, -1), c.pattern.FindAllString(seen, -1)
		for i := range min(len(was), len(is)) {
			r.pairs = append(r.pairs, was[i], is[i])
		}
	}
}

func (r *reader) translate(command string) string {
	return strings.NewReplacer(r.pairs...).Replace(command)
}
