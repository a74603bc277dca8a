package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
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
			if err := os.RemoveAll(filepath.Join(path, entry.Name())); err != nil {
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
	if len(entries) == 0 { // it is new
		_ = syncDirectory(filepath.Dir(path)) // which may not be readable, and then is not new
	}
	return nil
}

// Owned refuses a store of another user for what a person does to it: the server
// could not open the files that come of it.
func Owned(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) && os.Geteuid() == 0 { // what root makes there, its owner could not open
		path = filepath.Dir(path)
		info, err = os.Stat(path)
	}
	if err != nil {
		return nil // opening it says why it cannot be
	}
	uid, known := userOf(info)
	if !known || uid == os.Geteuid() {
		return nil
	}
	name := strconv.Itoa(uid)
	if owner, err := user.LookupId(name); err == nil {
		name = owner.Username
	}
	return fmt.Errorf("%q belongs to the user %s: run this as that user, with runuser -u %s for instance", path, name, name)
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

// filesWith returns the paths of the files in a directory whose names end so, in
// the order of their names.
func filesWith(path, extension string) (found []string, err error) {
	entries, err := os.ReadDir(path)
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) == extension {
			found = append(found, filepath.Join(path, entry.Name()))
		}
	}
	return found, err
}

// explain turns Badger's reasons not to open into what an operator can do.
func explain(path string, err error) error {
	if locked(err) {
		return fmt.Errorf("it is locked by %s: stop that one, or give this one another path", lockHolder(path))
	}
	return advise(err)
}

// locked reports whether an error says that another process has the store open.
func locked(err error) bool {
	return errors.Is(err, syscall.EWOULDBLOCK) || strings.Contains(err.Error(), "Cannot acquire directory lock")
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

// checkFile refuses what is not the store's.
func checkFile(entry fs.DirEntry) error {
	switch name := entry.Name(); {
	case badgerFile(name) && entry.Type().IsRegular():
	case name == "lost+found": // the directory is a file system of its own
	case entry.IsDir() && (name == journalDirectory || name == straysDirectory || name == journalDirectory+unfinished || strings.HasPrefix(name, damagedDirectory)):
	default:
		return fmt.Errorf("the directory holds %q, which is not a key store's: choose an empty directory, or the one of a key store", name)
	}
	return nil
}

// emptyFile returns the name of a file of Badger's in which nothing is, or "".
// Badger would fill it with zeros, and pass over it from then on.
func emptyFile(path string) string {
	entries, _ := os.ReadDir(path)
	for _, entry := range entries {
		switch filepath.Ext(entry.Name()) {
		case ".mem", ".vlog":
			if info, err := entry.Info(); err == nil && info.Size() == 0 {
				return entry.Name()
			}
		}
	}
	return ""
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
