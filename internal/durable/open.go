package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/durable/journal"
)

// What Badger opens without a word may be less than what it was given: it drops
// what follows a damage in its log, tables that are in no manifest, and tables
// whose sum is wrong. So nothing that it says is believed before it is held
// against the journal.
//
// First, the files: every table that the manifest names is there and whole, and
// there is no other. Then what Badger has of the journal: all that was written
// up to the journal's snapshot is in tables, or comes in Badger's own log before
// the mark of that snapshot, and so is there if the mark is. What was written
// after it is compared, write by write, and written again where it is missing.
// Where Badger's files cannot be used, they are built anew.

// journalDirectory is where the journal is, in the directory of the database.
const journalDirectory = "journal"

// unfinished ends the name of a journal that does not have everything yet.
const unfinished = ".new"

func (db *DB) journalPath() string { return filepath.Join(db.path, journalDirectory) }

func (db *DB) open() (err error) {
	others, err := prepareDirectory(db.path)
	if err != nil {
		return err
	}
	if len(others) > 0 {
		db.log.Warn("the key store's directory contains files that do not belong to it: they were left alone, and should be moved elsewhere",
			zap.String("path", db.path), zap.Strings("files", others))
	}
	if err := db.openFiles(); err != nil {
		return errors.Join(err, db.release())
	}
	if db.own, err = identify(db.path); err != nil {
		return errors.Join(err, db.release())
	}
	return nil
}

// openFiles opens the journal, and Badger only after it: whoever has the one has
// the other.
func (db *DB) openFiles() error {
	if err := enoughFiles(db.path); err != nil {
		return err
	}
	if !journal.Exists(db.journalPath()) {
		return db.openWithoutJournal()
	}
	tail, err := db.openJournal()
	if err != nil {
		return db.explainJournal(err)
	}
	if err := db.makeSpace(); err != nil {
		return err
	}
	if err := db.journal.Tidy(); err != nil {
		return err
	}
	files, err := db.usableFiles()
	lost := false
	if err == nil {
		lost, err = db.openOn(files)
	}
	switch {
	case isTransient(err):
		return explain(db.path, err)
	case err != nil:
		return db.discard(err, tail)
	case lost:
		return db.discard(errors.New("the manifest is truncated"), tail)
	}
	return db.reconcile(files, tail)
}

// begin makes a new database.
func (db *DB) begin() error {
	if _, err := db.openJournal(); err != nil {
		return db.explainJournal(err)
	}
	if err := db.openBadger(); err != nil {
		return explain(db.path, err)
	}
	return db.markMade()
}

// markMade notes that the database is new, and of which schema it is.
func (db *DB) markMade() error {
	db.made = true
	return db.note(db.markSchema)
}

// openWithoutJournal makes a new database, or refuses what is left of one.
func (db *DB) openWithoutJournal() error {
	if err := db.enoughSpace(); err != nil {
		return err
	}
	if !remnantsIn(db.path) {
		return db.begin()
	}
	if name := emptyFile(db.path); name != "" {
		return fmt.Errorf("its file %q is empty: either a crash interrupted its creation, or its contents are lost. If the process or the machine stopped just as the file was created, remove the file; otherwise restore a backup into an empty directory", name)
	}
	files, err := db.survey()
	if err != nil && isTransient(err) {
		return Advise(err)
	}
	if err != nil {
		return fmt.Errorf("its files are damaged, and there is no journal to rebuild them from: %w. Restore a backup into an empty directory", err)
	}
	switch lost, err := db.openOn(files); {
	case err != nil:
		return explain(db.path, err)
	case lost:
		return errors.New("its manifest is truncated, and there is no journal to rebuild it from: restore a backup into an empty directory")
	}
	switch version, err := db.schema(); {
	case err != nil:
		return err
	case version == 0:
		if err := db.markMade(); err != nil {
			return err
		}
		_, err := db.openJournal()
		return err
	}
	return db.lost(errors.New("the journal's files are missing from the store's subdirectory "+journalDirectory), 1, 0)
}

func (db *DB) openJournal() (tail *journal.Tail, err error) {
	db.journal, tail, err = journal.Open(db.journalPath())
	return tail, err
}

// openBadger opens Badger, which may panic where a file is damaged.
func (db *DB) openBadger() (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			db.badger, err = nil, fmt.Errorf("the store's files cannot be read: %v", reason)
		}
	}()
	opened, err := badger.Open(badgerOptions(db.path, db.log))
	if err != nil {
		return fromBadger(err)
	}
	db.badger = opened
	return nil
}

// usableFiles surveys Badger's files, or says why they are not to be opened.
func (db *DB) usableFiles() (*fileSurvey, error) {
	if db.rebuilding() {
		return nil, errors.New("an earlier rebuild was interrupted")
	}
	if !badgerIn(db.path) {
		if db.journal.End().Number == 0 {
			return &fileSurvey{}, nil // the first start was interrupted
		}
		return nil, errors.New("the store's files are missing")
	}
	for name := emptyFile(db.path); name != ""; name = emptyFile(db.path) {
		// A crash has left it so, or what it held is in the journal.
		if err := os.Remove(filepath.Join(db.path, name)); err != nil {
			return nil, err
		}
	}
	return db.survey()
}

// survey surveys files that this process may read and write: one that it may not is
// not damaged.
func (db *DB) survey() (*fileSurvey, error) {
	if name, err := unwritableIn(db.path); err != nil {
		return nil, fmt.Errorf("its file %q: %w", name, err)
	}
	return surveyFiles(db.path)
}

// reconcile holds what Badger has against what the journal says, and makes it the same.
func (db *DB) reconcile(files *fileSurvey, tail *journal.Tail) error {
	version, err := db.schema()
	end, base := db.journal.End(), db.journal.Base()
	switch {
	case errors.Is(err, errForeign) && end.Number > 0: // the journal is not that of something else
		return db.discard(errors.New("the store's files have lost their schema version"), tail)
	case err != nil:
		return err
	case version == 0 && end.Number == 0:
		return db.markMade()
	case version == 0:
		return db.discard(errors.New("the store's files are those of an empty store"), tail)
	}
	has, err := db.marks()
	switch {
	case err != nil:
		return err
	case files.predate(&has.base):
		return db.discard(errors.New("one of the store's files is older than the last rebuild"), tail)
	case has.position.Number > end.Number:
		return db.forgotten(has.position, tail.Torn)
	case has.position.Number < base.Number || has.base.Number < base.Number:
		return db.discard(fmt.Errorf("the store's files end at change %d of %d", has.position.Number, end.Number), tail)
	case base.Number > 0 && !has.base.Footprint.leadsTo(files):
		return db.discard(errors.New("some of the store's files neither match nor descend from those recorded with the journal's snapshot"), tail)
	case has.position != base && has.position != tail.Positions[has.position.Number]:
		return errors.New("its journal belongs to another store: put the right journal back, or restore a backup into an empty directory")
	}
	if tail.Torn != nil {
		db.repair(Repair{Kind: DroppedTorn, Reason: tail.Torn})
		if err := db.journal.DropTorn(); err != nil {
			return err
		}
	}
	return db.replay(tail)
}
