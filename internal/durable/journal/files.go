package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	segmentSuffix   = ".journal"
	snapshotSuffix  = ".snapshot"
	temporarySuffix = ".tmp"
)

func fileName(number uint64, suffix string) string { return fmt.Sprintf("%020d%s", number, suffix) }

// files lists the files of a journal, in order.
type files struct {
	dir                 string
	segments, snapshots []file
	temporary           []string
}

type file struct {
	path   string
	number uint64
}

func list(dir string) (files, error) {
	found := files{dir: dir}
	entries, err := os.ReadDir(dir) // sorted by name, and so by number
	if errors.Is(err, os.ErrNotExist) {
		return found, nil
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		name, suffix := strings.TrimSuffix(entry.Name(), filepath.Ext(path)), filepath.Ext(path)
		if suffix == temporarySuffix {
			found.temporary = append(found.temporary, path)
		}
		if !entry.Type().IsRegular() && (suffix == segmentSuffix || suffix == snapshotSuffix) {
			return found, &Damage{File: path, Next: 1, Reason: "it is not a regular file"}
		}
		number, err := strconv.ParseUint(name, 10, 64)
		switch {
		case err != nil:
		case suffix == segmentSuffix:
			found.segments = append(found.segments, file{path, number})
		case suffix == snapshotSuffix:
			found.snapshots = append(found.snapshots, file{path, number})
		}
	}
	return found, err
}

// base returns the position of the latest snapshot.
func (f files) base() (Position, error) {
	if len(f.snapshots)+len(f.segments) == 0 {
		return Position{}, &Damage{File: f.dir, Next: 1, Reason: "all of its files are missing"}
	}
	if len(f.snapshots) == 0 {
		if first := f.segments[0].number; first > 1 {
			path := filepath.Join(f.dir, fileName(first-1, snapshotSuffix))
			return Position{}, &Damage{File: path, Next: 1, Reason: "it is missing"}
		}
		return Position{}, nil
	}
	last := f.snapshots[len(f.snapshots)-1]
	opened, err := os.Open(last.path)
	if err != nil {
		return Position{}, err
	}
	defer opened.Close()
	p, err := readHeader(opened, snapshotMagic)
	if err == nil && p.Number != last.number {
		err = fmt.Errorf("it contains entry %d", p.Number)
	}
	if err != nil {
		return Position{}, &Damage{File: last.path, Next: last.number + 1, Reason: err.Error()}
	}
	return p, nil
}

// removeObsolete removes what a snapshot made obsolete, and temporary files left by
// a crash.
func (f files) removeObsolete(p Position) error {
	remove := slices.Clone(f.temporary)
	for _, snapshot := range f.snapshots {
		if snapshot.number < p.Number {
			remove = append(remove, snapshot.path)
		}
	}
	for _, segment := range f.segments {
		if segment.number <= p.Number {
			remove = append(remove, segment.path)
		}
	}
	var errs []error
	for _, path := range remove {
		errs = append(errs, os.Remove(path))
	}
	return errors.Join(errs...)
}
