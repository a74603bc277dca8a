// Package journal keeps, beside a store, what was written to it: the proof of
// what was acknowledged, and what a damaged store is built from again.
//
// It promises that an entry is on the disk when [Journal.Append] returns, and
// that nothing that was in it can be missing, changed or in another place
// without [Open] saying so: each entry holds the SHA-256 of itself and of the
// one before. Only the end can be cut off unseen, at an entry's border. Whoever
// keeps the [Position] of the last entry elsewhere sees that too.
//
// The files of a journal are in a directory of their own, and are named by the
// number of an entry. A segment, <number>.journal, has the entries from that one
// on. A snapshot, <number>.snapshot, has all that the store held after it, and
// makes the segments before it superfluous. The journal knows nothing of what
// keys and values mean.
package journal

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Write is one write to the store: a value for a key, or the key's deletion.
type Write struct {
	Key, Value []byte
	Delete     bool
}

// Position is a place in a journal: the number of an entry, from 1 on, and the
// sum of it and of all before it. The zero Position is before the first.
type Position struct {
	Number uint64
	Sum    [sha256.Size]byte
}

// String returns a position as text that [ParsePosition] reads.
func (p Position) String() string { return fmt.Sprintf("%d %x", p.Number, p.Sum) }

// ParsePosition reads what String has written.
func ParsePosition(text string) (p Position, err error) {
	var sum string
	if _, err := fmt.Sscanf(text, "%d %s", &p.Number, &sum); err != nil {
		return Position{}, fmt.Errorf("not a journal position: %q", text)
	}
	decoded, err := hex.DecodeString(sum)
	if err != nil || copy(p.Sum[:], decoded) != len(p.Sum) || len(decoded) != len(p.Sum) {
		return Position{}, fmt.Errorf("not a journal position: %q", text)
	}
	return p, nil
}

// Damage is what is wrong with a journal.
type Damage struct {
	File   string // as an absolute path
	Offset int64  // in the file, in bytes
	Next   uint64 // the first entry that cannot be read, or is not there
	Reason string
}

func (d *Damage) Error() string {
	return fmt.Sprintf("the journal's file %q is damaged at byte %d: %s", d.File, d.Offset, d.Reason)
}

var (
	// ErrLocked says that another process has the journal open.
	ErrLocked = errors.New("the journal is locked by another process")
	// ErrBroken says that an entry could not be brought to the disk, and that it
	// is not known how much of it is there: none can be added any more.
	ErrBroken = errors.New("an entry of the journal could not be written to disk")
)

// Journal is an open journal. Its methods are for one caller at a time.
type Journal struct {
	dir     string
	unlock  func()
	base    Position  // of the snapshot
	end     Position  // of the last entry
	segment *os.File  // the last one
	size    int64     // of its whole entries, in bytes
	before  int64     // size of the segments before it, in bytes
	since   time.Time // when the first entry after the snapshot was made
	begun   time.Time // when the first entry of the segment was made
	broken  error
}

// Exists reports whether there is a journal in a directory.
func Exists(dir string) bool {
	files, err := list(dir)
	return err != nil || len(files.segments)+len(files.snapshots) > 0
}

// Open opens the journal in a directory, or makes it if there is none, and reads
// it from its snapshot on. It fails with [ErrLocked], with a [*Damage], or with
// an error of the file system. What it leaves to its caller is a damaged end:
// see Tail.
func Open(dir string) (j *Journal, tail *Tail, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	unlock, err := lock(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, nil, err
	}
	j = &Journal{dir: dir, unlock: unlock}
	if tail, err = j.open(); err != nil {
		return nil, nil, errors.Join(err, j.Close())
	}
	return j, tail, nil
}

func (j *Journal) open() (*Tail, error) {
	files, err := list(j.dir)
	if err != nil {
		return nil, err
	}
	if len(files.segments)+len(files.snapshots) == 0 {
		return &Tail{}, j.begin(Position{})
	}
	segments, tail, err := j.load(files)
	if err != nil {
		return nil, err
	}
	j.segment, err = os.OpenFile(segments[len(segments)-1].path, os.O_RDWR, 0)
	return tail, err
}

