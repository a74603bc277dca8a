package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/agiled/caddy-api-keys/internal/durable/journal"
)

// NewJournal replaces the journal of a closed store with a new one that starts from
// the store's contents, and returns the directory that the old one was moved to. It
// is for an operator who knows that the store is complete, or has nothing better:
// that is not verified. What the old journal has before its damage is applied to
// the store first. An intact journal is not replaced.
func NewJournal(o Options, now time.Time) (kept string, err error) {
	db, err := unopened(o)
	if err != nil {
		return "", err
	}
	if err := Owned(db.path); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, db.release()) }()
	if db.rebuilding() {
		return "", errors.New("the journal cannot be rebuilt because an earlier rebuild of the store's files was interrupted: start the server, which resumes that rebuild. If it cannot, restore a backup into an empty directory")
	}
	files, err := db.survey()
	if err != nil {
		return "", fmt.Errorf("the journal cannot be rebuilt because the store's files are damaged too: %w. Restore a backup into an empty directory", err)
	}
	if name := emptyFile(db.path); name != "" {
		return "", fmt.Errorf("the journal cannot be rebuilt because the store's file %q is empty. Restore a backup into an empty directory", name)
	}
	lost, err := db.openSurveyed(files)
	if err != nil {
		return "", explain(db.path, err)
	}
	if err := db.checkConsistent(files, lost); err != nil {
		return "", err
	}
	if _, err := db.schema(); err != nil {
		return "", err
	}
	if err := db.salvage(); err != nil {
		return "", err
	}
	kept, err = db.quarantineJournal(now)
	if err != nil {
		return "", err
	}
	return kept, db.createJournal(now)
}

// salvage applies what the journal has before its damage and Badger's files lack.
func (db *DB) salvage() error {
	tail, base, end, damage := journal.Salvage(db.journalPath())
	stored, err := db.marks()
	switch {
	case err != nil:
		return err
	case tail == nil || stored.position.Number > end.Number: // or the readable part is older than the store
		return nil
	case stored.position.Number < base.Number:
		return fmt.Errorf("the journal cannot be rebuilt because the store's files end at change %d, and the journal's snapshot at change %d. Restore a backup into an empty directory", stored.position.Number, base.Number)
	case stored.position != base && stored.position != tail.Positions[stored.position.Number]: // it belongs to another store
		return nil
	case damage == nil:
		return errors.New("the journal is intact, so there is no need for a new one: start the server")
	}
	missing, err := db.missing(tail.InOrder())
	if err != nil {
		return err
	}
	return db.apply(missing)
}

// checkConsistent refuses Badger's files if, even without a journal, they show that
// something is lost.
func (db *DB) checkConsistent(files *fileSurvey, lost bool) error {
	stored, err := db.marks()
	if err != nil {
		return err
	}
	if lost || files.predatesRebuild(&stored.base) || stored.base.Number > 0 && !stored.base.Footprint.isAncestorOf(files) {
		return errors.New("the journal cannot be rebuilt because the store's files are inconsistent: the manifest is truncated, or some files are older than others. Restore a backup into an empty directory")
	}
	return nil
}

// quarantineJournal moves the journal, if there is one, to a quarantine directory.
func (db *DB) quarantineJournal(now time.Time) (kept string, err error) {
	if !journal.Exists(db.journalPath()) {
		return "", nil
	}
	if kept, err = db.newQuarantine(now); err != nil {
		return "", err
	}
	return kept, os.Rename(db.journalPath(), filepath.Join(kept, journalDirectory))
}

// createJournal starts a journal with the database's contents. It gets its final
// name only once they are complete.
func (db *DB) createJournal(now time.Time) error {
	if db.journal != nil {
		if err := db.journal.Close(); err != nil {
			return err
		}
		db.journal = nil
	}
	path := db.journalPath() + unfinishedSuffix
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	begun, _, err := journal.Open(path)
	if err != nil {
		return err
	}
	first := begun.Next(now, []journal.Write{{Key: schemaKey, Value: []byte(strconv.Itoa(db.options.Schema))}})
	err = begun.Append(first)
	if err == nil {
		err = db.firstSnapshot(begun)
	}
	if err := errors.Join(err, begun.Close()); err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(db.journalPath()), os.Rename(path, db.journalPath()), syncDirectory(db.path)); err != nil {
		return err
	}
	if _, err := db.openJournal(); err != nil {
		return err
	}
	return db.note(func(txn *Txn) error { return errors.Join(db.markSchema(txn), mark(txn, first.Position)) })
}
