// Package journal is the write-ahead log of a store. It holds every change since
// the last snapshot, which shows what was acknowledged and lets a damaged store be
// rebuilt.
//
// An entry is on disk once [Journal.Append] returns. Each entry carries a SHA-256
// over itself and its predecessor's, so [Open] reports an entry that is missing,
// altered or out of order. Only a journal cut off exactly between two entries looks
// complete; a caller that stores the [Position] of the last entry elsewhere detects
// that too.
//
// A journal has a directory of its own, with files named after entry numbers. A
// segment, <number>.journal, holds the entries from that number on. A snapshot,
// <number>.snapshot, holds everything the store held after that entry, and makes
// the segments before it obsolete. The journal does not interpret keys or values.
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

// Write is one write to the store: it sets a key to a value, or deletes it.
type Write struct {
	Key, Value []byte
	Delete     bool
}

// Position identifies an entry: by its number, counted from 1, and by the sum over
// it and all entries before it. The zero Position precedes the first entry.
type Position struct {
	Number uint64
	Sum    [sha256.Size]byte
}

// String formats a position for [ParsePosition].
func (p Position) String() string { return fmt.Sprintf("%d %x", p.Number, p.Sum) }

// ParsePosition parses the result of String.
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

// Damage describes where a journal is damaged, and how.
type Damage struct {
	File   string // absolute path
	Offset int64  // in bytes
	Next   uint64 // number of the first entry that is unreadable or missing
	Reason string
}

func (d *Damage) Error() string {
	return fmt.Sprintf("the journal's file %q is damaged at byte %d: %s", d.File, d.Offset, d.Reason)
}

var (
	// ErrLocked is returned when another process has the journal open.
	ErrLocked = errors.New("the journal is locked by another process")
	// ErrBroken is returned once an entry could not be synced, or a partial one
	// could not be truncated. What the file holds is unknown, so no more entries
	// are accepted.
	ErrBroken = errors.New("a journal entry could not be written to disk")
)

// Journal is an open journal. It is not safe for concurrent use.
type Journal struct {
	dir     string
	unlock  func()
	base    Position  // of the snapshot
	end     Position  // of the last entry
	segment *os.File  // the last segment, which is appended to
	size    int64     // where the next entry goes in it
	before  int64     // size of the segments between the snapshot and it
	since   time.Time // of the first entry in those
	begun   time.Time // of the first entry in the last segment
	broken  error
	buffer  []byte // for the next entry
}

// maxBuffer bounds the memory that is kept from one entry to the next. An entry of a restore
// has 600 KB.
const maxBuffer = 1 << 20

// Exists reports whether a directory contains a journal.
func Exists(dir string) bool {
	files, err := list(dir)
	return err != nil || len(files.segments)+len(files.snapshots) > 0
}

// Open opens the journal in a directory, or creates one, and reads it from its
// snapshot on. It fails with [ErrLocked], a [*Damage] or a file system error. A
// damaged end is not an error but is reported in [Tail.Torn], for the caller to
// judge.
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
		return &Tail{}, j.startSegment(Position{})
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
	return j.replay(segments)
}

// Tidy removes files that the snapshot made obsolete, and temporary files left by a
// crash. Open does not, so that opening a journal to examine it changes nothing.
func (j *Journal) Tidy() error {
	files, err := list(j.dir)
	if err != nil {
		return err
	}
	return files.removeObsolete(j.base)
}

// Close closes the journal. Every entry is on disk already.
func (j *Journal) Close() (err error) {
	if j.segment != nil {
		err = j.segment.Close()
	}
	j.unlock()
	return err
}

// Base returns the position of the snapshot, or the zero Position without one.
func (j *Journal) Base() Position { return j.base }

// End returns the position of the last entry.
func (j *Journal) End() Position { return j.end }

// Size returns the size of the segments since the snapshot, in bytes.
func (j *Journal) Size() int64 { return j.before + j.size }

// InPlace returns an error if one of the journal's files was removed or replaced,
// so that an appended entry would be lost.
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

// Since returns the time of the first entry after the snapshot, or the zero time
// without one.
func (j *Journal) Since() time.Time { return cmp.Or(j.since, j.begun) }

// Next returns the entry to append next, with writes made at the given time. It is valid
// until the next call.
func (j *Journal) Next(at time.Time, writes []Write) Entry {
	e := newEntry(j.buffer, j.end, at, writes)
	if j.buffer = nil; cap(e.encoded) <= maxBuffer {
		j.buffer = e.encoded
	}
	return e
}

// Append appends the entry that Next returned last, and syncs it. On error, the
// entry was not added, unless the error is [ErrBroken].
func (j *Journal) Append(e Entry) error {
	if j.broken != nil {
		return j.broken
	}
	if _, err := j.segment.WriteAt(e.encoded, j.size); err != nil {
		if truncateErr := j.segment.Truncate(j.size); truncateErr != nil {
			return j.markBroken(errors.Join(err, truncateErr))
		}
		return err
	}
	if err := j.segment.Sync(); err != nil {
		// A second sync may succeed without having written anything.
		return j.markBroken(err)
	}
	j.end, j.size, j.begun = e.Position, j.size+int64(len(e.encoded)), cmp.Or(j.begun, e.at)
	return nil
}

func (j *Journal) markBroken(err error) error {
	j.broken = fmt.Errorf("%w: %w", ErrBroken, err)
	return j.broken
}

// DropTorn truncates the torn end that Open reported.
func (j *Journal) DropTorn() error {
	return errors.Join(j.segment.Truncate(j.size), j.segment.Sync())
}

// Salvage reads a journal that nobody has open, up to its first damage, and changes
// nothing. It returns the positions of the snapshot and of the last whole entry,
// and the damage, if any. The tail is nil if nothing could be read.
func Salvage(dir string) (tail *Tail, base, end Position, damage error) {
	j, _, tail, damage := readFiles(dir)
	return tail, j.base, j.end, damage
}

// readFiles reads the files of a journal that may be open elsewhere.
func readFiles(dir string) (j *Journal, segments []file, tail *Tail, err error) {
	j = &Journal{dir: dir}
	files, err := list(dir)
	if err == nil {
		segments, tail, err = j.load(files)
	}
	return j, segments, tail, err
}

// Verify rereads the journal's files from the snapshot on. It fails with a
// [*Damage] if they no longer hold the same entries.
func (j *Journal) Verify() (*Tail, error) {
	reread, segments, tail, err := readFiles(j.dir)
	switch {
	case err != nil:
		return nil, err
	case tail.Torn != nil:
		return nil, tail.Torn
	case reread.end != j.end:
		return nil, &Damage{File: segments[len(segments)-1].path, Offset: reread.size, Next: reread.end.Number + 1, Reason: "its end is missing"}
	}
	return tail, nil
}
