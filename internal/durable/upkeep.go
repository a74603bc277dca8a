package durable

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"
)

// A snapshot is due once the journal has minJournal bytes of changes, and at least
// one journalPart-th of the last snapshot's size. Every start reads the journal and
// compares it, so it should be short; but the larger the database, the longer a
// snapshot takes.
const (
	minJournal  = 16 << 20
	journalPart = 8
	// minBulkJournal replaces minJournal during bulk changes: see SetBulk.
	minBulkJournal = 256 << 20
)

// upkeep is the background work that takes time in proportion to the database's
// size. Only one task runs at a time.
type upkeep struct {
	snapshot chan struct{} // holds a value when a snapshot is due
	owner    chan struct{} // holds a value when the owner's work is due
	cancel   context.CancelFunc
	done     sync.WaitGroup
}

// StartUpkeep starts the background work: first, tables that Open has not read are
// examined; then the owner's, which runs again after each AskUpkeep; then a check of the
// journal's snapshot; then new snapshots as they become due.
func (db *DB) StartUpkeep(ownerWork func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	u := &upkeep{snapshot: make(chan struct{}, 1), owner: make(chan struct{}, 1), cancel: cancel}
	db.BetweenChanges(func() { // changes use it
		db.upkeep = u
		db.requestSnapshot() // one may have been due when the last process ended
	})
	u.done.Go(func() {
		db.examineAll(ctx)
		u.done.Go(func() { db.watchMerges(ctx) })
		ownerWork(ctx)
		if !db.snapshotIntact(ctx) {
			signal(u.snapshot)
		}
		for {
			db.dropPages() // most of what it has read is not read again soon
			select {
			case <-ctx.Done():
				return
			case <-u.owner:
				ownerWork(ctx)
			case <-u.snapshot:
				db.snapshotOrRetry(ctx)
			}
		}
	})
}

// AskUpkeep has the owner's work done again, after this change.
func (t *Turn) AskUpkeep() {
	if t.db.upkeep != nil {
		signal(t.db.upkeep.owner)
	}
}

// StopUpkeep cancels the background work and waits for it to stop. Changes can
// still be made.
func (db *DB) StopUpkeep() {
	if db.upkeep != nil {
		db.upkeep.cancel()
		db.upkeep.done.Wait()
	}
}

// signal sends to a channel of capacity 1, unless a signal is pending there
// already.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (db *DB) snapshotOrRetry(ctx context.Context) {
	switch err := db.Snapshot(ctx); {
	case errors.Is(err, errFlushing): // Badger does not notify when it has written a table
		time.AfterFunc(time.Second, func() { signal(db.upkeep.snapshot) })
	case err != nil && ctx.Err() == nil:
		db.log.Error("a snapshot for the key store's journal could not be written", zap.String("path", db.path), zap.Error(err))
	}
}

// snapshotIntact reads the whole snapshot, which is otherwise read only when it is
// needed. If it is damaged, nothing is lost yet: the files still have everything.
func (db *DB) snapshotIntact(ctx context.Context) bool {
	err := db.readSnapshot(ctx)
	if err == nil || ctx.Err() != nil || db.unusable.why() != nil {
		return true
	}
	db.log.Error("the snapshot in the key store's journal is damaged: making a new one", zap.String("path", db.path), zap.Error(err))
	return false
}

func (db *DB) readSnapshot(ctx context.Context) error {
	db.changes.Lock()
	snapshot, err := db.journal.OpenSnapshot()
	db.changes.Unlock()
	if err != nil {
		return err
	}
	defer snapshot.Close()
	pacer := db.Pacer(ctx)
	return snapshot.Read(func([]byte, []byte) error { return pacer.Step() })
}

// SetBulk announces that many changes follow, or that they are done. In between,
// snapshots are made less often, and requests get more room; afterwards, a snapshot is
// made if it is due.
func (db *DB) SetBulk(bulk bool) {
	db.BetweenChanges(func() {
		if db.leaveRoom != nil {
			db.leaveRoom()
			db.leaveRoom = nil
		}
		if bulk && !db.alone.Load() {
			db.leaveRoom = makeRoom()
		}
		db.bulk = bulk
		db.requestSnapshot()
	})
}

// requestSnapshot requests a snapshot if the journal has grown enough. The caller
// holds changes.
func (db *DB) requestSnapshot() {
	least, part := int64(minJournal), int64(journalPart)
	if db.bulk {
		least, part = minBulkJournal, 1
	}
	if size := db.journal.Size(); db.upkeep != nil && size >= least && size >= db.journal.SnapshotSize()/part {
		signal(db.upkeep.snapshot)
	}
}

// LimitJournalAge requests a snapshot if the journal's oldest entry has reached
// maxAge.
func (t *Turn) LimitJournalAge(now time.Time, maxAge time.Duration) {
	since := t.db.journal.Since()
	if t.db.upkeep != nil && !since.IsZero() && now.Sub(since) >= maxAge {
		signal(t.db.upkeep.snapshot)
	}
}
