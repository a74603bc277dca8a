package durable

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/agiled/caddy-api-keys/internal/durable/journal"
)

// Turn is the exclusive right to change the database.
type Turn struct{ db *DB }

// Change waits for its turn and runs do, unless the database cannot be changed now.
// A party's changes queue up behind each other, and parties take turns. Urgent
// changes go first, and may use the disk's reserve.
func (db *DB) Change(ctx context.Context, party string, urgent bool, do func(*Turn) error) error {
	return db.use(func() error {
		if err := db.roomToMerge(ctx, urgent); err != nil {
			return err
		}
		if err := db.changes.LockFor(ctx, party, urgent); err != nil {
			return err
		}
		defer db.changes.Unlock()
		if err := db.checkMutable(ctx, urgent); err != nil {
			return err
		}
		return do(&Turn{db})
	})
}

// maxTogether is how many changes are made together: enough that the disk's syncs hardly
// count, and few enough that a change which comes meanwhile does not wait for long.
const maxTogether = 64

// ChangeTogether is [DB.Change] for a change that can be made together with others, so
// that they share the syncs to the disk. do makes all that it is given, the caller's own
// first, and keeps the result of each with it; other callers' results are theirs when their
// calls return nil. If do fails, the error is for the caller alone, whose change is then the
// only one. While there is no more space than the reserve, each change is made alone.
func (db *DB) ChangeTogether(ctx context.Context, party string, urgent bool, change any, do func(turn *Turn, changes []any) error) error {
	return db.use(func() error {
		if err := db.roomToMerge(ctx, urgent); err != nil {
			return err
		}
		done, err := db.changes.lockOrJoin(ctx, party, urgent, change)
		if err != nil || done {
			return err
		}
		defer db.changes.Unlock()
		if err := db.checkMutable(ctx, urgent); err != nil {
			return err
		}
		changes := []any{change}
		if db.spareSpace() == nil {
			joined := db.company()
			defer func() {
				for _, w := range joined {
					w.done = true
					close(w.ready)
				}
			}()
			for _, w := range joined {
				changes = append(changes, w.item)
			}
		}
		return do(&Turn{db}, changes)
	})
}

// company returns those whose changes are made in the same turn as that of its holder.
// Callers that were answered when the last turn ended may be about to make the next change:
// they get the chance to, or the first of them would have a turn for one change, and all
// others wait.
func (db *DB) company() (joined []*waiter) {
	for {
		runtime.Gosched()
		more := db.changes.join(maxTogether - 1 - len(joined))
		if len(more) == 0 {
			return joined
		}
		joined = append(joined, more...)
	}
}

// Note writes, in one transaction, data that may be lost with Badger's files. It
// waits for the change in progress.
func (db *DB) Note(do func(*Txn) error) error {
	return db.use(func() error {
		if err := db.checkWritable(); err != nil {
			return err
		}
		db.changes.Lock()
		defer db.changes.Unlock()
		return db.note(do)
	})
}

// noteTimeout bounds how long notes wait until tables have been examined: a table that
// cannot be read is tried again forever, and a stop waits for the notes.
const noteTimeout = 2 * time.Second

// NoteAll writes as many notes as do sets. Unlike Note, it does not wait for changes, which
// it may overwrite, and it leaves the disk's reserve to them. If it fails, some notes may
// have been written.
func (db *DB) NoteAll(do func(set func(key, value []byte) error) error) error {
	return db.use(func() error {
		if err := db.checkWritable(); err != nil {
			return err
		}
		db.measureMerges()
		if err := db.spareSpace(); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), noteTimeout)
		defer cancel()
		if err := db.roomToMerge(ctx, false); err != nil {
			return err
		}
		defer db.renewLook()
		batch := db.batch()
		defer batch.discard()
		if err := do(func(key, value []byte) error {
			db.wrote(journal.Write{Key: key, Value: value})
			return batch.set(key, value)
		}); err != nil {
			return err
		}
		return batch.flush()
	})
}

// Awaited reports whether a change or a note waits for the change in progress to end.
func (db *DB) Awaited() bool { return db.changes.awaited() }

