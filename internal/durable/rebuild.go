package durable

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/durable/journal"
)

// damagedDirectory is the prefix of the names of quarantine directories, which hold
// damaged files that were replaced.
const damagedDirectory = "damaged-"

// damagedTime is the format of the rest of those names: when that was, in UTC.
const damagedTime = "20060102T150405.000Z"

// rebuildMark is a file in the journal's directory while Badger's files are being
// rebuilt.
const rebuildMark = "REBUILD"

func (db *DB) rebuildMark() string { return filepath.Join(db.journalPath(), rebuildMark) }

func (db *DB) rebuilding() bool {
	_, err := os.Stat(db.rebuildMark())
	return err == nil
}

// A rebuild logs its progress once per recordsPerReport records, and checks the
// free disk space once per recordsPerSpaceCheck.
const (
	recordsPerReport     = 1_000_000
	recordsPerSpaceCheck = 10_000
)

// makeSpace returns an error if the disk is full. It first removes what an
// interrupted rebuild left, which has no value and may be what fills the disk.
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

// roomToRebuild returns an error if a rebuild might fill the disk. Unless it keeps the damaged
// files, what it makes takes their place.
func (db *DB) roomToRebuild(reason error) error {
	if db.rebuilding() {
		return nil
	}
	needed := uint64(minFree)
	if db.keepsDamaged(reason) {
		tables, err := filesWith(db.path, ".sst")
		if err != nil {
			return err
		}
		for _, name := range tables {
			if info, err := os.Stat(name); err == nil {
				needed += uint64(info.Size())
			}
		}
	}
	left, err := db.free()
	if err == nil && left.bytes < needed {
		err = fmt.Errorf("rebuilding the store's files needs %d MiB of free disk space, but only %d MiB are free: free some space, or move the store to a larger disk", needed>>20, left.bytes>>20)
	}
	return err
}

// rebuild rebuilds Badger's files from the journal, and quarantines the old ones.
// Only notes written since the journal's snapshot are lost.
func (db *DB) rebuild(reason error, tail *journal.Tail) error {
	db.repair(Repair{Kind: Rebuilding, Reason: reason})
	if tail.Torn != nil {
		return db.bothDamaged(reason, tail.Torn)
	}
	snapshot, err := db.journal.OpenSnapshot()
	if err != nil {
		return Advise(err)
	}
	defer snapshot.Close()
	if err := snapshot.Read(func([]byte, []byte) error { return nil }); err != nil {
		return db.bothDamaged(reason, err)
	}
	if err := db.roomToRebuild(reason); err != nil {
		return err
	}
	if err := db.quarantineFiles(reason); err != nil {
		return err
	}
	db.proven = 0
	since, err := db.startVersions(time.Now())
	if err == nil {
		err = db.openBadger()
	}
	if err != nil {
		return explain(db.path, err)
	}
	if err := db.restoreSnapshot(snapshot); err != nil {
		return err
	}
	if err := db.apply(tail.InOrder()); err != nil {
		return err
	}
	if err := db.flush(); err != nil {
		return err
	}
	files, err := footprintOf(db.path)
	if err != nil {
		return err
	}
	if err := db.prove(context.Background(), 0, db.readJournalNow); err != nil {
		return err
	}
	base := baseRecord{db.journal.Base().Number, files, since}
	if err := db.note(func(txn *Txn) error { return db.markRebuilt(txn, tail, base) }); err != nil {
		return err
	}
	if err := db.recordProof(db.note); err != nil {
		return err
	}
	db.repair(Repair{Kind: Rebuilt})
	return os.Remove(db.rebuildMark())
}

// startVersions makes Badger number versions from a time in Unix microseconds,
// which it returns. In an empty directory Badger would start from 1, and of two
// versions it takes the higher: records of an old file that came back among the new
// ones would win.
func (db *DB) startVersions(at time.Time) (since uint64, err error) {
	since = uint64(at.UnixMicro())
	managed, err := badger.OpenManaged(badgerOptions(db.path, db.log))
	if err != nil {
		return 0, fromBadger(err)
	}
	batch := managed.NewWriteBatchAt(since)
	value, err := json.Marshal(baseRecord{Since: since})
	return since, errors.Join(err, batch.Set(baseKey, value), batch.Flush(), managed.Close())
}

// flush moves everything that Badger has into tables, by closing and reopening it.
func (db *DB) flush() error {
	if err := db.closeBadger(); err != nil {
		return err
	}
	db.badger = nil
	return db.openBadger()
}

