package durable

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"
)

// minJournal is how many bytes of changes the journal has at least before a snapshot
// takes their place: they are read, and compared, at every start. In a large database
// it is a part of the snapshot, which takes as long as the database is large.
const (
	minJournal  = 16 << 20
	journalPart = 8
	// minBulkJournal is minJournal while many changes are made: see SetBulk.
	minBulkJournal = 64 << 20
)

// upkeep is what takes as long as the database is large, and is done beside its use,
// one thing at a time.
type upkeep struct {
	snapshot chan struct{} // holds something when a snapshot is due
	own      chan struct{} // and when the owner's work is
	cancel   context.CancelFunc
	done     sync.WaitGroup
}

// StartUpkeep begins the work that is done beside the use of the database: first what
// its owner wants done, which is done again after each AskUpkeep; then it is seen to
// that the journal's snapshot is whole, and that there is another when one is due.
func (db *DB) StartUpkeep(own func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	u := &upkeep{snapshot: make(chan struct{}, 1), own: make(chan struct{}, 1), cancel: cancel}
	db.BetweenChanges(func() { // whoever has made a change asks it
		db.upkeep = u
		db.askForSnapshot() // the process may have ended before one that was due
	})
	u.done.Go(func() {
		own(ctx)
		if !db.snapshotWhole(ctx) {
			ask(u.snapshot)
		}
		for {
			select {
			case <-ctx.Done():
				return
			case <-u.own:
				own(ctx)
			case <-u.snapshot:
				db.snapshotWhenSettled(ctx)
			}
		}
	})
}

// AskUpkeep has the owner's work done again. It is for a change that is being made.
func (t *Turn) AskUpkeep() {
	if t.db.upkeep != nil {
		ask(t.db.upkeep.own)
	}
}

// StopUpkeep ends the work under way: the journal goes on without it.
func (db *DB) StopUpkeep() {
	if db.upkeep != nil {
		db.upkeep.cancel()
		db.upkeep.done.Wait()
	}
}

// ask asks once for what is asked again and again until it is done.
func ask(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (db *DB) snapshotWhenSettled(ctx context.Context) {
	switch err := db.Snapshot(ctx); {
	case errors.Is(err, errUnsettled): // Badger does not say when it has written a table
		time.AfterFunc(time.Second, func() { ask(db.upkeep.snapshot) })
	case err != nil && ctx.Err() == nil:
		db.log.Error("making a snapshot of the key store for its journal failed", zap.String("path", db.path), zap.Error(err))
	}
}

// snapshotWhole reads the snapshot, which nothing else does until it is needed.
// Where it is damaged, nothing is lost yet.
func (db *DB) snapshotWhole(ctx context.Context) bool {
	err := db.readSnapshot(ctx)
	if err == nil || ctx.Err() != nil {
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

// SetBulk says whether many changes are being made, of which more are still to come:
// then a snapshot is not made at every eighth of the way, but at the end.
func (db *DB) SetBulk(bulk bool) {
	db.BetweenChanges(func() {
		db.bulk = bulk
		db.askForSnapshot()
	})
}

// askForSnapshot asks for one where the journal has grown. Its caller holds changes.
func (db *DB) askForSnapshot() {
	least, part := int64(minJournal), int64(journalPart)
	if db.bulk {
		least, part = minBulkJournal, 1
	}
	if size := db.journal.Size(); db.upkeep != nil && size >= least && size >= db.journal.SnapshotSize()/part {
		ask(db.upkeep.snapshot)
	}
}

// LimitJournalAge has a snapshot take the place of the journal's entries, if the first
// of them is older than most.
func (t *Turn) LimitJournalAge(now time.Time, most time.Duration) {
	since := t.db.journal.Since()
	if t.db.upkeep != nil && !since.IsZero() && now.Sub(since) >= most {
		ask(t.db.upkeep.snapshot)
	}
}
