package store

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// Changes that wait at the same time are made in one transaction, with an event for each:
// what they cost is mostly the syncs to the disk, which they then share.

// canJoin reports whether a change of this kind can be made in one transaction with others:
// it writes a few records, and does not set the clock.
func canJoin(do apikey.Action) bool {
	switch do.(type) {
	case apikey.Create, apikey.Update, apikey.Rotate, apikey.Revoke, apikey.Suspend, apikey.Resume, apikey.Lookup, apikey.Expose, apikey.Leak:
		return true
	}
	return false
}

// grouped is a change that is made alone or together with others, and its result: an error,
// unless it was made.
type grouped struct {
	change  apikey.Change
	outcome apikey.Outcome
	err     error
}

var errNotMade = errors.New("a change that was to be made together with others was not made")

// applyTogether makes a change, maybe together with others.
func (s *Store) applyTogether(ctx context.Context, workspaceID string, change apikey.Change) (apikey.Outcome, error) {
	own := &grouped{change: change, err: errNotMade}
	err := s.db.ChangeTogether(ctx, workspaceID, endsAccess(change.Do), own, func(turn *durable.Turn, changes []any) error {
		group := make([]*grouped, len(changes))
		for i, one := range changes {
			group[i] = one.(*grouped)
		}
		s.commitTogether(turn, group)
		return nil
	})
	if err == nil {
		err = own.err
	}
	if err != nil {
		return apikey.Outcome{}, s.wrapInternal(err)
	}
	return own.outcome, nil
}

// commitTogether makes changes in one transaction, or, if that cannot be, each in its own.
func (s *Store) commitTogether(turn *durable.Turn, group []*grouped) {
	if len(group) > 1 && s.commitGroup(turn, group) {
		return
	}
	for _, one := range group {
		one.change.EventID = s.inOrder(one.change)
		one.outcome, one.err = s.commit(turn, one.change)
	}
}

// commitGroup makes changes in one transaction and reports them. It returns false if none of
// them was made.
func (s *Store) commitGroup(turn *durable.Turn, group []*grouped) bool {
	changes := make([]apikey.Change, len(group))
	for i, one := range group {
		changes[i] = one.change
	}
	results, err := s.writeAll(turn, changes)
	if isInDoubt(err) {
		for i, one := range group {
			one.err = s.distrust(err, one.change, results[i].Outcome)
		}
		return true
	}
	if err != nil {
		s.log.Warn("changes could not be made in one transaction: each is made in its own", zap.Int("changes", len(group)), zap.Error(err))
		return false
	}
	var used []*apikey.Key
	for i := range results {
		used = append(used, usedKeys(&results[i].Outcome)...)
	}
	s.addUses(turn, used)
	for i, one := range group {
		s.report(turn, &results[i].Outcome)
		one.outcome, one.err = results[i].Outcome, results[i].Err
	}
	return true
}
