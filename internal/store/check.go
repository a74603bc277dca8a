package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable/journal"
)

// restart is the advice where the files of the store are damaged.
const restart = "Take a backup, then restart the server: it builds the files anew from the journal. Then look for what damages files on this disk."

// Check reads everything that is in the store, and what it was made from, and
// says what it has found: that it is as it should be, or what is not. Changes go
// on meanwhile, but for a moment. It takes some seconds for a hundred thousand
// keys.
func (s *Store) Check(ctx context.Context, now time.Time) (findings []apikey.Finding, err error) {
	if err := s.Ping(); err != nil {
		return nil, err
	}
	// From here on, db itself is read: to pass the gate again is to wait for a
	// Close that waits for this.
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.closed {
		return nil, apikey.ErrStoreUnavailable
	}
	changes, why := s.checkChanges()
	findings = []apikey.Finding{changes}
	checks := []contentCheck{s.checkJournal, s.checkTables, s.checkRecords}
	switch {
	case errors.Is(why, errMoved), errors.Is(why, errDoubt), errors.Is(why, errJournalMoved):
		// What the files say now is not what the process has, and no damage.
		checks = []contentCheck{s.checkRecords}
	default:
		findings = append(append(checkDirectory(s.path), s.checkSpace()), findings...)
	}
	found, err := s.checkContents(ctx, now, checks)
	return onlyOneAdvice(append(findings, found...)), err
}

// contentCheck checks one thing.
type contentCheck func(context.Context) (apikey.Finding, error)

// checkContents checks what is in the store. Whoever calls it keeps it open.
func (s *Store) checkContents(ctx context.Context, now time.Time, checks []contentCheck) (findings []apikey.Finding, err error) {
	findings = append(findings, s.checkClock(now))
	findings = append(findings, s.checkFuture(ctx, now)...)
	findings = append(findings, s.checkRestore()...)
	for _, check := range checks {
		finding, err := check(ctx)
		if err != nil {
			return nil, s.refine(err)
		}
		findings = append(findings, finding)
	}
	return findings, ctx.Err()
}

func fine(check, format string, args ...any) apikey.Finding {
	return finding(apikey.Fine, check, "", format, args)
}

func fault(check, advice, format string, args ...any) apikey.Finding {
	return finding(apikey.Fault, check, advice, format, args)
}

func warning(check, advice, format string, args ...any) apikey.Finding {
	return finding(apikey.Warning, check, advice, format, args)
}

func finding(severity apikey.Severity, check, advice, format string, args []any) apikey.Finding {
	message := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "; ") // as errors.Join has them
	return apikey.Finding{Check: check, Severity: severity, Message: message, Advice: advice}
}

// spaceWarning is how many times what a write needs is to be free.
const spaceWarning = 8

func (s *Store) checkSpace() apikey.Finding {
	const check = "space"
	free, err := freeBytes(s.path)
	switch {
	case err != nil:
		return warning(check, "", "How much room is left on the disk cannot be told: %v.", err)
	case free < s.minFree:
		return fault(check, "Make room on the disk: every change is refused until then.", "The disk has %d MiB left, and a change may need %d MiB.", free>>20, s.minFree>>20)
	case free < s.minFree+s.reserve:
		return fault(check, "Make room on the disk: until then keys can be revoked and workspaces suspended, and every other change is refused.",
			"The disk has %d MiB left. The last %d MiB before %d MiB are kept for revoking and suspending.", free>>20, s.reserve>>20, s.minFree>>20)
	case free < spaceWarning*s.minFree:
		return warning(check, "Make room on the disk.", "The disk has %d MiB left. With less than %d MiB, only revoking and suspending is possible.", free>>20, (s.minFree+s.reserve)>>20)
	}
	return fine(check, "The disk has %d MiB left.", free>>20)
}

// checkRestore says that a restore has not come to its end.
func (s *Store) checkRestore() (findings []apikey.Finding) {
	var r restoring
	if err := s.db.View(func(txn *badger.Txn) (err error) { r, err = restoringNow(txn); return err }); err != nil {
		return []apikey.Finding{fault("restore", restart, "Whether a restore has come to its end cannot be read: %v.", err)}
	}
	if r.MadeAt != 0 {
		findings = append(findings, fault("restore", "Restore that backup again: what is there already stays as it is.",
			"A restore of the backup of %s was begun, and has not come to its end: keys are missing.", r.MadeAt.time().Format(time.RFC3339)))
	}
	return findings
}

// checkChanges says whether changes are being made.
func (s *Store) checkChanges() (f apikey.Finding, why error) {
	const check = "changes"
	s.changes.Lock()
	defer s.changes.Unlock()
	switch why = s.mayChange(context.Background(), true); {
	case errors.Is(why, errDoubt):
		f = fault(check, "Take a backup. See the log for what went wrong with the disk, and restart the server. Then look whether the last change was made: a new key of which nobody has the token is to be revoked.",
			"No change is made: the disk did not take the last one. Until a restart it is not known whether it was made; the files are not checked before.")
	case errors.Is(why, errMoved):
		f = fault(check, "Take a backup now: the server still has every key. Then move the directory back to where it was, which needs no restart. If it is lost, stop the server, restore the backup into an empty directory, and start it.",
			"No change is made: the store's directory was removed, moved or replaced.")
	case errors.Is(why, errJournalMoved):
		f = fault(check, "Take a backup now: the server still has every key, and would not start again. Then move the journal's files back, which needs no restart. If they are lost, stop the server, restore the backup into an empty directory, and start it.",
			"No change is made: a file of the journal was removed or replaced.")
	case why != nil && !errors.Is(why, apikey.ErrNoSpace): // which checkSpace says
		f = fault(check, adviceOn(why), "No change is made: %v.", why)
	default:
		f = fine(check, "Changes are made.")
	}
	return f, why
}

