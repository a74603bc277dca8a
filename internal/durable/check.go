package durable

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/agiled/caddy-api-keys/internal/doctor"
	"github.com/agiled/caddy-api-keys/internal/durable/journal"
)

// CheckChanges reports whether changes can be made, and if not, why.
func (db *DB) CheckChanges() (f doctor.Finding, why error) {
	why = db.use(func() error {
		db.changes.Lock()
		defer db.changes.Unlock()
		return db.checkMutable(context.Background(), true)
	})
	const check = "changes"
	switch {
	case errors.Is(why, ErrInDoubt):
		f = doctor.Faultf(check, "Take a backup. Find the disk error in the server's log, and restart the server. Then check whether the last change was made: revoke a new key whose token nobody received.",
			"No changes are made: the last one could not be written to disk. Whether it was made can be determined only after a restart, and the files are not checked until then.")
	case errors.Is(why, ErrFailed):
		f = doctor.Faultf(check, "Find the error in the server's log, mend its cause, and restart the server, which restores what was acknowledged.",
			"No changes are made: the store's files could not be written.")
	case errors.Is(why, ErrMoved):
		f = doctor.Faultf(check, "Take a backup now: the server still has every key. Then move the directory back to where it was, which needs no restart. If it is lost, stop the server, restore the backup into an empty directory, and start it.",
			"No changes are made: the store's directory was removed, moved or replaced.")
	case errors.Is(why, ErrJournalMoved):
		f = doctor.Faultf(check, "Take a backup now: the server still has every key, and would not start again. Then move the journal's files back, which needs no restart. If they are lost, stop the server, restore the backup into an empty directory, and start it.",
			"No changes are made: a file of the journal was removed or replaced.")
	case why != nil && !errors.Is(why, ErrNoSpace): // CheckSpace reports that
		f = doctor.Faultf(check, adviceSentence(why), "No changes are made: %v.", why)
	default:
		f = doctor.Finef(check, "Changes can be made.")
	}
	return f, why
}

// CheckSurroundings checks the directory and its disk.
func (db *DB) CheckSurroundings() []doctor.Finding {
	return append(checkDirectory(db.path), db.CheckSpace())
}

// CheckJournal reads the journal, and compares the database with it.
func (db *DB) CheckJournal(ctx context.Context) (f doctor.Finding, err error) {
	err = db.use(func() error {
		f, err = db.checkJournal(ctx)
		return err
	})
	return f, err
}

func (db *DB) checkJournal(ctx context.Context) (f doctor.Finding, err error) {
	defer db.survive(&err)
	const check = "journal"
	j, err := db.readJournal()
	if err == nil {
		err = db.compareWithJournal(j, db.Pacer(ctx))
	}
	switch {
	case ctx.Err() != nil:
		return doctor.Finding{}, ctx.Err()
	case errors.Is(err, errDiffers):
		return doctor.Faultf(check, "Take a backup. Then stop the server, move Badger's files away, and start it: it rebuilds them from the journal.", "%v.", err), nil
	case errors.Is(err, errSnapshot):
		return doctor.Faultf(check, "Take a backup, then restart the server: it makes a new snapshot. Then find out what damages files on this disk.", "%v.", err), nil
	case isTransient(err):
		return doctor.Faultf(check, adviceSentence(err), "The journal cannot be read: %v.", err), nil
	case err != nil:
		return doctor.Faultf(check, AdviceRescue, "%v.", err), nil
	case j.stored.position != j.end:
		return doctor.Faultf(check, AdviceRestart, "The store ends at change %d, but the journal at change %d.", j.stored.position.Number, j.end.Number), nil
	}
	begin := "the first change"
	if j.base.Number > 0 {
		begin = fmt.Sprintf("its snapshot at change %d", j.base.Number)
	}
	return doctor.Finef(check, "The journal is intact, from %s to change %d, and the store matches it.", begin, j.end.Number), nil
}

// journalRead is the contents of the journal and the database at one moment.
type journalRead struct {
	txn       *Txn
	snapshot  *journal.Snapshot
	tail      *journal.Tail
	stored    marks
	end, base journal.Position
}

// readJournal reads the journal, except for its snapshot, which takes longer.
func (db *DB) readJournal() (journalRead, error) {
	db.changes.Lock()
	defer db.changes.Unlock()
	return db.readJournalNow()
}

// readUnfailed is readJournal, unless a change has failed: what is missing in the database
// then is no surprise.
func (db *DB) readUnfailed() (journalRead, error) {
	db.changes.Lock()
	defer db.changes.Unlock()
	if err := db.halted(); err != nil {
		return journalRead{}, err
	}
	return db.readJournalNow()
}

// readJournalNow is readJournal for a caller that holds changes.
func (db *DB) readJournalNow() (j journalRead, err error) {
	j.end, j.base = db.journal.End(), db.journal.Base()
	if j.tail, err = db.journal.Verify(); err != nil {
		return j, err
	}
	if j.stored, err = db.marks(); err != nil {
		return j, err
	}
	if j.snapshot, err = db.journal.OpenSnapshot(); err != nil {
		return j, err
	}
	j.txn = db.txn(db.badger.NewTransaction(false))
	return j, nil
}

var (
	errDiffers  = errors.New("the store does not match its journal")
	errSnapshot = errors.New("the journal's snapshot cannot be read")
)

// compareWithJournal compares every record with the journal, which it closes.
func (db *DB) compareWithJournal(j journalRead, pacer *Pacer) error {
	defer j.txn.badger.Discard()
	defer j.snapshot.Close()
	missing, err := missingIn(j.txn, j.tail.InOrder())
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("%w: %d records are missing or differ", errDiffers, len(missing))
	}
	if err == nil {
		err = db.compareWithSnapshot(j, pacer)
	}
	if damage, ok := errors.AsType[*journal.Damage](err); ok {
		err = fmt.Errorf("%w: %w", errSnapshot, damage)
	}
	return j.txn.result(err)
}

// compareWithSnapshot compares the records that have not changed since the journal's
// snapshot. Both are sorted by key.
func (db *DB) compareWithSnapshot(j journalRead, pacer *Pacer) error {
	unchanged := func(key []byte) bool {
		_, later := j.tail.Writes[string(key)]
		return !later && !db.isNote(key)
	}
	next, stop := iter.Pull2(j.txn.Below(nil))
	defer stop()
	found, value, more := next()
	step := func() { found, value, more = next() }
	skip := func() {
		for more && !unchanged(found) {
			step()
		}
	}
	skip()
	err := j.snapshot.Read(func(key, want []byte) error {
		if err := pacer.Step(); err != nil {
			return err
		}
		if !unchanged(key) {
			return nil
		}
		if !more || !bytes.Equal(found, key) || !bytes.Equal(value, want) {
			return fmt.Errorf("%w: a record of its snapshot is missing or differs, or one is back that was deleted", errDiffers)
		}
		step()
		skip()
		return nil
	})
	if err == nil && more {
		err = fmt.Errorf("%w: a record is back that was deleted", errDiffers)
	}
	return err
}
