package durable

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

// copyOf copies the directory of a store. Where the store is open, the copy is what
// a killed process would have left, so it is of one instant: it is made again where
// Badger has changed its set of files meanwhile.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	for {
		before := filesNow(t, dir)
		path := filepath.Join(t.TempDir(), "keys")
		err := copyTree(path, dir)
		if slices.Equal(before, filesNow(t, dir)) {
			if err != nil {
				t.Fatal(err)
			}
			return path
		}
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
}

// filesNow returns the names of the files in a directory, and the manifest, which
// says which of them are in use.
func filesNow(t *testing.T, dir string) (state []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		state = append(state, entry.Name())
	}
	manifest, err := os.ReadFile(filepath.Join(dir, badger.ManifestFilename))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return append(state, string(manifest))
}

func copyTree(path, dir string) error {
	return filepath.WalkDir(dir, func(from string, entry os.DirEntry, err error) error {
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
