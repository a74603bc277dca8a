package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// minFree is what must be free on the disk before anything is written. Badger
// maps its files into memory, and a full disk then kills the process by SIGBUS;
// two memtables and two value-log files are the most that one write can begin.
const minFree = 64 << 20

// reserve is what must be free beyond minFree before anything is written that takes
// no access away. So a workspace that fills the disk keeps nobody from revoking a key.
const reserve = 16 << 20

var (
	errMoved        = errors.New("its directory was removed, moved or replaced under this process: what is written now would be lost")
	errJournalMoved = errors.New("a file of its journal was removed or replaced under this process: what is written now would be lost")
)

// writable says why nothing can be written now, if so: it must be asked before
// every write.
func (s *Store) writable() error {
	current, err := identify(s.path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return s.noChanges(err)
	case err != nil || !current.same(s.own):
		return s.noChanges(errors.Join(errMoved, err))
	}
	if s.enoughSpace() != nil {
		return apikey.ErrNoSpace
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

// enoughSpace says what must be done for the disk to be written to.
func (s *Store) enoughSpace() error { return s.wantFree(s.minFree) }

// spareSpace says what must be done for the disk to be written to by what takes no
// access away.
func (s *Store) spareSpace() error { return s.wantFree(s.minFree + s.reserve) }

func (s *Store) wantFree(want uint64) error {
	free, err := freeBytes(s.path)
	if err != nil || free >= want {
		return nil // where it cannot tell, it lets the write find out
	}
	return fmt.Errorf("the disk has %d MiB left, and a write may need %d MiB: make room on it", free>>20, want>>20)
}
