package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// prepareDirectory makes the directory of a new store, for its owner alone, and
// refuses one that holds something else: Badger would write beside it.
func prepareDirectory(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return advise(err)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return advise(err)
	}
	for _, entry := range entries {
		if !badgerFile(entry.Name()) {
			return fmt.Errorf("the directory holds %q, which is not a key store's: choose an empty directory, or the one of a key store", entry.Name())
		}
	}
	if err := os.Chmod(path, 0o700); err != nil {
		return advise(err)
	}
	return nil
}

// badgerFile reports whether Badger gives files such a name.
func badgerFile(name string) bool {
	switch name {
	case "MANIFEST", "MANIFEST-REWRITE", "KEYREGISTRY", "REWRITE-KEYREGISTRY", "LOCK", "DISCARD":
		return true
	}
	switch filepath.Ext(name) {
	case ".mem", ".sst", ".vlog":
		return true
	}
	return false
}

// explain turns Badger's reasons not to open into what an operator can do.
func explain(path string, err error) error {
	if errors.Is(err, syscall.EWOULDBLOCK) || strings.Contains(err.Error(), "Cannot acquire directory lock") {
		return fmt.Errorf("it is locked by another process%s: stop that one, or give this one another path", lockHolder(path))
	}
	return advise(err)
}

// lockHolder names the process that Badger's advisory file says has the lock.
func lockHolder(path string) string {
	pid, err := os.ReadFile(filepath.Join(path, "LOCK"))
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (pid %s)", strings.TrimSpace(string(pid)))
}

func advise(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: the user that runs this process must own the directory and be able to write to it", err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: the store needs a file system that can be written to", err)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%w: the path must be a directory", err)
	}
	return err
}