// BetweenChanges runs do while no change is in progress.
func (db *DB) BetweenChanges(do func()) {
	db.changes.Lock()
	defer db.changes.Unlock()
	do()
}

// checkMutable returns why nothing can be changed now, or nil. The caller holds
// changes.
func (db *DB) checkMutable(ctx context.Context, urgent bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := db.halted(); err != nil {
		return err
	}
	if err := db.checkWritable(); err != nil {
		return err
	}
	db.measureMerges()
	if !urgent {
		if err := db.spareSpace(); err != nil {
			return err
		}
	}
	if err := db.journal.InPlace(); err != nil {
		return &ImmutableError{fmt.Errorf("%w: %w", ErrJournalMoved, err)}
	}
	return nil
}

// Revision returns the number of the last change. They are numbered from 1 on, and a
// new journal continues from the old one.
func (t *Turn) Revision() uint64 { return t.db.journal.End().Number }

// View reads the database, including what this turn has changed so far.
func (t *Turn) View(read func(*Txn) error) error { return t.db.view(read) }

// Update makes a change in one transaction. All that do writes is synced to the
// journal before any of it can be read.
//
// If it fails, nothing was changed, unless the error is [ErrInDoubt]: then the next Open
// finds the whole change or none of it, and no other change is made until then, not even in
// this turn: that fails with an [*ImmutableError].
func (t *Turn) Update(do func(*Txn) error) (err error) {
	db := t.db
	defer db.survive(&err)
	if err := db.halted(); err != nil {
		return err
	}
	badgerTxn := db.badger.NewTransaction(true)
	defer badgerTxn.Discard()
	txn := db.txn(badgerTxn)
	txn.madeAt, txn.writes = time.Now(), db.writes[:0]
	defer func() { db.keepWrites(txn.writes) }()
	if err := txn.result(do(txn)); err != nil || len(txn.writes) == 0 {
		return err
	}
	entry := db.journal.Next(txn.madeAt, txn.writes)
	if err := mark(txn, entry.Position); err != nil {
		return err
	}
	switch err := db.journal.Append(entry); {
	case errors.Is(err, journal.ErrBroken):
		return db.inDoubt(err)
	case errors.Is(err, syscall.ENOSPC):
		return ErrNoSpace
	case err != nil:
		return err
	}
	if err := db.commit(badgerTxn); err != nil {
		return db.inDoubt(err)
	}
	db.wrote(txn.writes...)
	db.requestSnapshot()
	return nil
}

// mostWrites bounds what is kept from one change to the next.
const mostWrites = 8192

// keepWrites keeps the slice of a change's writes for those of the next, unless it has become
// too large.
func (db *DB) keepWrites(writes []journal.Write) {
	db.writes = nil // which refers to the first writes, if they have moved to a larger slice
	if cap(writes) <= mostWrites {
		clear(writes)
		db.writes = writes[:0]
	}
}

func (db *DB) commit(txn *badger.Txn) error {
	defer db.renewLook()
	commit := txn.Commit
	if f := db.faults.Load(); f != nil && f.Commit != nil {
		commit = func() error { return f.Commit(txn.Commit) }
	}
	return db.write(commit)
}

// inDoubt stops all changes after one that may not be on disk. Badger shows a
// change before it is durable, so a client that retries would be told that it is
// done.
func (db *DB) inDoubt(err error) error {
	db.doubt = fmt.Errorf("%w: %w", ErrInDoubt, err)
	return db.doubt
}

// Note is [DB.Note] within the turn.
func (t *Turn) Note(do func(*Txn) error) error { return t.db.note(do) }

func (db *DB) note(do func(*Txn) error) (err error) {
	defer db.survive(&err)
	badgerTxn := db.badger.NewTransaction(true)
	defer badgerTxn.Discard()
	txn := db.txn(badgerTxn)
	if err := txn.result(do(txn)); err != nil {
		return err
	}
	defer db.renewLook()
	db.wrote(txn.writes...)
	return db.write(badgerTxn.Commit)
}

// SpareSpace reports whether the disk has more room than what is reserved for urgent changes.
func (t *Turn) SpareSpace() bool { return t.db.aboveReserve() == nil }
