package durable

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
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
		files[name], err = readContent(path)
		return err
	})
}

// readContent reads a file. It takes no look at what was never written: of Badger's files
// that is megabytes, each byte of which the race detector would note.
func readContent(path string) (content, error) {
	file, err := os.Open(path)
	if err != nil {
		return content{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return content{}, err
	}
	c := content{size: int(info.Size())}
	data := make([]byte, writtenEnd(file, info.Size()))
	n, err := io.ReadFull(file, data)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) { // it has been cut off meanwhile
		c.size, err = n, nil
	}
	c.data = bytes.Clone(withoutZeros(data[:n]))
	return c, err
}

// writtenEnd returns where the last part of a file ends that was written, as far as the
// system knows, and leaves the file at its beginning.
func writtenEnd(file *os.File, size int64) int64 {
	const seekData, seekHole = 3, 4
	if runtime.GOOS != "linux" {
		return size
	}
	var end int64
	for {
		data, err := file.Seek(end, seekData)
		if errors.Is(err, syscall.ENXIO) { // there is no more
			break
		}
		if err == nil {
			end, err = file.Seek(data, seekHole)
		}
		if err != nil {
			end = size
			break
		}
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return size // and reading says so
	}
	return end
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
