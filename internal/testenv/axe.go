package testenv

import (
	"os"
	"path/filepath"
	"testing"
)

// Axe returns the path of axe-core, a script that finds faults of accessibility
// in a page. It ends the test where it is not installed: no Debian package has it.
func Axe(t testing.TB) string {
	t.Helper()
	return axeBelow(t, moduleRoot(t))
}

func axeBelow(t testing.TB, root string) string {
	t.Helper()
	path := filepath.Join(root, "test", "axe", "node_modules", "axe-core", "axe.min.js")
	if _, err := os.Stat(path); err != nil {
		Lacks(t, "axe-core: test/axe/install")
	}
	return path
}

// moduleRoot returns the directory of go.mod, above that of the running test.
func moduleRoot(t testing.TB) string {
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
