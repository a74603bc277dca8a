package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
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
		if filepath.Ext(entry.Name()) == spooled {
			if err := os.Remove(filepath.Join(path, entry.Name())); err != nil {
				return advise(err)
			}
			continue
		}
		if err := checkFile(entry); err != nil {
			return err
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
		return fmt.Errorf("it is locked by %s: stop that one, or give this one another path", lockHolder(path))
	}
	return advise(err)
}

// lockHolder names the process that Badger's advisory file says has the lock.
// A process in another container can have the pid of this one.
func lockHolder(path string) string {
	content, _ := os.ReadFile(filepath.Join(path, "LOCK"))
	switch pid := strings.TrimSpace(string(content)); pid {
	case "":
		return "another process"
	case strconv.Itoa(os.Getpid()):
		return "this process, or by one in another container"
	default:
		return fmt.Sprintf("another process (pid %s)", pid)
	}
}

// checkFile refuses a file that is not Badger's, and one of Badger's in which
// nothing is: Badger would fill it with zeros, and pass over it from then on.
func checkFile(entry fs.DirEntry) error {
	name := entry.Name()
	if name == "lost+found" {
		return nil // the directory is a file system of its own
	}
	if !badgerFile(name) {
		return fmt.Errorf("the directory holds %q, which is not a key store's: choose an empty directory, or the one of a key store", name)
	}
	switch filepath.Ext(name) {
	case ".mem", ".vlog":
		if info, err := entry.Info(); err == nil && info.Size() == 0 {
			return fmt.Errorf("its file %q is empty: a crash has left it so in the moment that it was made, or what it held is lost. Remove the file if the process was killed, or the machine stopped, at that moment; restore a backup if not", name)
		}
	}
	return nil
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
