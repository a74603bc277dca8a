package durable

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/doctor"
	"github.com/agiled/caddy-api-keys/internal/durable/journal"
)

// Examine checks a database that no process has open, and keeps others from opening
// it meanwhile. It changes nothing: because opening a database may repair it,
// Examine opens a temporary copy in the database's directory. contents checks what
// is in the copy.
func Examine(ctx context.Context, o Options, contents func(context.Context, *DB) ([]doctor.Finding, error)) (findings []doctor.Finding, err error) {
	db, err := unopened(o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.release()) }()
	findings = db.CheckSurroundings()
	damaged, err := db.checkClosedFiles(ctx)
	if err != nil || len(damaged) > 0 {
		return append(findings, damaged...), err
	}
	copied, err := db.copyFiles()
	defer func() { err = errors.Join(err, os.RemoveAll(copied)) }()
	if err != nil {
		return nil, fmt.Errorf("the store is checked in a temporary copy, which cannot be made in its directory: %w. Copy the directory to another disk with cp -a, and check that copy", err)
	}
	found, err := examineCopy(ctx, o, copied, db.path, contents)
	return append(findings, found...), err
}

func examineCopy(ctx context.Context, o Options, copied, original string, contents func(context.Context, *DB) ([]doctor.Finding, error)) (findings []doctor.Finding, err error) {
	o.Path, o.Log = copied, zap.NewNop()
	opened, err := Open(o)
	if err != nil {
		return []doctor.Finding{doctor.Faultf("opening", "", "The store cannot be opened: %s.", strings.ReplaceAll(err.Error(), copied, original))}, nil
	}
	for _, repair := range opened.Repairs() {
		findings = append(findings, doctor.Warningf("opening", "Start the server: it makes the same repair.", "The store could not be opened without a repair: %s.", repair.Kind))
	}
	opened.Alone()
	found, err := contents(ctx, opened)
	return append(findings, found...), errors.Join(err, opened.Close())
}

// copyFiles copies the store into a directory within its own, and returns that. It
// does not hard-link tables, although they are immutable: Badger truncates a table
// before it deletes it.
func (db *DB) copyFiles() (to string, err error) {
	if err := db.roomForCopy(); err != nil {
		return "", err
	}
	if to, err = os.MkdirTemp(db.path, "*"+spoolSuffix); err != nil {
		return "", err
	}
	for _, directory := range []string{".", journalDirectory, straysDirectory} {
		copyErr := copyInto(filepath.Join(to, directory), filepath.Join(db.path, directory), directory == ".")
		if !errors.Is(copyErr, os.ErrNotExist) || directory == "." {
			err = errors.Join(err, copyErr)
		}
	}
	return to, err
}

// roomForCopy returns an error if the copy might fill the disk.
func (db *DB) roomForCopy() error {
	var needed uint64
	for _, directory := range []string{db.path, db.journalPath(), filepath.Join(db.path, straysDirectory)} {
		entries, _ := os.ReadDir(directory) // an unreadable directory is not copied either
		for _, entry := range entries {
			if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
				needed += uint64(info.Size())
			}
		}
	}
	left, err := db.free()
	if err == nil && left.bytes < needed+minFree {
		err = fmt.Errorf("the copy needs %d MiB of free disk space, but only %d MiB are free", (needed+minFree)>>20, left.bytes>>20)
	}
	return err
}

// copyInto copies the files of a directory, without subdirectories; of the top one,
// only those of the store.
func copyInto(to, from string, top bool) error {
	entries, err := os.ReadDir(from)
	if err == nil {
		err = os.MkdirAll(to, 0o700)
	}
	for _, entry := range entries {
		if err != nil {
			return err
		}
		source, target := filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name())
		if entry.Type().IsRegular() && filepath.Ext(entry.Name()) != spoolSuffix && (!top || ours(entry)) {
			err = copyFile(target, source)
		}
	}
	return err
}

func copyFile(to, from string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}

// unopened returns a DB for the directory of an existing store, without opening it.
func unopened(o Options) (*DB, error) {
	o.Log = zap.NewNop()
	db, err := newDB(o)
	if err != nil {
		return nil, err
	}
	return db, Present(db.path)
}

// Present fails if there is no store in a directory, which Open would then create.
func Present(path string) error {
	if _, err := os.ReadDir(path); err != nil {
		return Advise(err)
	}
	if !journal.Exists(filepath.Join(path, journalDirectory)) && !hasBadgerFiles(path) {
		return fmt.Errorf("there is no key store in %q", path)
	}
	return nil
}

// checkClosedFiles checks the files of an unopened database. It leaves the journal
// open, so that nobody else opens the database.
func (db *DB) checkClosedFiles(ctx context.Context) (damaged []doctor.Finding, err error) {
	var torn error
	if journal.Exists(db.journalPath()) {
		tail, err := db.openJournal()
		if tail != nil && tail.Torn != nil {
			torn = tail.Torn
		}
		if errors.Is(err, journal.ErrLocked) {
			return nil, db.explainJournal(err)
		}
		if err != nil {
			damaged = append(damaged, doctor.Faultf("journal", "", "%v.", db.explainJournal(err)))
		}
	}
	if db.journal != nil {
		if err := db.readSnapshot(ctx); err != nil {
			damaged = append(damaged, doctor.Faultf("snapshot", "Start the server: if the store's other files are intact, it makes a new snapshot.", "%v.", err))
		}
	}
	switch _, err := db.survey(); {
	case err == nil:
	case isTransient(err):
		return damaged, Advise(err)
	case len(damaged) > 0 || torn != nil:
		damaged = append(damaged, doctor.Faultf("files", "Restore a backup into an empty directory: the files cannot be rebuilt, because the journal is damaged too.",
			"The store's files are damaged: %v.", errors.Join(err, torn)))
	default:
		damaged = append(damaged, doctor.Faultf("files", "Start the server: it rebuilds the files from the journal, and keeps the damaged ones in a separate directory.", "The store's files are damaged: %v.", err))
	}
	return damaged, nil
}
