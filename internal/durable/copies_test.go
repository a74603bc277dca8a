package durable

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

// image is the files of a store as they were at one instant, by their names below its
// directory.
type image map[string]content

// content is what a file holds. What ends in megabytes of zeros, as Badger's files do,
// is kept without them.
type content struct {
	data []byte
	size int
}

func contentOf(whole []byte) content {
	return content{bytes.Clone(withoutZeros(whole)), len(whole)}
}

// whole returns the content with the zeros that it ends in.
func (c content) whole() []byte {
	return append(bytes.Clone(c.data), make([]byte, c.size-len(c.data))...)
}

// imageOf reads the directory of a store. Where the store is open, the image is what
// a killed process would have left: it is made again where Badger has changed its set
// of files meanwhile.
func imageOf(t *testing.T, dir string) image {
	t.Helper()
	for {
		before := filesNow(t, dir)
		files, err := readImage(dir)
		if slices.Equal(before, filesNow(t, dir)) {
			if err != nil {
				t.Fatal(err)
			}
			return files
		}
	}
}

func readImage(dir string) (image, error) {
	files := make(image)
	return files, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		whole, err := os.ReadFile(path)
		files[name] = contentOf(whole)
		return err
	})
}

// write writes the files to a new directory, and returns its path.
func (files image) write(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	for name, content := range files {
		to := filepath.Join(path, name)
		if err := errors.Join(
			os.MkdirAll(filepath.Dir(to), 0o700),
			os.WriteFile(to, content.data, 0o600),
			os.Truncate(to, int64(content.size)),
		); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// names returns the names, sorted, but for files that hold nothing of the store.
func (files image) names() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(files)), func(name string) bool {
		return slices.Contains([]string{"LOCK", "lock", "DISCARD"}, filepath.Base(name))
	})
}

// copyOf copies the directory of a store, as imageOf reads it.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	return imageOf(t, dir).write(t)
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

// withoutZeros returns a file's content without the zeros that it ends in: first
// whole pages of them, of which the race detector takes one look.
func withoutZeros(content []byte) []byte {
	var page [4096]byte
	for bytes.HasSuffix(content, page[:]) {
		content = content[:len(content)-len(page)]
	}
	return bytes.TrimRight(content, "\x00")
}
