package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// checkWritable returns why nothing can be written now, or nil. It is called before
// every write.
func (db *DB) checkWritable() error {
	current, err := identify(db.path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return &ImmutableError{err}
	case err != nil || !current.same(db.opened):
		return &ImmutableError{errors.Join(ErrMoved, err)}
	}
	if err := db.enoughSpace(); err != nil {
		return err
	}
	err = db.creatable()
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return &ImmutableError{err}
	}
	return err // open files, or memory: other requests may give them back
}

// identity distinguishes a directory and its contents from another one of the same
// name. Badger creates a new lock file whenever it opens the directory, and the
// directory's inode is not reused while Badger has it open.
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
