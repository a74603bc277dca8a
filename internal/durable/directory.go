package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/agiled/caddy-api-keys/internal/durable/journal"
)

// prepareDirectory makes the directory of a new store, for its owner alone. It
// returns the names of files that are not the store's: beside a store they are left
// alone, and without one the directory is refused, for it is meant for them.
func prepareDirectory(path string) (others []string, err error) {
	if err := makeDirectory(path); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, Advise(err)
	}
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) == spoolSuffix {
			if err := os.RemoveAll(filepath.Join(path, entry.Name())); err != nil {
				return nil, Advise(err)
			}
		}
	}
	others = othersAmong(entries)
	if err := refuseOthers(path, others); err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o700); err != nil {
		return nil, Advise(err)
	}
	if len(entries) == 0 { // it is new
		_ = syncDirectory(filepath.Dir(path)) // which may not be readable, and then is not new
	}
	return others, nil
}

// makeDirectory makes a directory and its parents. It makes none in place of a
// symbolic link's target that is missing: that may be a disk that is not mounted.
func makeDirectory(path string) error {
	err := os.MkdirAll(path, 0o700)
	taken, ok := errors.AsType[*fs.PathError](err)
	if !ok || !errors.Is(err, fs.ErrExist) {
		return Advise(err)
	}
	if _, err := os.Stat(taken.Path); !errors.Is(err, fs.ErrNotExist) {
		return Advise(err)
	}
	target, err := os.Readlink(taken.Path)
	if err != nil {
		return Advise(err)
	}
	return fmt.Errorf("%q is a symbolic link to %q, which does not exist: mount or create that directory, or correct the link", taken.Path, target)
}

// refuseOthers refuses files that are not a store's where there is no store, and
// those with names that Badger would take for its own.
func refuseOthers(path string, others []string) error {
	known := journal.Exists(filepath.Join(path, journalDirectory)) || remnantsIn(path)
	for _, name := range others {
		switch {
		case !known:
			return fmt.Errorf("the directory contains %q, but no key store: give the path of your key store, or that of an empty directory for a new one", name)
		case confusing(name):
			return fmt.Errorf("the directory contains %q, which does not belong to the key store but is named like its files: move it out of the directory", name)
		}
	}
	return nil
}

// badgerFiles is how many files Badger opens at once as it opens a store. Where it
// may not, it ends the process without a word of what to do.
const badgerFiles = 32

// enoughFiles refuses to open a store where this process may open too few files.
func enoughFiles(path string) error {
	for range badgerFiles {
		opened, err := os.Open(path)
		if err != nil {
			return err
		}
		defer opened.Close()
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

// ours reports whether something in the directory of a store is the store's.
func ours(entry fs.DirEntry) bool {
	name := entry.Name()
	if entry.IsDir() {
		return name == journalDirectory || name == straysDirectory || name == journalDirectory+unfinished ||
			strings.HasPrefix(name, damagedDirectory) || filepath.Ext(name) == spoolSuffix
	}
	return entry.Type().IsRegular() && (badgerFile(name) || filepath.Ext(name) == spoolSuffix)
}

// othersAmong returns the names of what is not the store's. A lost+found has every
// file system at its root.
func othersAmong(entries []fs.DirEntry) (names []string) {
	for _, entry := range entries {
		if !ours(entry) && entry.Name() != "lost+found" {
			names = append(names, entry.Name())
		}
	}
	return names
}

// confusing reports whether what is not the store's has a name that Badger, or the
// store, would take for one of theirs.
func confusing(name string) bool {
	switch filepath.Ext(name) {
	case ".mem", ".vlog":
		return true
	}
	return badgerFile(name) || name == journalDirectory || name == straysDirectory || name == journalDirectory+unfinished
}
