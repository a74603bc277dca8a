package durable

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// badgerFile reports whether Badger gives files such a name.
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

// filesWith returns the paths of Badger's files in a directory whose names end so,
// in the order of their names.
func filesWith(path, extension string) (found []string, err error) {
	entries, err := os.ReadDir(path)
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) == extension && badgerFile(entry.Name()) {
			found = append(found, filepath.Join(path, entry.Name()))
		}
	}
	return found, err
}

// emptyFile returns the name of a file of Badger's in which nothing is, or "".
// Badger would fill it with zeros, and pass over it from then on.
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

// remnantsIn reports whether there is a file that Badger does not make first of
// all. A store is begun with its journal, so without one it is left of a store.
func remnantsIn(path string) bool {
	logs, _ := filesWith(path, ".vlog")
	return len(logs) > 0 || badgerIn(path)
}

// badgerIn reports whether Badger has anything in a directory.
func badgerIn(path string) bool {
	entries, _ := os.ReadDir(path)
	return slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		extension := filepath.Ext(e.Name())
		return badgerFile(e.Name()) && (e.Name() == "MANIFEST" || extension == ".mem" || extension == ".sst")
	})
}