func (s *Store) checkJournal(ctx context.Context) (apikey.Finding, error) {
	const check = "journal"
	j, err := s.readJournal()
	if err == nil {
		defer j.txn.Discard()
		defer j.snapshot.Close()
		err = s.holdAgainst(ctx, j)
	}
	switch {
	case ctx.Err() != nil:
		return apikey.Finding{}, ctx.Err()
	case errors.Is(err, errDiffers):
		return fault(check, "Take a backup. Then stop the server, move the files of Badger away, and start it: it builds them anew from the journal.", "%v.", err), nil
	case errors.Is(err, errSnapshot):
		return fault(check, "Take a backup, then restart the server: it makes another snapshot. Then look for what damages files on this disk.", "%v.", err), nil
	case passing(err):
		return fault(check, adviceOn(err), "It cannot be read: %v.", err), nil
	case err != nil:
		return fault(check, rescue, "%v.", err), nil
	case j.has.position != j.end:
		return fault(check, restart, "The store has the changes up to %d, and the journal those up to %d.", j.has.position.Number, j.end.Number), nil
	}
	begin := "the first change"
	if j.base.Number > 0 {
		begin = fmt.Sprintf("its snapshot at change %d", j.base.Number)
	}
	return fine(check, "The journal is whole, from %s to change %d, and the store has all of it.", begin, j.end.Number), nil
}

// journalRead is what a journal and its store hold at one time.
type journalRead struct {
	txn       *badger.Txn
	snapshot  *journal.Snapshot
	tail      *journal.Tail
	has       marks
	end, base journal.Position
}

// readJournal reads the journal but for its snapshot, which takes long.
func (s *Store) readJournal() (j journalRead, err error) {
	s.changes.Lock()
	defer s.changes.Unlock()
	j.end, j.base = s.journal.End(), s.journal.Base()
	if j.tail, err = s.journal.Verify(); err != nil {
		return j, err
	}
	if j.has, err = s.marks(); err != nil {
		return j, err
	}
	if j.snapshot, err = s.journal.OpenSnapshot(); err != nil {
		return j, err
	}
	j.txn = s.db.NewTransaction(false)
	return j, nil
}

var (
	errDiffers  = errors.New("the store does not hold what its journal does")
	errSnapshot = errors.New("the journal's snapshot cannot be read")
)

// holdAgainst holds every record against the journal.
func (s *Store) holdAgainst(ctx context.Context, j journalRead) error {
	missing, err := missingIn(j.txn, j.tail.InOrder())
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("%w: %d records are missing or differ", errDiffers, len(missing))
	}
	if err != nil {
		return err
	}
	records := newCursor(j.txn, nil) // a snapshot is in the order of the keys
	defer records.close()
	pacer := s.pacer(ctx)
	err = j.snapshot.Read(func(key, value []byte) error {
		if err := pacer.step(); err != nil {
			return err
		}
		if _, later := j.tail.Writes[string(key)]; later || isNote(key) {
			return nil
		}
		there, err := holds(records.at(key), value)
		if err == nil && !there {
			err = fmt.Errorf("%w: a record of its snapshot is missing or differs", errDiffers)
		}
		return err
	})
	if damage, ok := errors.AsType[*journal.Damage](err); ok {
		return fmt.Errorf("%w: %w", errSnapshot, damage)
	}
	return err
}

// isNote reports whether a record is changed without the journal.
func isNote(key []byte) bool {
	switch string(key[:min(2, len(key))]) {
	case "u/", "v/", "m/":
		return true
	}
	return false
}

func (s *Store) checkRecords(ctx context.Context) (finding apikey.Finding, err error) {
	const check = "records"
	var c *checker
	err = s.db.View(func(txn *badger.Txn) error {
		c = &checker{ctx: ctx, txn: txn, pacer: s.pacer(ctx), sums: newIndexSums()}
		if err := c.all(); err != nil || c.sums.agree() {
			return err
		}
		c = &checker{ctx: ctx, txn: txn, pacer: s.pacer(ctx)} // to say what differs
		err := c.all()
		if c.wrong.n == 0 {
			c.say("an index does not hold what follows from the records")
		}
		return err
	})
	switch {
	case err != nil:
		return finding, err
	case c.foreign.n > 0:
		return fault(check, "Restore a backup from before they came into an empty directory, in quarantine. A backup of this store is not restored, for they would be in it.",
			"%d records are not what any call leaves behind, as after the restore of a backup that somebody else has written: %s.", c.foreign.n, c.foreign.first), nil
	case c.wrong.n > 0:
		return fault(check, "Take a backup and restore it into an empty directory: indexes and counts are made anew. Please report this.",
			"%d records do not agree with each other, the first of them: %s.", c.wrong.n, c.wrong.first), nil
	}
	return fine(check, "The records of %d keys, their indexes and counts, and %d events agree with each other.", c.keys, c.events), nil
}
