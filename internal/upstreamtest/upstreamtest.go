// Package upstreamtest runs the upstreams of identity/examples in tests: programs in several
// languages that accept only requests with an assertion of the gateway.
package upstreamtest

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// Program is an upstream that answers each request with a JSON object: the "workspace", the
// "key" and the "access" of the caller, or an "error".
type Program struct {
	Name    string
	command func(t testing.TB, examples string) *exec.Cmd
}

// Programs are all of them.
var Programs = []Program{
	{"Go", goProgram},
	{"Node, with the package", func(t testing.TB, examples string) *exec.Cmd {
		return nodeProgram(t, filepath.Join(examples, "node", "package.mjs"))
	}},
	{"Node, with jose", func(t testing.TB, examples string) *exec.Cmd {
		return nodeProgram(t, filepath.Join(examples, "node", "jose.mjs"))
	}},
	{"Python, with PyJWT", pythonProgram},
	{"Java", javaProgram},
}

// Start runs the program, which fetches the gateway's keys from jwksURL, until the test
// ends. It returns the address where the program listens.
func (p Program) Start(t testing.TB, jwksURL, audience string) (address string) {
	t.Helper()
	cmd := p.command(t, filepath.Join(testenv.Root(t), "identity", "examples"))
	cmd.Env = append(os.Environ(), "JWKS_URL="+jwksURL, "AUDIENCE="+audience, "LISTEN=127.0.0.1:0")
	var log strings.Builder
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s logged:\n%s", p.Name, log.String())
		}
	})
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		_ = cmd.Wait()
		t.Fatalf("%s does not listen: %s", p.Name, log.String())
	}
	address, listening := strings.CutPrefix(lines.Text(), "listening on http://")
	if !listening {
		t.Fatalf("%s says %q, want where it listens", p.Name, lines.Text())
	}
	return address
}

func goProgram(t testing.TB, examples string) *exec.Cmd {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "upstream")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Dir = filepath.Join(examples, "upstream")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	return exec.Command(binary)
}

func nodeProgram(t testing.TB, script string) *exec.Cmd {
	t.Helper()
	dir := NodeModules(t)
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, filepath.Base(script))
	if err := os.WriteFile(program, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return exec.Command(testenv.Tool(t, "node"), program)
}

// NodeModules makes a directory in which Node programs find the package for Node, as if it
// had been installed from npm, and the npm packages named.
func NodeModules(t testing.TB, packages ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	modules := filepath.Join(dir, "node_modules")
	source := filepath.Join(testenv.Root(t), "identity", "node")
	// A copy, because Node would look for its dependencies next to what a link leads to.
	if err := os.CopyFS(filepath.Join(modules, "@agiled", "api-keys-identity"), os.DirFS(source)); err != nil {
		t.Fatal(err)
	}
	for _, name := range append(packages, "jose") {
		if err := os.Symlink(testenv.NPM(t, name), filepath.Join(modules, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func pythonProgram(t testing.TB, examples string) *exec.Cmd {
	t.Helper()
	const python = "/usr/bin/python3" // which finds Debian's packages
	if err := exec.Command(python, "-c", "import cryptography, jwt").Run(); err != nil {
		testenv.Lacks(t, "PyJWT: apt-get install python3-jwt python3-cryptography")
	}
	return exec.Command(python, filepath.Join(examples, "python", "upstream.py"))
}

func javaProgram(t testing.TB, examples string) *exec.Cmd {
	t.Helper()
	java := testenv.Tool(t, "java")
	var jars []string
	for _, name := range []string{"annotations", "core", "databind"} {
		jar := "/usr/share/java/jackson-" + name + ".jar"
		if _, err := os.Stat(jar); err != nil {
			testenv.Lacks(t, "Jackson: apt-get install libjackson2-databind-java")
		}
		jars = append(jars, jar)
	}
	args := append(slices.Clone(testenv.JavaFlags), "-cp", strings.Join(jars, ":"), filepath.Join(examples, "java", "Upstream.java"))
	return exec.Command(java, args...)
}
