package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/durable/journal"
)

// damagedDirectory begins the names of directories that hold Badger's files from
// before they were built anew.
const damagedDirectory = "damaged-"

// damagedTime is how the rest of their names says when that was, UTC.
const damagedTime = "20060102T150405.000Z"

// rebuildMark is a file that is in the journal's directory for as long as
// Badger's files are being built.
const rebuildMark = "REBUILD"

func (s *Store) rebuildMark() string { return filepath.Join(s.journalPath(), rebuildMark) }

func (s *Store) rebuilding() bool {
	_, err := os.Stat(s.rebuildMark())
	return err == nil
}

// rebuiltPerReport is after how many records it is logged how many they are, and
// rebuiltPerLook after how many the disk is looked at.
const (
	rebuiltPerReport = 1_000_000
	rebuiltPerLook   = 10_000
)

// makeSpace removes files that were being built, and worth nothing, where the disk
// is full: it may be full of them.
func (s *Store) makeSpace() error {
	err := s.enoughSpace()
	if err != nil && s.rebuilding() {
		if err := eachBadgerFile(s.path, os.Remove); err != nil {
			return err
		}
		return s.enoughSpace()
	}
	return err
}

// roomToRebuild refuses to fill the disk: the damaged files are kept.
func (s *Store) roomToRebuild() error {
	if s.rebuilding() {
		return nil
	}
	tables, err := filesWith(s.path, ".sst")
	if err != nil {
		return err
	}
	needed := s.minFree
	for _, name := range tables {
		if info, err := os.Stat(name); err == nil {
			needed += uint64(info.Size())
		}
	}
	free, err := freeBytes(s.path)
	if err == nil && free < needed {
		err = fmt.Errorf("to build its files anew, %d MiB must be free on the disk, and %d MiB are: make room, or move the store to a larger disk", needed>>20, free>>20)
	}
	return err
}

// rebuild makes Badger's files anew from the journal. What it does not have are
// the last uses of keys since its snapshot. The old files are kept aside.
func (s *Store) rebuild(reason error, tail *journal.Tail) error {
	log := s.log.With(zap.String("path", s.path))
	log.Error("the files of the key store are damaged: they are built anew from its journal, which takes a while", zap.Error(reason))
	if tail.Torn != nil {
		return bothDamaged(reason, tail.Torn)
	}
	snapshot, err := s.journal.OpenSnapshot()
	if err != nil {
		return advise(err)
	}
	defer snapshot.Close()
	if err := snapshot.Read(func([]byte, []byte) error { return nil }); err != nil {
		return bothDamaged(reason, err)
	}
	if err := s.roomToRebuild(); err != nil {
		return err
	}
	if err := s.setAside(log); err != nil {
		return err
	}
	since, err := s.beginVersions(time.Now())
	if err == nil {
		err = s.openBadger()
	}
	if err != nil {
		return explain(s.path, err)
	}
	if err := s.restoreSnapshot(snapshot, log); err != nil {
		return err
	}
	if err := s.rewrite(tail.InOrder()); err != nil {
		return err
	}
	if err := s.settle(); err != nil {
		return err
	}
	files, err := footprintOf(s.path)
	if err != nil {
		return err
	}
	base := baseRecord{s.journal.Base().Number, files, since}
	if err := s.unjournaled(func(txn *transaction) error { return s.markRebuilt(txn, tail, base) }); err != nil {
		return err
	}
	log.Warn("the files of the key store were built anew: what is not known any more is when keys were used since the journal's snapshot")
	return os.Remove(s.rebuildMark())
}

// beginVersions has Badger's versions go on from a time, in microseconds since
// 1970, and returns that. Badger counts them from 1 in an empty directory, and of
// two versions believes the higher one: a file of before, which is put beside the
// new ones, would have it.
func (s *Store) beginVersions(at time.Time) (since uint64, err error) {
	since = uint64(at.UnixMicro())
	db, err := badger.OpenManaged(badgerOptions(s.path, s.log))
	if err != nil {
		return 0, fromBadger(err)
	}
	batch := db.NewWriteBatchAt(since)
	value, err := json.Marshal(baseRecord{Since: since})
	return since, errors.Join(err, batch.Set(baseKey, value), batch.Flush(), db.Close())
}

// settle brings everything that Badger has into tables.
func (s *Store) settle() error {
	err := s.db.Close()
	s.db = nil
	if err != nil {
		return err
	}
	return s.openBadger()
}

