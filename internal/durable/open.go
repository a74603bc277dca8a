package durable

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/durable/journal"
)

// Badger may silently open less than it was given: it drops everything that follows
// a damaged entry in its log, tables that no manifest names, and tables with a
// wrong checksum. So nothing that it holds is trusted before it has been verified
// against the journal.
//
// The files are verified first: every table that the manifest names must be there
// and intact, and there must be no other. Then the contents. All changes up to the
// journal's snapshot are in tables, or precede that snapshot's mark in Badger's
// log; so if the mark is there, they are too. Changes after the snapshot are
// compared write by write, and replayed where they are missing. Files that fail
// verification are rebuilt from the journal.

// journalDirectory is the journal's subdirectory of the database.
const journalDirectory = "journal"

// unfinishedSuffix ends the name of a new journal until its first snapshot is
// complete.
const unfinishedSuffix = ".new"

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
	if db.opened, err = identify(db.path); err != nil {
		return errors.Join(err, db.release())
	}
	db.wakeLater()
	return nil
}

// openFiles opens the journal, and then Badger: the journal's lock keeps other
// processes away from both.
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
	opened, err := db.openAsLeft(tail)
	if err := errors.Join(err, db.journal.Tidy()); opened || err != nil {
		return err
	}
	if err := db.openExamined(tail); err != nil {
		return err
	}
	return db.forgetUnexamined()
}

// openExamined reads all files, and brings them up to date with the journal.
func (db *DB) openExamined(tail *journal.Tail) error {
	files, err := db.usableFiles()
	lost := false
	if err == nil {
		lost, err = db.openSurveyed(files)
	}
	switch {
	case isTransient(err):
		return explain(db.path, err)
	case err != nil:
		return db.closeAndRebuild(err, tail)
	case lost:
		return db.closeAndRebuild(errors.New("the manifest is truncated"), tail)
	}
	return db.reconcile(files, tail)
}

// create opens a new, empty database.
func (db *DB) create() error {
	if _, err := db.openJournal(); err != nil {
		return db.explainJournal(err)
	}
	if err := db.openBadger(); err != nil {
		return explain(db.path, err)
	}
	return db.markCreated()
}

// markCreated records that Open created the database, and writes its schema.
func (db *DB) markCreated() error {
	db.made = true
	return db.note(db.markSchema)
}

// openWithoutJournal creates a new database, or refuses the remains of one.
func (db *DB) openWithoutJournal() error {
	if err := db.enoughSpace(); err != nil {
		return err
	}
	if !hasRemnants(db.path) {
		return db.create()
	}
	if name := emptyFile(db.path); name != "" {
		return fmt.Errorf("its file %q is empty: either a crash interrupted its creation, or its contents are lost. If the process or the machine stopped just as the file was created, remove the file; otherwise %s", name, db.startOver())
	}
	files, err := db.survey()
	if err != nil && isTransient(err) {
		return Advise(err)
	}
	if err != nil {
		return fmt.Errorf("its files are damaged, and there is no journal to rebuild them from: %w: %s", err, db.startOver())
	}
	switch lost, err := db.openSurveyed(files); {
	case err != nil:
		return explain(db.path, err)
	case lost:
		return errors.New("its manifest is truncated, and there is no journal to rebuild it from: " + db.startOver())
	}
	switch version, err := db.schema(); {
	case err != nil:
		return err
	case version == 0:
		if err := db.markCreated(); err != nil {
			return err
		}
		_, err := db.openJournal()
		return err
	}
	return db.uncertain(errors.New("the journal's files are missing from the store's subdirectory "+journalDirectory), 1, 0)
}

func (db *DB) openJournal() (tail *journal.Tail, err error) {
	db.journal, tail, err = journal.Open(db.journalPath())
	return tail, err
}

// openBadger opens Badger, which may panic on damaged files.
func (db *DB) openBadger() (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			db.badger, err = nil, fmt.Errorf("the store's files cannot be read: %v", reason)
		}
	}()
	watched := newMerges(db.path)
	options := db.mergeOrRest(badgerOptions(db.path, db.log))
	options.Logger = mergesLog{badgerLogger{db.log.Named("badger").Sugar()}, watched}
	opened, err := badger.Open(options)
	if err != nil {
		return fromBadger(err)
	}
	db.badger, db.merges, db.asOf = opened, watched, manifestState{}
	db.failed.reason.Store(nil)
	return nil
}

// usableFiles surveys Badger's files, or returns why they must not be opened.
func (db *DB) usableFiles() (*fileSurvey, error) {
	if db.rebuilding() {
		return nil, errors.New("an earlier rebuild was interrupted")
	}
	if !hasBadgerFiles(db.path) {
		if db.journal.End().Number == 0 {
			return &fileSurvey{}, nil // the first start was interrupted
		}
		return nil, errors.New("the store's files are missing")
	}
	for name := emptyFile(db.path); name != ""; name = emptyFile(db.path) {
		// A crash left it empty, or the journal has its contents.
		if err := os.Remove(filepath.Join(db.path, name)); err != nil {
			return nil, err
		}
	}
	files, err := db.survey()
	if err == nil {
		err = db.unexaminedGone(files)
	}
	return files, err
}

// survey surveys files after checking that this process may read and write them:
// one that it may not is not damaged.
func (db *DB) survey() (*fileSurvey, error) {
	if name, err := unwritableIn(db.path); err != nil {
		return nil, fmt.Errorf("its file %q: %w", name, err)
	}
	return surveyFiles(db.path)
}

// reconcile compares Badger's contents with the journal, and brings them up to
// date.
func (db *DB) reconcile(files *fileSurvey, tail *journal.Tail) error {
	version, err := db.schema()
	end, base := db.journal.End(), db.journal.Base()
	switch {
	case errors.Is(err, errForeign) && end.Number > 0: // so it is not another program's database
		return db.closeAndRebuild(errors.New("the store's files have lost their schema version"), tail)
	case err != nil:
		return err
	case version == 0 && end.Number == 0:
		return db.markCreated()
	case version == 0:
		return db.closeAndRebuild(errors.New("the store's files are those of an empty store"), tail)
	}
	stored, err := db.marks()
	switch {
	case err != nil:
		return err
	case files.predatesRebuild(&stored.base):
		return db.closeAndRebuild(errors.New("one of the store's files is older than the last rebuild"), tail)
	case stored.position.Number > end.Number:
		return db.journalBehind(stored.position, tail.Torn)
	case stored.position.Number < base.Number || stored.base.Number < base.Number:
		return db.closeAndRebuild(fmt.Errorf("the store's files end at change %d of %d", stored.position.Number, end.Number), tail)
	case base.Number > 0 && !stored.base.Footprint.isAncestorOf(files):
		return db.closeAndRebuild(errors.New("some of the store's files neither match nor descend from those recorded with the journal's snapshot"), tail)
	case stored.position != base && stored.position != tail.Positions[stored.position.Number]:
		return errors.New("its journal belongs to another store: put the right journal back, or " + db.startOver())
	}
	if tail.Torn != nil {
		db.repair(Repair{Kind: DroppedTorn, Reason: tail.Torn})
		if err := db.journal.DropTorn(); err != nil {
			return err
		}
	}
	if err := db.replay(tail); err != nil {
		return err
	}
	if db.proven, err = db.provenIn(files.manifest); err != nil {
		return err
	}
	err = db.prove(context.Background(), 0, db.readJournalNow)
	if errors.Is(err, errMergeLost) {
		return db.closeAndRebuild(err, tail)
	}
	if err != nil {
		return err
	}
	return db.recordProof(db.note)
}