// load reads the journal from its snapshot on.
func (j *Journal) load(files files) (segments []file, tail *Tail, err error) {
	if j.base, err = files.base(); err != nil {
		return nil, nil, err
	}
	if segments, err = files.after(j.base); err != nil {
		return nil, nil, err
	}
	return j.read(segments)
}

// Tidy removes what the snapshot has made superfluous, and what a crash has left
// unfinished. Open leaves them, so that to look at a journal does not change it.
func (j *Journal) Tidy() error {
	files, err := list(j.dir)
	if err != nil {
		return err
	}
	return files.removeBefore(j.base)
}

// Close releases the journal. Every entry is on the disk already.
func (j *Journal) Close() (err error) {
	if j.segment != nil {
		err = j.segment.Close()
	}
	j.unlock()
	return err
}

// Base returns the position of the snapshot; the zero Position if there is none.
func (j *Journal) Base() Position { return j.base }

// End returns the position of the last entry.
func (j *Journal) End() Position { return j.end }

// Size returns how many bytes of entries there are after the snapshot.
func (j *Journal) Size() int64 { return j.before + j.size }

// InPlace says why what is appended now would be lost, if so: a file of the
// journal was removed or replaced.
func (j *Journal) InPlace() error {
	open, err := j.segment.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(j.segment.Name())
	if err == nil && !os.SameFile(there, open) {
		err = fmt.Errorf("%s was replaced", j.segment.Name())
	}
	if err == nil && j.base.Number > 0 {
		_, err = os.Stat(j.snapshotPath())
	}
	return err
}

// Since returns when the first entry after the snapshot was made; the zero time
// if there is none.
func (j *Journal) Since() time.Time { return cmp.Or(j.since, j.begun) }

// Next returns an entry with writes that were made at a time, to be appended
// next.
func (j *Journal) Next(at time.Time, writes []Write) Entry {
	return newEntry(j.end, at, writes)
}

// Append adds an entry that Next has just returned. If it fails, the entry is
// not there, unless the error is [ErrBroken].
func (j *Journal) Append(e Entry) error {
	if j.broken != nil {
		return j.broken
	}
	if _, err := j.segment.WriteAt(e.encoded, j.size); err != nil {
		if truncateErr := j.segment.Truncate(j.size); truncateErr != nil {
			return j.breakOff(errors.Join(err, truncateErr))
		}
		return err
	}
	if err := j.segment.Sync(); err != nil {
		// What the disk has now is not known, and to sync again would not tell.
		return j.breakOff(err)
	}
	j.end, j.size, j.begun = e.Position, j.size+int64(len(e.encoded)), cmp.Or(j.begun, e.at)
	return nil
}

func (j *Journal) breakOff(err error) error {
	j.broken = fmt.Errorf("%w: %w", ErrBroken, err)
	return j.broken
}

// DropTorn removes what Open has found at the end of the journal that is no
// entry.
func (j *Journal) DropTorn() error {
	return errors.Join(j.segment.Truncate(j.size), j.segment.Sync())
}

// Salvage reads a journal that nobody has open, up to where it is damaged, and
// changes nothing. It returns its snapshot's position and that of the last whole
// entry, and what is wrong, if anything is. There is no tail where not even the
// beginning can be read.
func Salvage(dir string) (tail *Tail, base, end Position, damage error) {
	j, _, tail, damage := readAgain(dir)
	return tail, j.base, j.end, damage
}

// readAgain reads the files of a journal that may be open elsewhere.
func readAgain(dir string) (j *Journal, segments []file, tail *Tail, err error) {
	j = &Journal{dir: dir}
	files, err := list(dir)
	if err == nil {
		segments, tail, err = j.load(files)
	}
	return j, segments, tail, err
}

// Verify reads the files of the journal again, from the snapshot on. It fails with
// a [*Damage] if they do not hold the entries that they did.
func (j *Journal) Verify() (*Tail, error) {
	again, segments, tail, err := readAgain(j.dir)
	switch {
	case err != nil:
		return nil, err
	case tail.Torn != nil:
		return nil, tail.Torn
	case again.end != j.end:
		return nil, &Damage{File: segments[len(segments)-1].path, Offset: again.size, Next: again.end.Number + 1, Reason: "its end is missing"}
	}
	return tail, nil
}