// setAside moves Badger's files away, where nobody will build on them. Files
// that were being built are worth nothing.
func (s *Store) setAside(log *zap.Logger) error {
	hidden := filepath.Join(s.path, straysDirectory)
	if s.rebuilding() {
		return errors.Join(eachBadgerFile(s.path, os.Remove), os.RemoveAll(hidden))
	}
	aside, err := s.aside(time.Now())
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.rebuildMark(), nil, 0o600); err != nil {
		return err
	}
	if err := syncDirectory(s.journalPath()); err != nil {
		return err
	}
	log.Warn("the damaged files are kept: delete them when nobody needs them", zap.String("directory", aside))
	err = eachBadgerFile(s.path, func(path string) error { return os.Rename(path, filepath.Join(aside, filepath.Base(path))) })
	if moveErr := os.Rename(hidden, filepath.Join(aside, straysDirectory)); !errors.Is(moveErr, os.ErrNotExist) {
		err = errors.Join(err, moveErr)
	}
	return errors.Join(err, syncDirectory(aside), syncDirectory(s.path))
}

// syncDirectory brings the names in a directory to the disk.
func syncDirectory(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}

// aside makes a directory for what is damaged.
func (s *Store) aside(now time.Time) (path string, err error) {
	path = filepath.Join(s.path, damagedDirectory+now.UTC().Format(damagedTime))
	return path, os.Mkdir(path, 0o700)
}

func (s *Store) restoreSnapshot(from *journal.Snapshot, log *zap.Logger) error {
	batch := s.db.NewWriteBatch()
	defer batch.Cancel()
	n := 0
	err := from.Read(func(key, value []byte) error {
		if n++; n%rebuiltPerReport == 0 {
			log.Info("building the files of the key store anew", zap.Int("records", n))
		}
		if n%rebuiltPerLook == 0 {
			if err := s.enoughSpace(); err != nil {
				return err
			}
		}
		return batch.Set(slices.Clone(key), slices.Clone(value))
	})
	return errors.Join(err, batch.Flush())
}

// markRebuilt writes what the journal does not hold. The confirmed time is known
// to have come as far as the last change, unless the clock was set since the
// snapshot: then the last change may be one from before.
func (s *Store) markRebuilt(txn *transaction, tail *journal.Tail, base baseRecord) error {
	note, _, err := clockNote(txn)
	if _, set := tail.Writes[string(clockTrustKey)]; err == nil && !set && tail.Last.After(note.Confirmed) {
		note.Confirmed = tail.Last
		err = saveClock(txn, note)
	}
	return errors.Join(err, markNew(txn), save(txn, baseKey, base), mark(txn, s.journal.End()))
}

// forgotten says that the store has changes that the journal does not.
func (s *Store) forgotten(has journal.Position, torn *journal.Damage) error {
	cause := errors.New("the end of its journal is missing")
	if torn != nil {
		cause = torn
	}
	return s.lost(cause, s.journal.End().Number+1, has.Number)
}

// lost says which changes can be read in the journal no more, and what to do.
func (s *Store) lost(cause error, from, to uint64) error {
	changes := fmt.Sprintf("change %d is", from)
	switch {
	case to == 0:
		changes = fmt.Sprintf("the changes from %d on are", from)
	case to > from:
		changes = fmt.Sprintf("the changes from %d to %d are", from, to)
	}
	return fmt.Errorf("%w. So nothing proves that %s in the store, and a revocation may be missing. "+
		"Bring back the journal's files as they were, or restore a backup into an empty directory. "+
		"If the store is known to be good, begin a new journal from it: caddy api-keys doctor --store %q --new-journal", cause, changes, s.path)
}

// explainJournal turns the journal's reasons not to open into what an operator
// can do.
func (s *Store) explainJournal(err error) error {
	if errors.Is(err, journal.ErrLocked) {
		return explain(s.path, syscall.EWOULDBLOCK)
	}
	if damage, ok := errors.AsType[*journal.Damage](err); ok {
		if _, files := s.inspectReadable(); files != nil && !passing(files) {
			return bothDamaged(files, damage)
		}
		return s.lost(damage, max(damage.Next, 1), 0)
	}
	return advise(err)
}

// bothDamaged says that neither can be built from the other.
func bothDamaged(files, journal error) error {
	return fmt.Errorf("its files are damaged (%w), and so is its journal: %w. Restore a backup into an empty directory", files, journal)
}

// discard closes Badger, and builds its files anew.
func (s *Store) discard(reason error, tail *journal.Tail) error {
	if s.db != nil {
		if err := s.db.Close(); err != nil {
			s.log.Warn("closing the files of a damaged key store", zap.String("path", s.path), zap.Error(err))
		}
		s.db = nil
	}
	return s.rebuild(reason, tail)
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
