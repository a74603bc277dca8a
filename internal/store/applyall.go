package store

import (
	"context"
	"errors"
	"slices"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// ApplyAll makes changes that do nothing but add keys like [Store.Apply], in their order and
// in one transaction; those of a fleet in as few as it can. Each has its own event and its
// own result: one that is refused does not affect the others. If ApplyAll itself fails, the
// error is that of all changes.
func (s *Store) ApplyAll(ctx context.Context, changes []apikey.Change) (results []apikey.Planned, err error) {
	if s.replica {
		return s.commitAllToLog(ctx, changes)
	}
	err = s.inTurn(ctx, "", false, func(turn *durable.Turn) error {
		results, err = s.commitAll(turn, changes)
		return err
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

// commitAll makes changes in one transaction and reports them.
func (s *Store) commitAll(turn *durable.Turn, changes []apikey.Change) ([]apikey.Planned, error) {
	results, err := s.writeAll(turn, changes)
	if isInDoubt(err) {
		return nil, s.distrust(err, changes[0], apikey.Outcome{})
	}
	if err != nil {
		return nil, err
	}
	for i := range results {
		s.report(turn, &results[i].Outcome)
	}
	return results, nil
}

// writeAll makes changes in one transaction, and reports none. If it fails, none was made,
// unless the error is ErrInDoubt.
func (s *Store) writeAll(turn *durable.Turn, changes []apikey.Change) (results []apikey.Planned, err error) {
	latest := slices.MaxFunc(changes, func(a, b apikey.Change) int { return a.At.Compare(b.At) }).At
	err = s.write(turn, latest, func(txn *transaction) error {
		if err := txn.pinClock(); err != nil {
			return err
		}
		results = make([]apikey.Planned, 0, len(changes))
		for _, change := range changes {
			change.EventID = s.inOrder(change)
			result, err := applyOne(txn, change)
			if err != nil {
				return err
			}
			results = append(results, result)
		}
		return nil
	})
	return results, err
}

// applyOne makes one of several changes of a transaction. A refusal is a result; any other
// error may have left something in the transaction.
func applyOne(txn *transaction, change apikey.Change) (apikey.Planned, error) {
	outcome, err := apply(txn, change)
	refusal, refused := errors.AsType[*apikey.Error](err)
	switch {
	case !refused:
		return apikey.Planned{Outcome: outcome}, err
	case change.Unrecorded:
		return apikey.Planned{Err: refusal}, nil
	}
	event := refusalEvent(change, refusal)
	return apikey.Planned{Outcome: apikey.Outcome{Event: event}, Err: refusal}, putEvent(txn, toEventRecord(event))
}
