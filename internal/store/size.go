package store

import (
	"os"
	"path/filepath"
)

// Size is what the store takes on its disk, and what is left there, in bytes.
type Size struct {
	Tables uint64 // sorted tables
	Log    uint64 // changes that are not in the tables yet, and what is read after a crash
	Free   uint64 // what this process may still write; the largest number where that is not known
}

// Size measures the store. What cannot be measured is 0.
//
// It reads the directory. Badger's own measure needs its metrics, which are
// process-wide, and leaves out the log of what is in memory.
func (s *Store) Size() (size Size) {
	if s == nil {
		return Size{}
	}
	entries, _ := os.ReadDir(s.path)
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
	size.Free, _ = freeBytes(s.path)
	return size
}
