package durable

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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

func (db *DB) rebuildMark() string { return filepath.Join(db.journalPath(), rebuildMark) }

func (db *DB) rebuilding() bool {
	_, err := os.Stat(db.rebuildMark())
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
func (db *DB) makeSpace() error {
	err := db.enoughSpace()
	if err != nil && db.rebuilding() {
		if err := eachBadgerFile(db.path, os.Remove); err != nil {
			return err
		}
		return db.enoughSpace()
	}
	return err
}

// roomToRebuild refuses to fill the disk: the damaged files are kept.
func (db *DB) roomToRebuild() error {
	if db.rebuilding() {
		return nil
	}
	tables, err := filesWith(db.path, ".sst")
	if err != nil {
		return err
	}
	needed := uint64(minFree)
	for _, name := range tables {
		if info, err := os.Stat(name); err == nil {
			needed += uint64(info.Size())
		}
	}
	free, err := db.free()
	if err == nil && free < needed {
		err = fmt.Errorf("rebuilding the store's files needs %d MiB of free disk space, but only %d MiB are free: free some space, or move the store to a larger disk", needed>>20, free>>20)
	}
	return err
}

// rebuild makes Badger's files anew from the journal. What it does not have are
// the last uses of keys since its snapshot. The old files are kept aside.
func (db *DB) rebuild(reason error, tail *journal.Tail) error {
	db.repair(Repair{Kind: Rebuilding, Reason: reason})
	if tail.Torn != nil {
		return bothDamaged(reason, tail.Torn)
	}
	snapshot, err := db.journal.OpenSnapshot()
	if err != nil {
		return Advise(err)
	}
	defer snapshot.Close()
	if err := snapshot.Read(func([]byte, []byte) error { return nil }); err != nil {
		return bothDamaged(reason, err)
	}
	if err := db.roomToRebuild(); err != nil {
		return err
	}
	if err := db.setAside(); err != nil {
		return err
	}
	since, err := db.beginVersions(time.Now())
	if err == nil {
		err = db.openBadger()
	}
	if err != nil {
		return explain(db.path, err)
	}
	if err := db.restoreSnapshot(snapshot); err != nil {
		return err
	}
	if err := db.rewrite(tail.InOrder()); err != nil {
		return err
	}
	if err := db.settle(); err != nil {
		return err
	}
	files, err := footprintOf(db.path)
	if err != nil {
		return err
	}
	base := baseRecord{db.journal.Base().Number, files, since}
	if err := db.note(func(txn *Txn) error { return db.markRebuilt(txn, tail, base) }); err != nil {
		return err
	}
	db.repair(Repair{Kind: Rebuilt})
	return os.Remove(db.rebuildMark())
}

// beginVersions has Badger's versions go on from a time, in microseconds since
// 1970, and returns that. Badger counts them from 1 in an empty directory, and of
// two versions believes the higher one: a file of before, which is put beside the
// new ones, would have it.
func (db *DB) beginVersions(at time.Time) (since uint64, err error) {
	since = uint64(at.UnixMicro())
	managed, err := badger.OpenManaged(badgerOptions(db.path, db.log))
	if err != nil {
		return 0, fromBadger(err)
	}
	batch := managed.NewWriteBatchAt(since)
	value, err := json.Marshal(baseRecord{Since: since})
	return since, errors.Join(err, batch.Set(baseKey, value), batch.Flush(), managed.Close())
}

// settle brings everything that Badger has into tables.
func (db *DB) settle() error {
	err := db.badger.Close()
	db.badger = nil
	if err != nil {
		return err
	}
	return db.openBadger()
}

// setAside moves Badger's files away, where nobody will build on them. Files
// that were being built are worth nothing.
func (db *DB) setAside() error {
	hidden := filepath.Join(db.path, straysDirectory)
	if db.rebuilding() {
		return errors.Join(eachBadgerFile(db.path, os.Remove), os.RemoveAll(hidden))
	}
	aside, err := db.aside(time.Now())
	if err != nil {
		return err
	}
	if err := os.WriteFile(db.rebuildMark(), nil, 0o600); err != nil {
		return err
	}
	if err := syncDirectory(db.journalPath()); err != nil {
		return err
	}
	db.repair(Repair{Kind: KeptDamaged, Directory: aside})
	err = eachBadgerFile(db.path, func(path string) error { return os.Rename(path, filepath.Join(aside, filepath.Base(path))) })
	if moveErr := os.Rename(hidden, filepath.Join(aside, straysDirectory)); !errors.Is(moveErr, os.ErrNotExist) {
		err = errors.Join(err, moveErr)
	}
	return errors.Join(err, syncDirectory(aside), syncDirectory(db.path))
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
func (db *DB) aside(now time.Time) (path string, err error) {
	path = filepath.Join(db.path, damagedDirectory+now.UTC().Format(damagedTime))
	return path, os.Mkdir(path, 0o700)
}

func (db *DB) restoreSnapshot(from *journal.Snapshot) error {
	batch := db.badger.NewWriteBatch()
	defer batch.Cancel()
	n := 0
	err := from.Read(func(key, value []byte) error {
		if n++; n%rebuiltPerReport == 0 {
			db.log.Info("rebuilding the key store's files", zap.String("path", db.path), zap.Int("records", n))
		}
		if n%rebuiltPerLook == 0 {
			if err := db.enoughSpace(); err != nil {
				return err
			}
		}
		return batch.Set(slices.Clone(key), slices.Clone(value))
	})
	return errors.Join(err, batch.Flush())
}

// markRebuilt writes what the journal does not hold.
func (db *DB) markRebuilt(txn *Txn, tail *journal.Tail, base baseRecord) (err error) {
	if db.options.AfterRebuild != nil {
		err = db.options.AfterRebuild(txn, RebuiltFrom{LastChange: tail.Last, Changed: func(key []byte) bool {
			_, changed := tail.Writes[string(key)]
			return changed
		}})
	}
	return errors.Join(err, db.markSchema(txn), save(txn, baseKey, base), mark(txn, db.journal.End()))
}

// discard closes Badger, and builds its files anew.
func (db *DB) discard(reason error, tail *journal.Tail) error {
	if db.badger != nil {
		if err := db.badger.Close(); err != nil {
			db.log.Warn("closing the files of a damaged key store", zap.String("path", db.path), zap.Error(err))
		}
		db.badger = nil
	}
	return db.rebuild(reason, tail)
}
