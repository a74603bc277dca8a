package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// open opens a journal and closes it when the test ends.
func open(t testing.TB, dir string) (*Journal, *Tail) {
	t.Helper()
	j, tail, err := Open(dir)
	if err != nil {
		t.Fatalf("Open: got error %v, want a journal", err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j, tail
}

// add appends an entry with one write.
func add(t testing.TB, j *Journal, key, value string) Position {
	t.Helper()
	entry := j.Next(start.Add(time.Duration(j.End().Number)*time.Minute), []Write{{Key: []byte(key), Value: []byte(value)}})
	if err := j.Append(entry); err != nil {
		t.Fatalf("Append: got error %v, want none", err)
	}
	return entry.Position
}

// contents returns what a store rebuilt from a journal holds.
func contents(t testing.TB, j *Journal, tail *Tail) map[string]string {
	t.Helper()
	store := map[string]string{}
	if err := readSnapshot(t, j, store); err != nil {
		t.Fatalf("Read of a snapshot: got error %v, want none", err)
	}
	for key, w := range tail.Writes {
		if store[key] = string(w.Value); w.Delete {
			delete(store, key)
		}
	}
	return store
}

func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}

func TestJournal(t *testing.T) {
	dir := t.TempDir()
	if Exists(dir) {
		t.Error("Exists: got true of an empty directory, want false")
	}
	j, tail := open(t, dir)
	equal(t, "end of a new journal", j.End(), Position{})
	equal(t, "writes of a new journal", len(tail.Writes), 0)
	first := add(t, j, "a", "1")
	add(t, j, "b", "")
	last := j.Next(start.Add(time.Hour), []Write{{Key: []byte("a"), Value: []byte("2")}, {Key: []byte("c"), Value: []byte("3")}, {Key: []byte("b"), Delete: true}})
	if err := j.Append(last); err != nil {
		t.Fatal(err)
	}
	equal(t, "since", j.Since(), start)
	_ = j.Close()

	j, tail = open(t, dir)
	equal(t, "end", j.End(), last.Position)
	equal(t, "first position", tail.Positions[1], first)
	equal(t, "contents", contents(t, j, tail), map[string]string{"a": "2", "c": "3"})
	equal(t, "last", tail.Last, start.Add(time.Hour))
	equal(t, "since", j.Since(), start)
	if !Exists(dir) {
		t.Error("Exists: got false, want true")
	}
}

func TestOpen_locked(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	if _, _, err := Open(dir); !errors.Is(err, ErrLocked) {
		t.Errorf("got error %v, want ErrLocked", err)
	}
	_ = j.Close()
	open(t, dir)
}

// populated makes a journal with a snapshot and two segments after it. It returns
// its contents and the position of its end.
func populated(t testing.TB) (dir string, want map[string]string, end Position) {
	t.Helper()
	dir = t.TempDir()
	j, _ := open(t, dir)
	add(t, j, "a", "1")
	snapshot(t, j, map[string]string{"a": "1", "b": "2"})
	add(t, j, "c", "3")
	if err := j.rotate(); err != nil {
		t.Fatal(err)
	}
	add(t, j, "d", "4")
	end = add(t, j, "a", "5")
	_ = j.Close()
	return dir, map[string]string{"a": "5", "b": "2", "c": "3", "d": "4"}, end
}

// Any bit flipped in any file, and any truncation, is either reported or leaves the
// contents and the end unchanged.
func TestOpen_damaged(t *testing.T) {
	dir, want, end := populated(t)
	for _, name := range fileNames(t, dir) {
		whole, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		try := func(title string, content []byte) {
			t.Helper()
			damaged := filepath.Join(t.TempDir(), "journal")
			if err := os.CopyFS(damaged, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(damaged, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
			j, tail, err := Open(damaged)
			if _, ok := errors.AsType[*Damage](err); ok {
				return
			}
			if err != nil {
				t.Fatalf("%s: got error %v, want *Damage", title, err)
			}
			defer j.Close()
			if j.End() != end {
				if tail.Torn == nil && !strings.HasPrefix(title, "cut") {
					t.Errorf("%s: it ends at entry %d, and no damage is reported", title, j.End().Number)
				}
				return
			}
			store := map[string]string{}
			if err := readSnapshot(t, j, store); err == nil && tail.Torn == nil && !reflect.DeepEqual(contents(t, j, tail), want) {
				t.Errorf("%s: the contents differ, and no damage is reported", title)
			}
		}
		for at := range whole {
			for bit := range 8 {
				changed := slices.Clone(whole)
				changed[at] ^= 1 << bit
				try(fmt.Sprintf("bit %d of byte %d of %s", bit, at, name), changed)
			}
			try(fmt.Sprintf("cut %s after %d bytes", name, at), whole[:at])
		}
		try("appended to "+name, append(slices.Clone(whole), "more"...))
	}
}

func TestOpen_missing(t *testing.T) {
	whole, _, _ := populated(t)
	for _, name := range fileNames(t, whole) {
		if name == "lock" {
			continue
		}
		dir, _, end := populated(t)
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		j, _, err := Open(dir)
		if err == nil {
			if j.End() == end {
				t.Errorf("without %s: it has the same end as before", name)
			}
			_ = j.Close() // the last segment: detected only by comparing the end
			continue
		}
		if _, ok := errors.AsType[*Damage](err); !ok {
			t.Errorf("without %s: got error %v, want *Damage", name, err)
		}
	}
}

// After a failed append that could not be undone, nothing more is appended, and the
// entry is not there after reopening.
func TestAppend_fails(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	add(t, j, "a", "1")
	file := j.segment
	closed, err := os.Open(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	j.segment = closed // opened read-only
	if err := j.Append(j.Next(start, []Write{{Key: []byte("b")}})); !errors.Is(err, ErrBroken) {
		t.Errorf("Append: got error %v, want ErrBroken, because the truncation fails too", err)
	}
	j.segment = file
	if err := j.Append(j.Next(start, []Write{{Key: []byte("b")}})); !errors.Is(err, ErrBroken) {
		t.Errorf("Append again: got error %v, want ErrBroken", err)
	}
	if _, err := j.Snapshot(nil); !errors.Is(err, ErrBroken) {
		t.Errorf("Snapshot afterwards: got error %v, want ErrBroken", err)
	}
	_ = j.Close()
	j, tail := open(t, dir)
	equal(t, "contents", contents(t, j, tail), map[string]string{"a": "1"})
}

func TestParsePosition(t *testing.T) {
	want := newEntry(nil, Position{Number: 41}, start, nil).Position
	got, err := ParsePosition(want.String())
	if err != nil || got != want {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for _, text := range []string{"", "1", "1 abcd", "x " + want.String(), want.String() + "00", "-1" + want.String()[2:]} {
		if p, err := ParsePosition(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, p)
		}
	}
}

// Payloads survive a round trip, and invalid ones are rejected.
func FuzzPayload(f *testing.F) {
	for _, writes := range [][]Write{
		nil,
		{{Key: []byte("k/key_01"), Value: []byte(`{"id":"key_01"}`)}},
		{{Key: []byte("a"), Delete: true}, {Key: []byte("b"), Value: []byte{}}},
	} {
		encoded := newEntry(nil, Position{}, start, writes).encoded
		f.Add(encoded[lengthSize : len(encoded)-len(Position{}.Sum)])
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		number, at, writes, err := decodePayload(payload)
		if err != nil {
			return
		}
		again := newEntry(nil, Position{Number: number - 1}, at, writes)
		n, when, same, err := decodePayload(again.encoded[lengthSize : len(again.encoded)-len(Position{}.Sum)])
		if err != nil || n != number || !when.Equal(at) || !reflect.DeepEqual(same, writes) {
			t.Errorf("got %d, %v, %v, %v, want %d, %v, %v", n, when, same, err, number, at, writes)
		}
	})
}
