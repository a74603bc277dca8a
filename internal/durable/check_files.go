package durable

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4/table"

	"github.com/agiled/caddy-api-keys/internal/doctor"
)

// checkDirectory checks who can read and write the store, and whether its directory
// contains foreign files.
func checkDirectory(path string) (findings []doctor.Finding) {
	findings = checkPermissions(path)
	entries, _ := os.ReadDir(path) // checkPermissions reports an error
	if others := othersAmong(entries); len(others) > 0 {
		findings = append(findings, doctor.Warningf("directory", "Find out what puts them there, and move them elsewhere. Leave the store's own files as they are.",
			"The store's directory contains files that do not belong to the store: %q.", others))
	}
	return findings
}

func checkPermissions(path string) (findings []doctor.Finding) {
	const check = "permissions"
	info, err := os.Stat(path)
	if err != nil {
		return []doctor.Finding{doctor.Faultf(check, "Make the user that runs the server the owner of the store's directory.", "The directory cannot be read: %v.", err)}
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		findings = append(findings, doctor.Warningf(check, fmt.Sprintf("chmod 700 %q", path),
			"Users other than its owner can access the store's directory: its mode is %#o.", mode))
	}
	if name := foreignIn(path, info); name != "" {
		findings = append(findings, doctor.Faultf(check, fmt.Sprintf("chown -R --reference=%q %q", path, path), "%q does not belong to the owner of the store's directory.", name))
	}
	if name, err := unwritableIn(path); err != nil {
		findings = append(findings, doctor.Faultf(check, adviceSentence(err), "%q cannot be read and written: %v.", name, err))
	}
	if len(findings) == 0 {
		findings = append(findings, doctor.Finef(check, "Only its owner can access the store's directory."))
	}
	return findings
}

// eachFile walks over the store's own files, except for quarantined ones.
func eachFile(path string, visit fs.WalkDirFunc) error {
	return fs.WalkDir(os.DirFS(path), ".", func(name string, entry fs.DirEntry, err error) error {
		skipped := name != "." && !strings.Contains(name, "/") && (!ours(entry) || strings.HasPrefix(name, damagedDirectory))
		switch {
		case skipped && entry.IsDir():
			return fs.SkipDir
		case skipped:
			return nil
		}
		return visit(name, entry, err)
	})
}

// foreignIn returns a file of the store that has a different owner than its
// directory: root can read it, but the server cannot.
func foreignIn(path string, directory os.FileInfo) (foreign string) {
	owner, known := userOf(directory)
	_ = eachFile(path, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !known {
			return fs.SkipAll // unwritableIn reports an error
		}
		if info, err := entry.Info(); err == nil {
			if uid, _ := userOf(info); uid != owner {
				foreign = name
				return fs.SkipAll
			}
		}
		return nil
	})
	return foreign
}

// unwritableIn returns a file of the store that this process cannot read and write,
// and why.
func unwritableIn(path string) (unwritable string, err error) {
	walkErr := eachFile(path, func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.Type().IsRegular() {
			return nil
		}
		var opened *os.File
		if err == nil {
			opened, err = os.OpenFile(filepath.Join(path, name), os.O_RDWR, 0)
		}
		if errors.Is(err, fs.ErrNotExist) { // removed meanwhile
			return nil
		}
		if err != nil {
			unwritable = name
			return err
		}
		return opened.Close()
	})
	if pathError, ok := errors.AsType[*fs.PathError](walkErr); ok {
		walkErr = pathError.Err
	}
	return unwritable, walkErr
}

// CheckTables reads every table, and checks that the next start will find them.
func (db *DB) CheckTables(context.Context) (f doctor.Finding, err error) {
	err = db.use(func() error {
		f = db.checkTables()
		return nil
	})
	return f, err
}

func (db *DB) checkTables() doctor.Finding {
	const check = "tables"
	err := db.filesInPlace()
	for try := 1; err != nil && try < 3; try++ { // Badger may just be replacing them
		time.Sleep(50 * time.Millisecond)
		err = db.filesInPlace()
	}
	if err != nil {
		return doctor.Faultf(check, AdviceRestart, "Files have changed or disappeared since the server opened them: %v.", err)
	}
	if err := db.badger.VerifyChecksum(); err != nil {
		return doctor.Faultf(check, AdviceRestart, "A table is damaged: %v.", err)
	}
	return doctor.Finef(check, "Every table is intact.")
}

// filesInPlace returns an error if a file of Badger's is gone from the disk, which
// a process that has it open does not notice.
func (db *DB) filesInPlace() error {
	_, manifest, err := wholeManifest(db.path)
	if err != nil {
		return err
	}
	for id := range manifest.Tables {
		if _, err := os.Stat(table.NewFilename(id, db.path)); err != nil {
			return err
		}
	}
	logs, err := filesWith(db.path, ".mem")
	if err == nil && len(logs) == 0 {
		err = errors.New("its write-ahead log is missing")
	}
	return err
}
