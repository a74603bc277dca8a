package testenv

import (
	"os"
	"path/filepath"
	"testing"
)

// NPM returns the directory of a package that test/npm/install downloads: a script or
// tool that is not in Debian. It ends the test if the package is not installed.
func NPM(t testing.TB, name string) string {
	t.Helper()
	return npmBelow(t, Root(t), name)
}

func npmBelow(t testing.TB, root, name string) string {
	t.Helper()
	path := filepath.Join(root, "test", "npm", "node_modules", name)
	if _, err := os.Stat(filepath.Join(path, "package.json")); err != nil {
		Lacks(t, name+": test/npm/install")
	}
	return path
}

// Root returns the directory of go.mod, above the running test's own.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	t.Fatalf("testenv: no go.mod above the test's directory (%v)", err)
	return ""
}
