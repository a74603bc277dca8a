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

// prepareDirectory creates the directory of a new store, for its owner alone. It
// returns the names of foreign files. Next to a store they are left alone; a
// directory that has only foreign files is refused, because it belongs to something
// else.
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
		_ = syncDirectory(filepath.Dir(path)) // fails only if it is unreadable, and so not new
	}
	return others, nil
}

// makeDirectory creates a directory and its parents. It does not create the missing
// target of a symbolic link, which may be on a disk that is not mounted.
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

// refuseOthers refuses foreign files in a directory without a store, and those that
// Badger would take for its own.
func refuseOthers(path string, others []string) error {
	known := journal.Exists(filepath.Join(path, journalDirectory)) || hasRemnants(path)
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

// badgerOpenFiles is how many files Badger opens at a time when it opens a store. If it is
// not allowed to, it ends the process without any advice.
const badgerOpenFiles = 32

// enoughFiles returns an error if this process may open too few files.
func enoughFiles(path string) error {
	for range badgerOpenFiles {
		opened, err := os.Open(path)
		if err != nil {
			return err
		}
		defer opened.Close()
	}
	return nil
}

// Owned returns an error for the store of another user, on which no command should
// be run: the server could not open the files that the command creates.
func Owned(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) && os.Geteuid() == 0 { // the parent's owner could not open what root creates
		path = filepath.Dir(path)
		info, err = os.Stat(path)
	}
	if err != nil {
		return nil // opening it reports the error
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

// ours reports whether an entry of a store's directory belongs to the store.
func ours(entry fs.DirEntry) bool {
	name := entry.Name()
	if entry.IsDir() {
		return name == journalDirectory || name == straysDirectory || name == journalDirectory+unfinishedSuffix ||
			strings.HasPrefix(name, damagedDirectory) || filepath.Ext(name) == spoolSuffix
	}
	return entry.Type().IsRegular() && (badgerFile(name) || filepath.Ext(name) == spoolSuffix)
}

// othersAmong returns the names of foreign entries. A lost+found comes with the
// file system.
func othersAmong(entries []fs.DirEntry) (names []string) {
	for _, entry := range entries {
		if !ours(entry) && entry.Name() != "lost+found" {
			names = append(names, entry.Name())
		}
	}
	return names
}

// confusing reports whether Badger or the store would take a foreign file for its
// own, because of its name.
func confusing(name string) bool {
	switch filepath.Ext(name) {
	case ".mem", ".vlog":
		return true
	}
	return badgerFile(name) || name == journalDirectory || name == straysDirectory || name == journalDirectory+unfinishedSuffix
}
