package journal

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// snapshot commits a snapshot with the given contents.
func snapshot(t testing.TB, j *Journal, store map[string]string) {
	t.Helper()
	w, err := j.Snapshot(func(w io.Writer) io.Writer { return w })
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range store {
		if err := w.Write([]byte(key), []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Finish(), w.Commit()); err != nil {
		t.Fatal(err)
	}
}

func readSnapshot(t testing.TB, j *Journal, into map[string]string) error {
	t.Helper()
	s, err := j.OpenSnapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return s.Read(func(key, value []byte) error {
		into[string(key)] = string(value)
		return nil
	})
}

// A snapshot replaces earlier entries, and entries can be appended while it is
// written.
func TestSnapshot(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	add(t, j, "a", "1")
	size := j.Size()
	base := add(t, j, "b", "2")
	w, err := j.Snapshot(func(w io.Writer) io.Writer { return w })
	if err != nil {
		t.Fatal(err)
	}
	add(t, j, "a", "3")
	for key, value := range map[string]string{"a": "1", "b": "2", "note": "x"} {
		if err := w.Write([]byte(key), []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Finish(), w.Commit()); err != nil {
		t.Fatal(err)
	}
	equal(t, "base", j.Base(), base)
	equal(t, "size", j.Size(), size)
	equal(t, "since", j.Since(), start.Add(2*time.Minute))
	add(t, j, "c", "4")
	want := map[string]string{"a": "3", "b": "2", "c": "4", "note": "x"}
	for range 2 {
		_ = j.Close()
		var tail *Tail
		j, tail = open(t, dir)
		equal(t, "base", j.Base(), base)
		equal(t, "end", j.End().Number, uint64(4))
		equal(t, "contents", contents(t, j, tail), want)
		equal(t, "files", fileNames(t, dir), []string{"00000000000000000002.snapshot", "00000000000000000003.journal", "lock"})
	}
	snapshot(t, j, want)
	snapshot(t, j, want) // with no entry in between
	_ = j.Close()
	j, tail := open(t, dir)
	equal(t, "contents", contents(t, j, tail), want)
	equal(t, "entries after it", len(tail.Writes), 0)
}

func fileNames(t testing.TB, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// A crash at any point of making a snapshot loses nothing.
func TestSnapshot_interrupted(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	add(t, j, "a", "1")
	snapshot(t, j, map[string]string{"a": "1"})
	add(t, j, "b", "2")
	want := map[string]string{"a": "1", "b": "2"}
	check := func(title string) {
		t.Helper()
		left := filepath.Join(t.TempDir(), "journal")
		if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		copied, tail := open(t, left)
		equal(t, title, contents(t, copied, tail), want)
		if err := copied.Tidy(); err != nil {
			t.Fatal(err)
		}
		for _, name := range fileNames(t, left) {
			if strings.HasSuffix(name, temporarySuffix) {
				t.Errorf("%s: %s is still there", title, name)
			}
		}
	}
	w, err := j.Snapshot(func(w io.Writer) io.Writer { return w })
	if err != nil {
		t.Fatal(err)
	}
	check("begun")
	for key, value := range want {
		if err := w.Write([]byte(key), []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	check("written")
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	check("finished")
	obsolete := map[string][]byte{}
	for _, name := range fileNames(t, dir) {
		if obsolete[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	check("committed")
	for name, content := range obsolete {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil && !strings.HasSuffix(name, temporarySuffix) {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	check("committed, but no file removed yet")
}

func TestSnapshot_discarded(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	add(t, j, "a", "1")
	w, err := j.Snapshot(func(w io.Writer) io.Writer { return w })
	if err != nil {
		t.Fatal(err)
	}
	add(t, j, "b", "2")
	if err := w.Discard(); err != nil {
		t.Fatal(err)
	}
	_ = j.Close()
	j, tail := open(t, dir)
	equal(t, "contents", contents(t, j, tail), map[string]string{"a": "1", "b": "2"})
	equal(t, "base", j.Base(), Position{})
}
