package durable

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// copyOf copies the directory of a store. Where the store is open, the copy is
// what a killed process would have left.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	err := filepath.WalkDir(dir, func(from string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, from)
		if err != nil {
			return err
		}
		to := filepath.Join(path, name)
		if entry.IsDir() {
			return os.Mkdir(to, 0o700)
		}
		content, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		// What ends in megabytes of zeros takes no room for them.
		if err := os.WriteFile(to, withoutZeros(content), 0o600); err != nil {
			return err
		}
		return os.Truncate(to, int64(len(content)))
	})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// withoutZeros returns a file's content without the zeros that it ends in: first
// whole pages of them, of which the race detector takes one look.
func withoutZeros(content []byte) []byte {
	var page [4096]byte
	for bytes.HasSuffix(content, page[:]) {
		content = content[:len(content)-len(page)]
	}
	return bytes.TrimRight(content, "\x00")
}
