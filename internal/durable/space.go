package durable

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// minFree is what must be free on the disk before anything is written. Badger
// maps its files into memory, and a full disk then kills the process by SIGBUS;
// two memtables and two value-log files are the most that one write can begin.
const minFree = 64 << 20

// reserve is what must be free beyond minFree before anything is written that is not
// urgent.
const reserve = 16 << 20

// free returns how much this process may still write.
func (db *DB) free() (uint64, error) {
	if f := db.faults.Load(); f != nil && f.Free != nil {
		return f.Free(), nil
	}
	return freeBytes(db.path)
}

// enoughSpace says what must be done for the disk to be written to.
func (db *DB) enoughSpace() error { return db.wantFree(minFree) }

// spareSpace says what must be done for the disk to be written to by what is not
// urgent.
func (db *DB) spareSpace() error { return db.wantFree(minFree + reserve) }

func (db *DB) wantFree(want uint64) error {
	free, err := db.free()
	if err != nil || free >= want {
		return nil // where it cannot tell, it lets the write find out
	}
	return fmt.Errorf("the disk has %d MiB left, but a write may need %d MiB: free some space", free>>20, want>>20)
}

// spaceWarning is how many times what a write needs is to be free.
const spaceWarning = 8

// CheckSpace says how much room is left on the disk.
func (db *DB) CheckSpace() Finding {
	const check = "space"
	free, err := db.free()
	switch {
	case err != nil:
		return Warningf(check, "", "The free disk space cannot be determined: %v.", err)
	case free < minFree:
		return Faultf(check, "Free some disk space: until then, every change is refused.", "The disk has %d MiB left, but a change may need %d MiB.", free>>20, minFree>>20)
	case free < minFree+reserve:
		return Faultf(check, "Free some disk space: until then, keys can be revoked and workspaces suspended, but every other change is refused.",
			"The disk has %d MiB left. The last %d MiB before %d MiB are kept for revoking and suspending.", free>>20, reserve>>20, minFree>>20)
	case free < spaceWarning*minFree:
		return Warningf(check, "Free some disk space.", "The disk has %d MiB left. With less than %d MiB, only revoking and suspending is possible.", free>>20, (minFree+reserve)>>20)
	}
	return Finef(check, "The disk has %d MiB left.", free>>20)
}

// Size is what a database takes on its disk, and what is left there, in bytes.
type Size struct {
	Tables uint64 // sorted tables
	Log    uint64 // changes that are not in the tables yet, and what is read after a crash
	Free   uint64 // what this process may still write; the largest number where that is not known
}

// Size measures the database. What cannot be measured is 0.
//
// It reads the directory. Badger's own measure needs its metrics, which are
// process-wide, and leaves out the log of what is in memory.
func (db *DB) Size() (size Size) {
	entries, _ := os.ReadDir(db.path)
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			continue // it was removed just now
		}
		switch filepath.Ext(entry.Name()) {
		case ".sst":
			size.Tables += allocatedBytes(info)
		case ".mem", ".vlog":
			size.Log += allocatedBytes(info)
		}
	}
	size.Free, _ = freeBytes(db.path)
	return size
}

// WhileSpace returns a writer to w that fails with [ErrNoSpace] once the disk of the
// database has no more room than urgent changes may need.
func (db *DB) WhileSpace(w io.Writer) io.Writer { return &spaceWriter{db, w} }

type spaceWriter struct {
	db *DB
	to io.Writer
}

func (w *spaceWriter) Write(b []byte) (int, error) {
	if w.db.spareSpace() != nil {
		return 0, ErrNoSpace
	}
	return w.to.Write(b)
}

// spoolSuffix ends the names of files that hold something for a while. One that a
// crash has left is removed when the database is opened.
const spoolSuffix = ".spool"

// Spool returns a new file on the disk of the database, already without a name. It
// fails where nothing may be written.
func (db *DB) Spool() (*os.File, error) {
	if err := db.checkWritable(); err != nil {
		return nil, err
	}
	return SpoolIn(db.path)
}

// SpoolIn returns a new file in a directory, already without a name.
func SpoolIn(directory string) (*os.File, error) {
	file, err := os.CreateTemp(directory, "*"+spoolSuffix)
	if err != nil {
		return nil, err
	}
	return file, os.Remove(file.Name())
}
