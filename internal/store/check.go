package store

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/doctor"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// Check reads everything in the store, and the files that it is made of, and reports
// what it finds. Changes are only held up for a moment. It takes a few seconds per
// hundred thousand keys.
func (s *Store) Check(ctx context.Context, now time.Time) ([]doctor.Finding, error) {
	if err := s.Ping(); err != nil {
		return nil, err
	}
	changes, why := s.db.CheckChanges()
	findings := []doctor.Finding{changes}
	checks := s.contentChecks()
	switch {
	case errors.Is(why, durable.ErrMoved), errors.Is(why, durable.ErrInDoubt), errors.Is(why, durable.ErrFailed), errors.Is(why, durable.ErrJournalMoved):
		// The files are no longer those that the process has open, so what they contain is
		// not damage.
		checks = []contentCheck{s.checkRecords}
	default:
		findings = append(s.db.CheckSurroundings(), findings...)
	}
	found, err := s.checkContents(ctx, now, checks)
	if err != nil {
		return nil, s.wrapInternal(err)
	}
	return onlyOneAdvice(append(findings, found...)), nil
}

// Examine checks a closed store, and keeps other processes from opening it in the
// meantime. It changes nothing: see [durable.Examine].
func Examine(ctx context.Context, path string, now time.Time) ([]doctor.Finding, error) {
	log := zap.NewNop()
	return durable.Examine(ctx, databaseOptions(path, log), func(ctx context.Context, db *durable.DB) ([]doctor.Finding, error) {
		s := newStore(db, log, nil)
		return s.checkContents(ctx, now, s.contentChecks())
	})
}

// NewJournal starts a new journal with the contents of a closed store, and returns the
// path of the old one: see [durable.NewJournal].
func NewJournal(path string, now time.Time) (kept string, err error) {
	return durable.NewJournal(databaseOptions(path, zap.NewNop()), now)
}

// contentCheck checks one thing.
type contentCheck func(context.Context) (doctor.Finding, error)

func (s *Store) contentChecks() []contentCheck {
	return []contentCheck{s.db.CheckJournal, s.db.CheckTables, s.checkRecords}
}

// checkContents checks the contents of the store.
func (s *Store) checkContents(ctx context.Context, now time.Time, checks []contentCheck) (findings []doctor.Finding, err error) {
	findings = append(findings, s.checkClock(now))
	findings = append(findings, s.checkFuture(ctx, now)...)
	findings = append(findings, s.checkRestore()...)
	for _, check := range checks {
		finding, err := check(ctx)
		if err != nil {
			return nil, err
		}
		findings = append(findings, finding)
	}
	return findings, ctx.Err()
}

// checkRestore reports a restore that has not finished.
func (s *Store) checkRestore() (findings []doctor.Finding) {
	var r restoring
	if err := s.view(func(txn *durable.Txn) (err error) { r, err = restoringNow(txn); return err }); err != nil {
		return []doctor.Finding{doctor.Faultf("restore", durable.AdviceRestart, "It cannot be determined whether a restore is incomplete: %v.", err)}
	}
	if r.MadeAt != 0 {
		findings = append(findings, doctor.Faultf("restore", "Restore that backup again: keys that are already there stay as they are.",
			"A restore of the backup of %s was started but did not finish: keys are missing.", r.MadeAt.time().Format(time.RFC3339)))
	}
	return findings
}

func (s *Store) checkRecords(ctx context.Context) (finding doctor.Finding, err error) {
	const check = "records"
	var v *verifier
	err = s.view(func(txn *durable.Txn) error {
		v = &verifier{ctx: ctx, txn: txn, pacer: s.db.Pacer(ctx), sums: newIndexSums()}
		if err := v.all(); err != nil || v.sums.agree() {
			return err
		}
		v = &verifier{ctx: ctx, txn: txn, pacer: s.db.Pacer(ctx)} // to find out what differs
		err := v.all()
		if v.wrong.n == 0 {
			v.say("an index does not match the records")
		}
		return err
	})
	switch {
	case err != nil:
		return finding, err
	case v.foreign.n > 0:
		return doctor.Faultf(check, "Restore a backup from before these records appeared into an empty directory, in quarantine. A backup of this store cannot be restored, because it would contain them.",
			"%d records could not have been created by any API call, and may come from a forged backup. The first: %s.", v.foreign.n, v.foreign.first), nil
	case v.wrong.n > 0:
		return doctor.Faultf(check, "Take a backup and restore it into an empty directory, which rebuilds indexes and counts. Please report this.",
			"%d records contradict each other, starting with: %s.", v.wrong.n, v.wrong.first), nil
	}
	return doctor.Finef(check, "The records of %d keys, their indexes and counts, and %d events are consistent.", v.keys, v.events), nil
}
