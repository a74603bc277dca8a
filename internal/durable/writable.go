package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// checkWritable says why nothing can be written now, if so. It is asked before every
// write.
func (db *DB) checkWritable() error {
	current, err := identify(db.path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return &ImmutableError{err}
	case err != nil || !current.same(db.own):
		return &ImmutableError{errors.Join(ErrMoved, err)}
	}
	if db.enoughSpace() != nil {
		return ErrNoSpace
	}
	return nil
}

// identity tells a directory and what is in it from another one of that name.
// The lock file is made anew whenever Badger opens the directory, and the
// directory's own number is not given to another while Badger has it open.
type identity struct{ directory, lock os.FileInfo }

func identify(path string) (id identity, err error) {
	if id.directory, err = os.Stat(path); err != nil {
		return identity{}, err
	}
	id.lock, err = os.Stat(filepath.Join(path, "LOCK"))
	return id, err
}

func (id identity) same(other identity) bool {
	return os.SameFile(id.directory, other.directory) && os.SameFile(id.lock, other.lock)
}
