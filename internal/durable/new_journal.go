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

// NewJournal begins a new journal from what is in a closed store, and returns
// where the old one is kept. It is for an operator who knows that the store has
// all that was acknowledged, or that there is nothing better: nothing proves it.
// What the old journal has before its damage is in the store afterwards. A
// journal that is whole is not given up.
func NewJournal(o Options, now time.Time) (kept string, err error) {
	db, err := openNothing(o)
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
	lost, err := db.openOn(files)
	if err != nil {
		return "", explain(db.path, err)
	}
	if err := db.provable(files, lost); err != nil {
		return "", err
	}
	if _, err := db.schema(); err != nil {
		return "", err
	}
	if err := db.salvage(); err != nil {
		return "", err
	}
	kept, err = db.keepJournal(now)
	if err != nil {
		return "", err
	}
	return kept, db.newJournal(now)
}

// salvage makes again what the journal has before its damage, and Badger's files
// have not.
func (db *DB) salvage() error {
	tail, base, end, damage := journal.Salvage(db.journalPath())
	has, err := db.marks()
	switch {
	case err != nil:
		return err
	case tail == nil || has.position.Number > end.Number: // and what it has is older
		return nil
	case has.position.Number < base.Number:
		return fmt.Errorf("the journal cannot be rebuilt because the store's files end at change %d, and the journal's snapshot at change %d. Restore a backup into an empty directory", has.position.Number, base.Number)
	case has.position != base && has.position != tail.Positions[has.position.Number]: // it is another store's
		return nil
	case damage == nil:
		return errors.New("the journal is intact, so there is no need for a new one: start the server")
	}
	missing, err := db.missing(tail.InOrder())
	if err != nil {
		return err
	}
	return db.rewrite(missing)
}

// provable refuses Badger's files where it can be seen, without a journal, that
// they have lost something.
func (db *DB) provable(files *fileSurvey, lost bool) error {
	has, err := db.marks()
	if err != nil {
		return err
	}
	if lost || files.predate(&has.base) || has.base.Number > 0 && !has.base.Footprint.leadsTo(files) {
		return errors.New("the journal cannot be rebuilt because the store's files are inconsistent: the manifest is truncated, or some files are older than others. Restore a backup into an empty directory")
	}
	return nil
}

// keepJournal moves the journal aside, if there is any.
func (db *DB) keepJournal(now time.Time) (kept string, err error) {
	if !journal.Exists(db.journalPath()) {
		return "", nil
	}
	if kept, err = db.aside(now); err != nil {
		return "", err
	}
	return kept, os.Rename(db.journalPath(), filepath.Join(kept, journalDirectory))
}

// newJournal begins a journal with what the database holds. It has its name only once
// all of that is in it.
func (db *DB) newJournal(now time.Time) error {
	if db.journal != nil {
		if err := db.journal.Close(); err != nil {
			return err
		}
		db.journal = nil
	}
	path := db.journalPath() + unfinished
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
