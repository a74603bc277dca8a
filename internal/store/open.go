package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
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

// journalDirectory is where the journal is, in the directory of the store.
const journalDirectory = "journal"

// unfinished ends the name of a journal that does not have everything yet.
const unfinished = ".new"

func (s *Store) journalPath() string { return filepath.Join(s.path, journalDirectory) }

func (s *Store) open() (err error) {
	others, err := prepareDirectory(s.path)
	if err != nil {
		return err
	}
	if len(others) > 0 {
		s.log.Warn("the directory of the key store holds files that are not the store's: they are left alone",
			zap.String("path", s.path), zap.Strings("files", others))
	}
	if err := s.openFiles(); err != nil {
		return errors.Join(err, s.release())
	}
	if s.own, err = identify(s.path); err != nil {
		return errors.Join(err, s.release())
	}
	if err := s.db.View(sortAfterAll); err != nil {
		return errors.Join(err, s.release())
	}
	s.keeper = startKeeper(s)
	return nil
}

// sortAfterAll has new ids sort after all that there are: the clock may have been
// ahead when those were made.
func sortAfterAll(txn *badger.Txn) error {
	for _, prefix := range [][]byte{recordKey(""), eventKey("")} {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix, Reverse: true})
		it.Seek(append(prefix, 0xff))
		if it.Valid() {
			apikey.SortAfter(string(it.Item().Key()[len("k/"):]))
		}
		it.Close()
	}
	return nil
}

// release closes what was opened.
func (s *Store) release() error {
	var errs []error
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	if s.journal != nil {
		errs = append(errs, s.journal.Close())
	}
	s.db, s.journal = nil, nil
	return errors.Join(errs...)
}

// openFiles opens the journal, and Badger only after it: whoever has the one has
// the other.
func (s *Store) openFiles() error {
	if err := enoughFiles(s.path); err != nil {
		return err
	}
	hasJournal := journal.Exists(s.journalPath())
	if !hasJournal {
		return s.openWithoutJournal()
	}
	tail, err := s.openJournal()
	if err != nil {
		return s.explainJournal(err)
	}
	if err := s.makeSpace(); err != nil {
		return err
	}
	if err := s.journal.Tidy(); err != nil {
		return err
	}
	files, err := s.examine()
	lost := false
	if err == nil {
		lost, err = s.openOn(files)
	}
	switch {
	case passing(err):
		return explain(s.path, err)
	case err != nil:
		return s.discard(err, tail)
	case lost:
		return s.discard(errors.New("the manifest is cut off"), tail)
	}
	return s.prove(files, tail)
}

// begin makes a new store.
func (s *Store) begin() error {
	if _, err := s.openJournal(); err != nil {
		return s.explainJournal(err)
	}
	if err := s.openBadger(); err != nil {
		return explain(s.path, err)
	}
	return s.markMade()
}

// markMade notes that the store is new, and of which schema it is.
func (s *Store) markMade() error {
	s.made = true
	return s.unjournaled(markNew)
}

// openWithoutJournal makes a new store.
func (s *Store) openWithoutJournal() error {
	if err := s.enoughSpace(); err != nil {
		return err
	}
	if !remnantsIn(s.path) {
		return s.begin()
	}
	if name := emptyFile(s.path); name != "" {
		return fmt.Errorf("its file %q is empty: a crash has left it so in the moment that it was made, or what it held is lost. Remove the file if the process was killed, or the machine stopped, at that moment; restore a backup if not", name)
	}
	files, err := s.inspectReadable()
	if err != nil && passing(err) {
		return advise(err)
	}
	if err != nil {
		return fmt.Errorf("its files are damaged, and it has no journal to build them from: %w. Restore a backup into an empty directory", err)
	}
	switch lost, err := s.openOn(files); {
	case err != nil:
		return explain(s.path, err)
	case lost:
		return errors.New("its manifest is cut off, and it has no journal to build it from: restore a backup into an empty directory")
	}
	switch version, err := s.schema(); {
	case err != nil:
		return err
	case version == 0:
		if err := s.markMade(); err != nil {
			return err
		}
		_, err := s.openJournal()
		return err
	}
	return s.lost(errors.New("the files of its journal, in the directory "+journalDirectory+" in it, are missing"), 1, 0)
}

