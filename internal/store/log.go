package store

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// Log is what the gateways of a fleet commit their changes to, before any of them
// applies them. A store that follows a log is a replica: all its records come from
// [Store.Replay] and [Store.Reload].
type Log interface {
	// Commit plans a change with [Store.Plan], commits the plan, and calls applied, once,
	// when this replica has applied it, or the event of its refusal. If the change takes
	// access away, Commit also waits until no other gateway grants it any more.
	//
	// It returns as soon as ctx is done. A change that is being committed by then
	// continues, and may be applied later: the error is then [apikey.ErrFleetInDoubt].
	//
	// It fails with the error of applied, or with an error that wraps
	// [apikey.ErrStoreUnavailable].
	Commit(ctx context.Context, change apikey.Change, urgent bool, applied func(apikey.Planned) error) (apikey.Outcome, error)
	// CommitAll commits several changes that take no access away like Commit, in their order.
	// It returns the outcome or the error of each, and calls applied with its number.
	CommitAll(ctx context.Context, changes []apikey.Change, applied func(int, apikey.Planned) error) []apikey.Planned
	// Full reports whether the log has room only for changes that take access away, or
	// free space.
	Full() bool
}

// Follow makes a store that was opened with [OpenReplica] commit its changes to a log.
// Until then, it refuses all changes. Call it before the store is used.
func (s *Store) Follow(log Log) { s.changes = log }

// maxCommitted is the maximum number of records that a replica commits at a time, besides
// events.
const maxCommitted = 100

// atOnce returns how many records one transaction may write, of which most is the
// maximum for a store of its own.
func (s *Store) atOnce(most int) int {
	if s.replica {
		return min(most, maxCommitted)
	}
	return most
}

// commitToLog makes a change of a replica.
func (s *Store) commitToLog(ctx context.Context, change apikey.Change) (apikey.Outcome, error) {
	urgent := endsAccess(change.Do)
	if err := s.mayCommit(urgent || deletes(change.Do)); err != nil {
		return apikey.Outcome{}, err
	}
	outcome, err := s.changes.Commit(ctx, change, urgent, func(planned apikey.Planned) error {
		return s.committed(ctx, change, planned)
	})
	if err != nil {
		return apikey.Outcome{}, err
	}
	if err := s.view(func(txn *durable.Txn) error { return addUses(txn, usedKeys(&outcome)) }); err != nil {
		s.log.Error("could not read when a key was last used", zap.Error(err))
	}
	return outcome, nil
}

// commitAllToLog makes changes of a replica.
func (s *Store) commitAllToLog(ctx context.Context, changes []apikey.Change) ([]apikey.Planned, error) {
	if err := s.mayCommit(false); err != nil {
		return nil, err
	}
	return s.changes.CommitAll(ctx, changes, func(i int, planned apikey.Planned) error {
		return s.committed(ctx, changes[i], planned)
	}), nil
}

// mayCommit returns why the log takes no change now, or nil. Those that make room, or take
// access away, do without it.
func (s *Store) mayCommit(withoutRoom bool) error {
	switch {
	case s.changes == nil:
		return apikey.ErrStoreUnavailable
	case s.changes.Full() && !withoutRoom:
		return apikey.ErrFleetFull
	}
	return nil
}

// committed does what remains to be done once this replica has applied a change, or the
// event of its refusal.
func (s *Store) committed(ctx context.Context, change apikey.Change, planned apikey.Planned) error {
	outcome := planned.Outcome
	if s.onChange != nil && outcome.Event.ID != "" {
		s.onChange(apikey.Outcome{Event: outcome.Event, Trusted: outcome.Trusted})
	}
	if planned.Err != nil {
		return planned.Err
	}
	return s.applyLocally(context.WithoutCancel(ctx), change, outcome)
}

// deletes reports whether an action does nothing but delete what is too old.
func deletes(do apikey.Action) bool {
	w, ok := do.(work)
	return ok && w.deletes
}

// applyLocally does the part of a change that concerns this replica alone.
func (s *Store) applyLocally(ctx context.Context, change apikey.Change, outcome apikey.Outcome) error {
	var do func(*transaction) error
	switch action := change.Do.(type) {
	case apikey.TrustClock:
		if outcome.Trusted.IsZero() {
			return nil
		}
		do = func(txn *transaction) error { return saveTrust(txn, outcome.Event.ID, action) }
	case apikey.Restore:
		do = func(txn *transaction) error { return txn.Delete(restoringKey) }
	default:
		return nil
	}
	return s.writeLocally(ctx, change.At, do)
}

// writeLocally writes notes that concern this store alone.
func (s *Store) writeLocally(ctx context.Context, at time.Time, do func(*transaction) error) error {
	return s.inTurn(ctx, "", false, func(turn *durable.Turn) error { return s.write(turn, at, do) })
}

// work is a change without an event: a part of a restore, or the deletion of what is too
// old.
type work struct {
	do      func(*transaction) error
	deletes bool // what is too old, and nothing else
	// doubted is called in the same turn if it is unknown whether do was done, and may be
	// nil. A replica does what it commits in Replay.
	doubted func()
}

// deleting is work that deletes what is too old.
func deleting(do func(*transaction) error) work { return work{do: do, deletes: true} }

func (work) Operation() apikey.Operation { return "" }
func (work) Subject() (string, string)   { return "", "" }

// work does what belongs to no single change in one transaction. In a replica, its
// function may be called several times, each time on another state of the store, and only
// what the last call has written counts. after is then called in the same turn, and may be
// nil.
func (s *Store) work(ctx context.Context, at time.Time, w work, after func(*durable.Turn) error) error {
	if after == nil {
		after = func(*durable.Turn) error { return nil }
	}
	if !s.replica {
		return s.inTurn(ctx, "", false, func(turn *durable.Turn) error {
			err := s.write(turn, at, w.do)
			if isInDoubt(err) && w.doubted != nil {
				w.doubted()
			}
			if err != nil {
				return err
			}
			return after(turn)
		})
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// Not with ctx: the log would let the caller go while w.do, which shares variables
	// with it, may still be called.
	if _, err := s.commitToLog(context.WithoutCancel(ctx), apikey.Change{At: at, Do: w}); err != nil {
		return err
	}
	return s.inTurn(ctx, "", false, after)
}
