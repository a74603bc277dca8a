package identity_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/testenv"
	"github.com/agiled/caddy-api-keys/internal/upstreamtest"
)

func runNode(t *testing.T, dir string, args ...string) {
	t.Helper()
	testdata, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), testenv.Tool(t, "node"), args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "IDENTITY_TESTDATA="+testdata)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}

// TestNode runs the tests of the package for Node, which has the same cases to pass.
func TestNode(t *testing.T) {
	t.Parallel()
	dir := upstreamtest.NodeModules(t, "express", "fastify")
	runNode(t, dir, "--test", "node_modules/@agiled/api-keys-identity/test/verifier.test.js")
}

// TestNode_types compiles a program in TypeScript that uses the package.
func TestNode_types(t *testing.T) {
	t.Parallel()
	dir := upstreamtest.NodeModules(t, "typescript")
	// Here, because types are looked for above the file that needs them.
	if err := os.Symlink(filepath.Dir(testenv.NPM(t, "@types/node")), filepath.Join(dir, "node_modules", "@types")); err != nil {
		t.Fatal(err)
	}
	runNode(t, dir, "node_modules/typescript/bin/tsc", "--project", "node_modules/@agiled/api-keys-identity/test")
}
