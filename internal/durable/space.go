package durable

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/agiled/caddy-api-keys/internal/doctor"
)

// minFree is the disk space that must be free before anything is written. Badger
// maps its files into memory, so a full disk kills the process with SIGBUS. A
// single write can make Badger create two memtables and two value-log files at
// most.
const minFree = 64 << 20

// reserve is what must be free in addition before anything that is not urgent is
// written.
const reserve = 16 << 20

// free returns how many bytes this process may still write.
func (db *DB) free() (uint64, error) {
	if f := db.faults.Load(); f != nil && f.Free != nil {
		return f.Free(), nil
	}
	return freeBytes(db.path)
}

// enoughSpace returns an error, with advice, if the disk is too full for any write.
func (db *DB) enoughSpace() error { return db.requireFree(minFree) }

// spareSpace returns an error, with advice, if the disk is too full for writes that
// are not urgent.
func (db *DB) spareSpace() error { return db.requireFree(minFree + reserve) }

func (db *DB) requireFree(want uint64) error {
	free, err := db.free()
	if err != nil || free >= want {
		return nil // if unknown, the write itself finds out
	}
	return fmt.Errorf("the disk has %d MiB left, but a write may need %d MiB: free some space", free>>20, want>>20)
}

// CheckSpace warns when less than spaceWarning times minFree is left.
const spaceWarning = 8

// CheckSpace reports how much disk space is left.
func (db *DB) CheckSpace() doctor.Finding {
	const check = "space"
	free, err := db.free()
	switch {
	case err != nil:
		return doctor.Warningf(check, "", "The free disk space cannot be determined: %v.", err)
	case free < minFree:
		return doctor.Faultf(check, "Free some disk space: until then, every change is refused.", "The disk has %d MiB left, but a change may need %d MiB.", free>>20, minFree>>20)
	case free < minFree+reserve:
		return doctor.Faultf(check, "Free some disk space: until then, keys can be revoked and workspaces suspended, but every other change is refused.",
			"The disk has %d MiB left. Of those, the last %d MiB above %d MiB are reserved for revoking and suspending.", free>>20, reserve>>20, minFree>>20)
	case free < spaceWarning*minFree:
		return doctor.Warningf(check, "Free some disk space.", "The disk has %d MiB left. With less than %d MiB, only revoking and suspending is possible.", free>>20, (minFree+reserve)>>20)
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
	size.Free, _ = freeBytes(db.path)
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
	if w.db.spareSpace() != nil {
		return 0, ErrNoSpace
	}
	return w.to.Write(b)
}

// spoolSuffix ends the names of temporary files and directories. Open removes those
// that a crash left.
const spoolSuffix = ".spool"

// Spool returns a temporary file on the database's disk, already unlinked. It fails
// if nothing may be written.
func (db *DB) Spool() (*os.File, error) {
	if err := db.checkWritable(); err != nil {
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
