package journal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A torn entry is dropped, and the next append replaces it.
func TestOpen_torn(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	add(t, j, "a", "1")
	before := j.size
	add(t, j, "b", "2")
	after := j.size
	segment := j.segment.Name()
	_ = j.Close()
	for size := before + 1; size < after; size++ {
		left := filepath.Join(t.TempDir(), "journal")
		if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(left, filepath.Base(segment)), size); err != nil {
			t.Fatal(err)
		}
		j, tail := open(t, left)
		if tail.Torn == nil || tail.Torn.Next != 2 || tail.Torn.Offset != before {
			t.Fatalf("%d bytes: got torn %v, want entry 2 at byte %d", size, tail.Torn, before)
		}
		if err := j.DropTorn(); err != nil {
			t.Fatal(err)
		}
		add(t, j, "c", "3")
		_ = j.Close()
		j, tail = open(t, left)
		equal(t, "contents", contents(t, j, tail), map[string]string{"a": "1", "c": "3"})
		_ = j.Close()
	}
}

// Damage before the last entry is not a torn write: the entries after it were
// acknowledged.
func TestOpen_tornInTheMiddle(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	add(t, j, "a", "1")
	first := j.size
	add(t, j, "b", "2")
	last := j.size
	add(t, j, "c", "3")
	segment := filepath.Base(j.segment.Name())
	_ = j.Close()
	whole, err := os.ReadFile(filepath.Join(dir, segment))
	if err != nil {
		t.Fatal(err)
	}
	opened := func(content []byte) (*Tail, error) {
		t.Helper()
		left := t.TempDir()
		if err := os.WriteFile(filepath.Join(left, segment), content, 0o600); err != nil {
			t.Fatal(err)
		}
		j, tail, err := Open(left)
		if err == nil {
			_ = j.Close()
		}
		return tail, err
	}
	for at := first; at < int64(len(whole)); at++ {
		for bit := range 8 {
			content := append([]byte(nil), whole...)
			content[at] ^= 1 << bit
			tail, err := opened(content)
			_, damaged := errors.AsType[*Damage](err)
			switch {
			case at < last+lengthSize && !damaged:
				t.Errorf("bit %d of byte %d: got error %v, want *Damage", bit, at, err)
			case at >= last+lengthSize && (err != nil || tail.Torn == nil):
				t.Errorf("bit %d of byte %d, in the last entry: got error %v, want a torn end", bit, at, err)
			}
		}
	}
	zeros := append([]byte(nil), whole...)
	clear(zeros[first:])
	if tail, err := opened(zeros); err != nil || tail.Torn == nil {
		t.Errorf("zeros up to the end: got error %v, want a torn end", err)
	}
	clear(zeros[first:])
	copy(zeros[last:], whole[last:])
	if _, err := opened(zeros); err == nil {
		t.Error("zeros before an entry: got no error, want *Damage")
	}
}

// A segment that was created but never opened is skipped: the one before it was
// continued.
func TestOpen_abandonedSegment(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	add(t, j, "a", "1")
	if err := writeFile(filepath.Join(dir, fileName(2, segmentSuffix)), appendPosition([]byte(segmentMagic), j.end)); err != nil {
		t.Fatal(err)
	}
	add(t, j, "b", "2")
	add(t, j, "c", "3")
	_ = j.Close()
	j, tail := open(t, dir)
	equal(t, "contents", contents(t, j, tail), map[string]string{"a": "1", "b": "2", "c": "3"})
	add(t, j, "d", "4")
	snapshot(t, j, map[string]string{"a": "1", "b": "2", "c": "3", "d": "4"})
	add(t, j, "e", "5")
	_ = j.Close()
	j, tail = open(t, dir)
	equal(t, "contents after a snapshot", contents(t, j, tail), map[string]string{"a": "1", "b": "2", "c": "3", "d": "4", "e": "5"})
	_ = j.Close()
}

func TestVerify(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	defer j.Close()
	add(t, j, "a", "1")
	if tail, err := j.Verify(); err != nil || len(tail.Writes) != 1 {
		t.Fatalf("got error %v, want one write", err)
	}
	for _, name := range []string{"segment", "directory"} {
		path := j.segment.Name()
		if name == "directory" {
			path = dir
		}
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if _, err := j.Verify(); err == nil {
			t.Errorf("without its %s: got no error, want one", name)
		}
	}
}

// A power failure can leave any page of an unacknowledged entry as zeros, but no
// page of an acknowledged one.
func TestOpen_zeroedPage(t *testing.T) {
	for _, test := range []struct {
		page    string
		zero    func(content []byte, before int64) []byte
		entries int // after the first one
		want    bool
	}{
		{"first", func(b []byte, before int64) []byte { return b[before:pageSize] }, 1, true},
		{"middle", func(b []byte, _ int64) []byte { return b[2*pageSize : 3*pageSize] }, 1, true},
		{"last", func(b []byte, _ int64) []byte { return b[len(b)&^(pageSize-1):] }, 1, true},
		{"first, and another entry follows", func(b []byte, before int64) []byte { return b[before:pageSize] }, 2, false},
	} {
		t.Run(test.page, func(t *testing.T) {
			dir := t.TempDir()
			j, _ := open(t, dir)
			add(t, j, "a", "1")
			before := j.size
			for range test.entries {
				add(t, j, "b", strings.Repeat("x", 20000))
			}
			path := j.segment.Name()
			_ = j.Close()
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			clear(test.zero(content, before))
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			j, tail, err := Open(dir)
			if err == nil {
				_ = j.Close()
			}
			if opened := err == nil && tail.Torn != nil; opened != test.want {
				t.Errorf("got %v and error %v, want a torn end: %v", tail, err, test.want)
			}
		})
	}
}

// An abandoned segment after a torn one does not turn the tear into damage.
func TestOpen_tornBeforeAbandonedSegment(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	add(t, j, "a", "1")
	header := appendPosition([]byte(segmentMagic), j.end)
	if err := writeFile(filepath.Join(dir, fileName(j.end.Number+1, segmentSuffix)), header); err != nil {
		t.Fatal(err)
	}
	add(t, j, "b", "2")
	before := j.size
	add(t, j, "c", "3")
	path := j.segment.Name()
	_ = j.Close()
	if err := os.Truncate(path, before+10); err != nil {
		t.Fatal(err)
	}
	j, tail, err := Open(dir)
	if err != nil || tail.Torn == nil {
		t.Fatalf("got %v and error %v, want a torn end", tail, err)
	}
	_ = j.Close()
}

// The empty first segment of another journal does not pass for the last one of
// this.
func TestOpen_foreignEmptySegment(t *testing.T) {
	fresh := t.TempDir()
	f, _ := open(t, fresh)
	_ = f.Close()
	empty, err := os.ReadFile(filepath.Join(fresh, fileName(1, segmentSuffix)))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	j, _ := open(t, dir)
	add(t, j, "a", "1")
	snapshot(t, j, map[string]string{"a": "1"})
	add(t, j, "b", "2")
	_ = j.Close()
	if err := os.WriteFile(filepath.Join(dir, fileName(2, segmentSuffix)), empty, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(dir); err == nil {
		t.Error("got no error, want *Damage")
	}
}