// enoughDamaged is from how many quarantine directories on, whatever they are there for, none
// is added because of a merge: what that has left shows little, and may come again and again.
const enoughDamaged = 3

// keepsDamaged reports whether a rebuild keeps the files that it replaces.
func (db *DB) keepsDamaged(reason error) bool {
	if !errors.Is(reason, errMergeLost) {
		return true
	}
	entries, _ := os.ReadDir(db.path)
	kept := 0
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), damagedDirectory) {
			kept++
		}
	}
	return kept < enoughDamaged
}

// quarantineFiles moves Badger's files out of the way, or removes those that have no value.
func (db *DB) quarantineFiles(reason error) error {
	hidden := filepath.Join(db.path, straysDirectory)
	remove := func() error { return errors.Join(eachBadgerFile(db.path, os.Remove), os.RemoveAll(hidden)) }
	if db.rebuilding() {
		return remove()
	}
	keep, quarantine := db.keepsDamaged(reason), ""
	if keep {
		var err error
		if quarantine, err = db.newQuarantine(time.Now()); err != nil {
			return err
		}
	}
	if err := os.WriteFile(db.rebuildMark(), nil, 0o600); err != nil {
		return err
	}
	if err := syncDirectory(db.journalPath()); err != nil {
		return err
	}
	if !keep {
		return remove()
	}
	db.repair(Repair{Kind: KeptDamaged, Directory: quarantine})
	err := eachBadgerFile(db.path, func(path string) error { return os.Rename(path, filepath.Join(quarantine, filepath.Base(path))) })
	if moveErr := os.Rename(hidden, filepath.Join(quarantine, straysDirectory)); !errors.Is(moveErr, os.ErrNotExist) {
		err = errors.Join(err, moveErr)
	}
	return errors.Join(err, syncDirectory(quarantine), syncDirectory(db.path))
}

// syncDirectory makes the creation and renaming of files in a directory durable.
func syncDirectory(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}

// newQuarantine creates a directory for damaged files.
func (db *DB) newQuarantine(now time.Time) (path string, err error) {
	path = filepath.Join(db.path, damagedDirectory+now.UTC().Format(damagedTime))
	return path, os.Mkdir(path, 0o700)
}

func (db *DB) restoreSnapshot(from *journal.Snapshot) error {
	batch := db.batch()
	defer batch.discard()
	n := 0
	err := from.Read(func(key, value []byte) error {
		if n++; n%recordsPerReport == 0 {
			db.log.Info("rebuilding the key store's files", zap.String("path", db.path), zap.Int("records", n))
		}
		if n%recordsPerSpaceCheck == 0 {
			if err := db.enoughSpace(); err != nil {
				return err
			}
		}
		return batch.set(slices.Clone(key), slices.Clone(value))
	})
	if err != nil {
		return err
	}
	return batch.flush()
}

// markRebuilt writes what is not in the journal.
func (db *DB) markRebuilt(txn *Txn, tail *journal.Tail, base baseRecord) (err error) {
	if db.options.AfterRebuild != nil {
		err = db.options.AfterRebuild(txn, RebuiltFrom{LastChange: tail.Last, Changed: func(key []byte) bool {
			_, changed := tail.Writes[string(key)]
			return changed
		}})
	}
	return errors.Join(err, db.markSchema(txn), save(txn, baseKey, base), mark(txn, db.journal.End()))
}

// closeAndRebuild closes Badger, and rebuilds its files. If a merge has lost something, before
// or meanwhile, nothing is merged until they are rebuilt.
func (db *DB) closeAndRebuild(reason error, tail *journal.Tail) error {
	if !errors.Is(reason, errMergeLost) {
		err := db.closeThenRebuild(reason, tail)
		if !errors.Is(err, errMergeLost) {
			return err
		}
		reason = err
	}
	db.calm = true
	err := db.closeThenRebuild(reason, tail)
	db.calm = false
	if db.noteLoss(time.Now()); db.pause > 0 {
		db.log.Error("merges of the key store's tables have lost some again: nothing is merged for a while", zap.String("path", db.path), zap.Duration("pause", db.pause))
	}
	return err
}

func (db *DB) closeThenRebuild(reason error, tail *journal.Tail) error {
	if db.badger != nil {
		err := db.closeBadger()
		if errors.Is(err, errStuck) {
			return err
		}
		if err != nil {
			db.log.Warn("could not close the files of a damaged key store", zap.String("path", db.path), zap.Error(err))
		}
		db.badger = nil
	}
	return db.rebuild(reason, tail)
}
