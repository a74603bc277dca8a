package durable

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/agiled/caddy-api-keys/internal/doctor"
)

// free is what this process may still write to a disk.
type free struct {
	bytes  uint64
	inodes uint64 // for new files; math.MaxUint64 if unknown
}

// minFree is the disk space that must be free before anything is written. Badger
// maps its files into memory, so a full disk kills the process with SIGBUS. A
// single write can make Badger create two memtables and two value-log files at
// most.
const minFree = 64 << 20

// reserve is what must be free in addition before anything that is not urgent is
// written, besides the room for merges: see [tables.toMerge].
const reserve = 16 << 20

// minInodes and reservedInodes are the same for the number of files. A write that makes
// Badger create one, and fails to, leaves it unusable: see failing. The number includes
// files for the tables that Badger writes in the meantime: a merge makes about 40 before it
// removes any, and would leave out those that it cannot create.
const (
	minInodes      = 64
	reservedInodes = 64
)

// spareFiles is how many files this process must be able to open before anything is
// written: a memtable's, and those of tables and the directory while others are flushed.
const spareFiles = 16

// free returns what this process may still write.
func (db *DB) free() (left free, err error) {
	left, err = freeOn(db.path)
	if f := db.faults.Load(); f != nil && f.Free != nil {
		left.bytes, err = f.Free(), nil
	}
	if f := db.faults.Load(); f != nil && f.Inodes != nil {
		left.inodes, err = f.Inodes(), nil
	}
	return left, err
}

// creatable returns why Badger could not create a file now, although there is space, or nil.
func (db *DB) creatable() error {
	if f := db.faults.Load(); f != nil && f.Creatable != nil {
		return f.Creatable()
	}
	return creatable(db.path)
}

// enoughSpace returns [ErrNoSpace], with advice, if the disk is too full for any write.
func (db *DB) enoughSpace() error { return db.requireFree(free{minFree, minInodes}) }

// spareSpace returns [ErrNoSpace], with advice, if the disk is too full for writes that
// are not urgent, and for the merges that they may cause.
func (db *DB) spareSpace() error {
	return db.requireFree(free{minFree + reserve + db.toMerge.Load(), minInodes + reservedInodes})
}

// aboveReserve returns [ErrNoSpace], with advice, if the disk has only the reserve left.
func (db *DB) aboveReserve() error {
	return db.requireFree(free{minFree + reserve, minInodes + reservedInodes})
}

func (db *DB) requireFree(want free) error {
	left, err := db.free()
	switch {
	case err != nil: // if unknown, the write itself finds out
	case left.bytes < want.bytes:
		return &causedError{fmt.Errorf("the disk has %d MiB left, but a write may need %d MiB: free some space", left.bytes>>20, want.bytes>>20), ErrNoSpace}
	case left.inodes < want.inodes:
		return &causedError{fmt.Errorf("the disk has %d inodes left, but a write may need %d: delete files on it, outside the store's directory", left.inodes, want.inodes), ErrNoInodes}
	}
	return nil
}

// CheckSpace warns when less than spaceWarning times minFree is left.
const spaceWarning = 8

// CheckSpace reports how much disk space is left.
func (db *DB) CheckSpace() doctor.Finding {
	const check = "space"
	left, err := db.free()
	free, merges := left.bytes, tablesIn(db.path).toMerge()
	needed := minFree + reserve + merges
	switch {
	case err != nil:
		return doctor.Warningf(check, "", "The free disk space cannot be determined: %v.", err)
	case free < minFree:
		return doctor.Faultf(check, "Free some disk space: until then, every change is refused.", "The disk has %d MiB left, but a change may need %d MiB.", free>>20, minFree>>20)
	case left.inodes < minInodes:
		return doctor.Faultf(check, "Delete files on this disk, outside the store's directory: until then, every change is refused.", "The disk has %d inodes left, but a change may need %d.", left.inodes, minInodes)
	case left.inodes < minInodes+reservedInodes:
		return doctor.Faultf(check, "Delete files on this disk, outside the store's directory: until then, keys can be revoked and workspaces suspended, but every other change is refused.",
			"The disk has %d inodes left. Of those, the last %d above %d are reserved for revoking and suspending.", left.inodes, reservedInodes, minInodes)
	case free < needed:
		return doctor.Faultf(check, "Free some disk space: until then, keys can be revoked and workspaces suspended, but every other change is refused.",
			"The disk has %d MiB left. Of the %d MiB that changes need, %d MiB are to merge the store's tables, and %d MiB are reserved for revoking and suspending.", free>>20, needed>>20, merges>>20, reserve>>20)
	case free < spaceWarning*minFree:
		return doctor.Warningf(check, "Free some disk space.", "The disk has %d MiB left. With less than %d MiB, only revoking and suspending is possible.", free>>20, needed>>20)
	}
	return doctor.Finef(check, "The disk has %d MiB left.", free>>20)
}

// Size is the disk space that a database takes, and that is left, in bytes.
type Size struct {
	Tables uint64 // sorted tables
	Log    uint64 // Badger's logs, with changes not yet in tables
	Free   uint64 // what this process may still write; math.MaxUint64 if unknown
}

// Size measures the database. What cannot be measured is 0.
//
// It reads the directory: Badger's own figures need its metrics, which are
// process-wide, and omit the logs of memtables.
func (db *DB) Size() (size Size) {
	entries, _ := os.ReadDir(db.path)
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			continue // removed meanwhile
		}
		switch filepath.Ext(entry.Name()) {
		case ".sst":
			size.Tables += allocatedBytes(info)
		case ".mem", ".vlog":
			size.Log += allocatedBytes(info)
		}
	}
	left, _ := freeOn(db.path)
	size.Free = left.bytes
	return size
}

// WhileSpace returns a writer to w that fails with [ErrNoSpace] once the disk has
// room for urgent changes only.
func (db *DB) WhileSpace(w io.Writer) io.Writer { return &spaceWriter{db, w} }

type spaceWriter struct {
	db *DB
	to io.Writer
}

func (w *spaceWriter) Write(b []byte) (int, error) {
	if err := w.db.spareSpace(); err != nil {
		return 0, err
	}
	return w.to.Write(b)
}

// spoolSuffix ends the names of temporary files and directories. Open removes those
// that a crash left.
const spoolSuffix = ".spool"

// Spool returns a temporary file on the database's disk, already unlinked. It fails
// if nothing may be written.
func (db *DB) Spool() (*os.File, error) {
	if err := db.use(db.checkWritable); err != nil {
		return nil, err
	}
	return SpoolIn(db.path)
}

// SpoolIn returns a temporary file in a directory, already unlinked.
func SpoolIn(directory string) (*os.File, error) {
	file, err := os.CreateTemp(directory, "*"+spoolSuffix)
	if err != nil {
		return nil, err
	}
	return file, os.Remove(file.Name())
}
