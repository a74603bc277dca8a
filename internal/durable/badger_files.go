package durable

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// badgerFile reports whether a name is one that Badger gives to files.
func badgerFile(name string) bool {
	switch name {
	case "MANIFEST", "MANIFEST-REWRITE", "KEYREGISTRY", "REWRITE-KEYREGISTRY", "LOCK", "DISCARD":
		return true
	}
	switch extension := filepath.Ext(name); extension {
	case ".mem", ".sst", ".vlog":
		_, err := strconv.ParseUint(strings.TrimSuffix(name, extension), 10, 64)
		return err == nil
	}
	return false
}

// filesWith returns the paths of Badger's files with an extension, sorted by name.
func filesWith(path, extension string) (found []string, err error) {
	entries, err := os.ReadDir(path)
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) == extension && badgerFile(entry.Name()) {
			found = append(found, filepath.Join(path, entry.Name()))
		}
	}
	return found, err
}

// emptyFile returns the name of an empty log of Badger's, or "". Badger would fill
// it with zeros, and from then on take it for an unused one.
func emptyFile(path string) string {
	entries, _ := os.ReadDir(path)
	for _, entry := range entries {
		switch filepath.Ext(entry.Name()) {
		case ".mem", ".vlog":
			if !badgerFile(entry.Name()) {
				continue
			}
			if info, err := entry.Info(); err == nil && info.Size() == 0 {
				return entry.Name()
			}
		}
	}
	return ""
}

func eachBadgerFile(path string, do func(path string) error) error {
	entries, err := os.ReadDir(path)
	for _, entry := range entries {
		if badgerFile(entry.Name()) {
			err = errors.Join(err, do(filepath.Join(path, entry.Name())))
		}
	}
	return err
}

// hasRemnants reports whether there is a file that Badger does not create first. A
// new store begins with its journal, so without one such a file is what remains of
// an old store.
func hasRemnants(path string) bool {
	logs, _ := filesWith(path, ".vlog")
	return len(logs) > 0 || hasBadgerFiles(path)
}

// hasBadgerFiles reports whether a directory contains a Badger database.
func hasBadgerFiles(path string) bool {
	entries, _ := os.ReadDir(path)
	return slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		extension := filepath.Ext(e.Name())
		return badgerFile(e.Name()) && (e.Name() == "MANIFEST" || extension == ".mem" || extension == ".sst")
	})
}