func (s *Store) openJournal() (tail *journal.Tail, err error) {
	s.journal, tail, err = journal.Open(s.journalPath())
	return tail, err
}

// openBadger opens Badger, which may panic where a file is damaged.
func (s *Store) openBadger() (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			s.db, err = nil, fmt.Errorf("they cannot be read: %v", reason)
		}
	}()
	db, err := badger.Open(badgerOptions(s.path, s.log))
	if err != nil {
		return fromBadger(err)
	}
	s.db, s.commitTxn = db, (*badger.Txn).Commit
	return nil
}

// examine says why Badger's files are not to be opened, if so.
func (s *Store) examine() (*inspected, error) {
	if s.rebuilding() {
		return nil, errors.New("building them anew was interrupted")
	}
	if !badgerIn(s.path) {
		if s.journal.End().Number == 0 {
			return &inspected{}, nil // the first start was interrupted
		}
		return nil, errors.New("they are not there")
	}
	for name := emptyFile(s.path); name != ""; name = emptyFile(s.path) {
		// A crash has left it so, or what it held is in the journal.
		if err := os.Remove(filepath.Join(s.path, name)); err != nil {
			return nil, err
		}
	}
	return s.inspectReadable()
}

// inspectReadable inspects files that this process may read and write: one that it
// may not is not damaged.
func (s *Store) inspectReadable() (*inspected, error) {
	if name, err := unwritableIn(s.path); err != nil {
		return nil, fmt.Errorf("its file %q: %w", name, err)
	}
	return inspect(s.path)
}

// prove holds what Badger has against what the journal says.
func (s *Store) prove(files *inspected, tail *journal.Tail) error {
	version, err := s.schema()
	if err != nil {
		return err
	}
	end, base := s.journal.End(), s.journal.Base()
	switch {
	case version == 0 && end.Number == 0:
		return s.markMade()
	case version == 0:
		return s.discard(errors.New("they are those of an empty store"), tail)
	}
	has, err := s.marks()
	switch {
	case err != nil:
		return err
	case files.predate(&has.base):
		return s.discard(errors.New("one of them is from before they were built anew"), tail)
	case has.position.Number > end.Number:
		return s.forgotten(has.position, tail.Torn)
	case has.position.Number < base.Number || has.base.Number < base.Number:
		return s.discard(fmt.Errorf("they have the changes up to %d, of %d", has.position.Number, end.Number), tail)
	case base.Number > 0 && !has.base.Footprint.leadsTo(files):
		return s.discard(errors.New("some of them are not those that they were when the journal's snapshot was made, nor come from them"), tail)
	case has.position != base && has.position != tail.Positions[has.position.Number]:
		return errors.New("its journal is that of another store: bring the one back that belongs to it, or restore a backup into an empty directory")
	}
	if tail.Torn != nil {
		s.log.Warn("a change that was not acknowledged is not in the journal as a whole, and was not made", zap.String("path", s.path), zap.Error(tail.Torn))
		if err := s.journal.DropTorn(); err != nil {
			return err
		}
	}
	return s.replay(tail)
}

// newJournal begins a journal with what the store holds. It has its name only
// once all of that is in it, and the store has the schema of stores with a
// journal only after that.
func (s *Store) newJournal(now time.Time) error {
	if s.journal != nil {
		if err := s.journal.Close(); err != nil {
			return err
		}
		s.journal = nil
	}
	path := s.journalPath() + unfinished
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	begun, _, err := journal.Open(path)
	if err != nil {
		return err
	}
	first := begun.Next(now, []journal.Write{{Key: schemaKey, Value: []byte(fmt.Sprint(schemaVersion))}})
	err = begun.Append(first)
	if err == nil {
		err = s.snapshot(begun)
	}
	if err := errors.Join(err, begun.Close()); err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(s.journalPath()), os.Rename(path, s.journalPath()), syncDirectory(s.path)); err != nil {
		return err
	}
	if _, err := s.openJournal(); err != nil {
		return err
	}
	return s.unjournaled(func(txn *transaction) error {
		return errors.Join(save(txn, schemaKey, schemaVersion), mark(txn, first.Position))
	})
}
