package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// description is where the admin API is described.
const description = "../admin/openapi.yaml"

// output runs a program in a directory, and returns what it printed to standard
// output. On standard error go run says which modules it downloads.
func output(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(name), strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

// testdataCopy returns a directory with a copy of one below testdata, for what is generated
// next to it.
func testdataCopy(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS(filepath.Join("testdata", name))))
	return dir
}

// TestGenerated verifies that clients generated from the API's description compile, and
// work with the API.
func TestGenerated(t *testing.T) {
	t.Parallel()
	const adminToken = "an-admin-token-of-the-test"
	source, err := filepath.Abs(description)
	must(t, err)
	token := regexp.MustCompile(`^agk_[0-9A-Za-z]{49}\n$`)

	tests := map[string]func(t *testing.T, env []string) string{
		"oapi-codegen": func(t *testing.T, env []string) string {
			dir := testdataCopy(t, "generated/golang")
			output(t, "..", nil, "go", "tool", "-modfile=tools/go.mod", "oapi-codegen", "-generate", "types,client", "-package", "main", "-o", filepath.Join(dir, "client.go"), source)
			return output(t, dir, env, "go", "run", ".")
		},
		"openapi-typescript": func(t *testing.T, env []string) string {
			dir := testdataCopy(t, "generated/typescript")
			node, modules := testenv.Tool(t, "node"), filepath.Dir(testenv.NPM(t, "openapi-typescript"))
			must(t, os.Symlink(modules, filepath.Join(dir, "node_modules")))
			output(t, dir, nil, node, "node_modules/openapi-typescript/bin/cli.js", source, "--output", "schema.d.ts")
			output(t, dir, nil, node, "node_modules/typescript/bin/tsc", "--project", ".")
			return output(t, dir, env, node, "main.js")
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.Env = []string{"TEST_ADMIN_TOKEN=" + adminToken}
			must(t, os.WriteFile(filepath.Join(s.Dir, "admin-token"), []byte(adminToken), 0o600))
			s.Run(mountConfig)
			s.AwaitReady()
			got := test(t, []string{"ADMIN_API=http://" + s.Plain + "/token", "ADMIN_TOKEN=" + adminToken})
			if !token.MatchString(got) {
				t.Errorf("got %q, want the new key's token", got)
			}
		})
	}
}

// TestGenerated_lint verifies that Redocly's linter reads the API's description, and finds
// nothing but that its first server is the administrator's own machine.
func TestGenerated_lint(t *testing.T) {
	t.Parallel()
	node, modules := testenv.Tool(t, "node"), filepath.Dir(filepath.Dir(testenv.NPM(t, "@redocly/openapi-core")))
	dir := testdataCopy(t, "generated/typescript")
	must(t, os.Symlink(modules, filepath.Join(dir, "node_modules")))
	source, err := filepath.Abs(description)
	must(t, err)
	want := "warn no-server-example.com at #/servers/0/url: Server `url` should not point to example.com or localhost.\n"
	if got := output(t, dir, nil, node, "lint.mjs", source); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}
