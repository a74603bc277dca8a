package identity_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// nodeProgram makes a directory in which Node programs find the package for Node, as if it
// had been installed from npm, and the npm packages named.
func nodeProgram(t *testing.T, packages ...string) (node, dir string) {
	t.Helper()
	node, dir = testenv.Tool(t, "node"), t.TempDir()
	modules := filepath.Join(dir, "node_modules")
	// A copy, because Node would look for its dependencies next to what a link leads to.
	if err := os.CopyFS(filepath.Join(modules, "@agiled", "api-keys-identity"), os.DirFS("node")); err != nil {
		t.Fatal(err)
	}
	for _, name := range append(packages, "jose") {
		if err := os.Symlink(testenv.NPM(t, name), filepath.Join(modules, filepath.FromSlash(name))); err != nil {
			t.Fatal(err)
		}
	}
	return node, dir
}

func runNode(t *testing.T, node, dir string, args ...string) {
	t.Helper()
	testdata, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "IDENTITY_TESTDATA="+testdata)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}

// TestNode runs the tests of the package for Node, which has the same cases to pass.
func TestNode(t *testing.T) {
	t.Parallel()
	node, dir := nodeProgram(t, "express", "fastify")
	runNode(t, node, dir, "--test", "node_modules/@agiled/api-keys-identity/test/verifier.test.js")
}

// TestNode_types compiles a program in TypeScript that uses the package.
func TestNode_types(t *testing.T) {
	t.Parallel()
	types := testenv.NPM(t, "@types/node")
	node, dir := nodeProgram(t, "typescript")
	modules := filepath.Join(dir, "node_modules")
	// Here, because types are looked for above the file that needs them.
	if err := os.Symlink(filepath.Dir(types), filepath.Join(modules, "@types")); err != nil {
		t.Fatal(err)
	}
	runNode(t, node, dir, "node_modules/typescript/bin/tsc", "--project", "node_modules/@agiled/api-keys-identity/test")
}
