package durable

import (
	"fmt"
	"math"
	"os"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
	"go.uber.org/zap"
)

// Badger merges tables in the background, and writes all that replace others before it
// removes any of those. If that fills the disk, the process ends, as with every other write;
// and the next start would merge again. So changes that are not urgent leave room for merges,
// and a database that is opened without it rests: nothing is merged until there is. So does
// one in which merges have lost tables again and again, for a while.

// tables is how large Badger's tables are, in bytes.
type tables struct {
	all   uint64
	fresh uint64 // those of level 0, to which changes add
}

// mergedWith bounds the tables that fresh ones are merged with, and those of deeper levels
// that are merged meanwhile. The fresh ones go into a level of 64 MiB, which is too large
// by up to as much while it waits to be merged into the next.
const mergedWith = 128 << 20

// toMerge returns how much merges may write before they remove anything.
func (t tables) toMerge() uint64 { return min(t.all, t.fresh+mergedWith) }

// openTables measures the tables that Badger has open. The caller holds the gate.
func (db *DB) openTables() (t tables) {
	for _, level := range db.badger.Levels() {
		t.add(level.Level, level.Size)
	}
	return t
}

// tablesIn measures the tables in a directory. What cannot be read counts as nothing.
func tablesIn(path string) (t tables) {
	_, manifest, err := readManifest(path)
	if err != nil {
		return t
	}
	for id, entry := range manifest.Tables {
		if info, err := os.Stat(table.NewFilename(id, path)); err == nil {
			t.add(int(entry.Level), info.Size())
		}
	}
	return t
}

func (t *tables) add(level int, size int64) {
	t.all += uint64(size)
	if level == 0 {
		t.fresh += uint64(size)
	}
}

// rest is whether a database rests, and what room it needs to merge.
type rest struct {
	toMerge atomic.Uint64 // in bytes, as last measured
	resting atomic.Bool
	waking  atomic.Bool // wake has been called, or will be
	// The rest is used by what keeps everything else away from Badger.
	calm  bool          // nothing is merged: files are being rebuilt of which a merge has lost something
	lost  time.Time     // when the last such rebuild ended
	pause time.Duration // for how long nothing is merged after that
}

const (
	// shortestPause is for how long nothing is merged after merges have lost something twice,
	// and longestPause after they have again and again.
	shortestPause = 15 * time.Second
	longestPause  = 15 * time.Minute
	// forgetLoss is when the next loss counts as the first.
	forgetLoss = time.Hour
)

// noteLoss takes note that a merge had lost something, and that the files are rebuilt.
func (r *rest) noteLoss(now time.Time) {
	switch since := now.Sub(r.lost); {
	case r.lost.IsZero() || since > forgetLoss:
		r.pause = 0
	default:
		r.pause = min(max(2*r.pause, shortestPause), longestPause)
	}
	r.lost = now
}

func (r *rest) pausing() bool { return time.Since(r.lost) < r.pause }

// measureMerges brings toMerge up to date. The caller holds the gate.
func (db *DB) measureMerges() { db.toMerge.Store(db.openTables().toMerge()) }

// mergeOrRest returns the options to open Badger with: those given or, if it is to rest, such
// that nothing is merged, however many tables there are.
func (db *DB) mergeOrRest(o badger.Options) badger.Options {
	db.toMerge.Store(tablesIn(db.path).toMerge())
	err := db.requireFree(free{bytes: minFree + db.toMerge.Load()})
	db.resting.Store(err != nil || db.calm || db.pausing())
	if !db.resting.Load() {
		return o
	}
	return o.WithNumCompactors(0).WithNumLevelZeroTablesStall(math.MaxInt)
}

// wakeAfter is how often a database that rests looks whether there is room.
const wakeAfter = time.Second

// wakeLater has a database wake that rests.
func (db *DB) wakeLater() {
	if !db.resting.Load() {
		return
	}
	if err := db.spareSpace(); err != nil {
		db.log.Error("the key store's disk has too little room to merge tables: until it has, keys can only be revoked and workspaces suspended",
			zap.String("path", db.path), zap.Error(err))
	}
	if db.waking.CompareAndSwap(false, true) {
		time.AfterFunc(wakeAfter, db.wake)
	}
}

// wake opens Badger again once there is room, in a moment in which nothing uses it.
func (db *DB) wake() {
	again := wakeAfter
	if db.gate.TryLock() {
		defer db.gate.Unlock()
		if db.closed || db.unusable.why() == nil && db.tryWake() {
			db.waking.Store(false)
			return
		}
	} else {
		again /= 100
	}
	time.AfterFunc(again, db.wake)
}

// tryWake is wake for a caller that holds the gate for writing. It reports whether the
// database need not be woken again.
func (db *DB) tryWake() bool {
	if !db.snapshotting.TryLock() {
		return false
	}
	defer db.snapshotting.Unlock()
	if !db.proofs.TryLock() {
		return false
	}
	defer db.proofs.Unlock()
	return db.wakeNow()
}

// wakeNow is wake for a caller that keeps everything else away from Badger. It reports
// whether the database need not be woken again.
func (db *DB) wakeNow() bool {
	db.changes.Lock()
	defer db.changes.Unlock()
	if !db.resting.Load() || db.halted() != nil {
		return true
	}
	if db.unexamined.Load() != nil || db.checkWritable() != nil {
		return false
	}
	if db.measureMerges(); db.spareSpace() != nil || db.pausing() {
		return false
	}
	db.endLook()
	err := db.closeBadger()
	if err == nil {
		err = db.reopen()
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrFailed, err)
		db.unusable.reason.Store(&err)
		db.log.Error("the key store's files could not be opened again: restart the server", zap.String("path", db.path), zap.Error(Advise(err)))
		return true
	}
	return !db.resting.Load()
}

// reopenFor is for how long to try to open Badger again.
const reopenFor = time.Minute

// reopen opens Badger after it was closed. Other requests may have used up the files that
// this process can open; meanwhile, nothing waits for the gate.
func (db *DB) reopen() (err error) {
	for begun := time.Now(); ; time.Sleep(wakeAfter) {
		if err = db.openBadger(); err == nil {
			db.opened, err = identify(db.path)
			break
		}
		if !isTransient(err) || time.Since(begun) > reopenFor {
			return err
		}
		why := fmt.Errorf("%w: %w", ErrFailed, err)
		db.unusable.reason.Store(&why)
	}
	db.unusable.reason.Store(nil)
	return err
}
