package store

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// Apply makes one change: its records, indexes and audit event, in one transaction that
// is on disk when Apply returns. By then, the function that was given to Open has been
// told of it. (Only a change that ends very many keys takes several transactions, each
// with its own event.)
//
// It fails with an [*apikey.Error]: a refusal, which leaves nothing but its own event
// in the audit trail; ErrNoSpace, after which nothing was changed either; or
// ErrStoreUnavailable, after which it is unknown whether anything was changed: then all
// later changes fail too, until the store is reopened.
func (s *Store) Apply(ctx context.Context, change apikey.Change) (apikey.Outcome, error) {
	if change.Do == nil {
		return apikey.Outcome{}, s.wrapInternal(errors.New("a change without an action"))
	}
	outcome, err := s.applyInTurn(ctx, change)
	for last := outcome; err == nil && last.Unfinished; {
		// There are more keys than fit into one transaction. Each transaction has its
		// own event, and other changes can be made in between. If one fails, what the
		// earlier ones revoked stays revoked.
		last, err = s.applyInTurn(ctx, change)
		outcome.Revoked += last.Revoked
		outcome.Trusted, outcome.Propagation = last.Trusted, last.Propagation
		outcome.Stale, outcome.Ended = append(outcome.Stale, last.Stale...), append(outcome.Ended, last.Ended...)
	}
	return outcome, err
}

// applyInTurn makes a change when it is its workspace's turn.
func (s *Store) applyInTurn(ctx context.Context, change apikey.Change) (outcome apikey.Outcome, err error) {
	if s.replica {
		return s.commitToLog(ctx, change)
	}
	ws, _ := change.Do.Subject()
	if canJoin(change.Do) {
		return s.applyTogether(ctx, ws, change)
	}
	err = s.inTurn(ctx, ws, endsAccess(change.Do), func(turn *durable.Turn) error {
		change.EventID = s.inOrder(change)
		outcome, err = s.commit(turn, change)
		return err
	})
	return outcome, err
}

// endsAccess reports whether an action takes access away. Such actions take precedence,
// and may use the reserved disk space.
func endsAccess(do apikey.Action) bool {
	switch do := do.(type) {
	case apikey.Leak:
		return do.Revoke
	case apikey.Revoke, apikey.RevokeAll, apikey.Suspend, apikey.PutBack:
		return true
	}
	return false
}

// inOrder returns the id for the event of a change that is about to be made: its own,
// or a new one if a change whose id is later was made first. So events are in the order
// of their changes, and clients that continue from the newest event they know miss
// none.
func (s *Store) inOrder(change apikey.Change) string {
	id := change.EventID
	if id <= s.lastEvent {
		id = apikey.NewEventID(change.At)
	}
	s.lastEvent = id
	return id
}

// commit makes a change in one transaction and reports it.
func (s *Store) commit(turn *durable.Turn, change apikey.Change) (outcome apikey.Outcome, err error) {
	err = s.write(turn, change.At, func(txn *transaction) (err error) {
		outcome, err = apply(txn, change)
		return err
	})
	if isInDoubt(err) {
		return apikey.Outcome{}, s.distrust(err, change, outcome)
	}
	if refusal, ok := errors.AsType[*apikey.Error](err); ok {
		if !change.Unrecorded && turn.SpareSpace() {
			s.recordRefusal(turn, change, refusal)
		}
		return apikey.Outcome{}, refusal
	}
	if err != nil {
		return apikey.Outcome{}, err
	}
	s.addUses(turn, usedKeys(&outcome))
	s.report(turn, &outcome)
	return outcome, nil
}

// report tells the authenticator of a change that was made, and completes its outcome.
func (s *Store) report(turn *durable.Turn, outcome *apikey.Outcome) {
	if s.onChange != nil && outcome.Event.ID != "" {
		s.onChange(*outcome)
	}
	// The one gateway that serves from this store has just been told.
	outcome.Propagation = apikey.Propagation{Confirmed: true, Revision: turn.Revision(), Gateways: 1}
}

// addUses adds when the keys of changes were used. It reads that after their own
// transaction, so that it is the latest.
func (s *Store) addUses(turn *durable.Turn, keys []*apikey.Key) {
	if len(keys) == 0 {
		return
	}
	if err := turn.View(func(txn *durable.Txn) error { return addUses(txn, keys) }); err != nil {
		s.log.Error("could not read when a key was last used", zap.Error(err))
	}
}

// distrust reports that it is unknown whether a change was made. What it was meant to
// end is refused from now on in either case.
func (s *Store) distrust(err error, change apikey.Change, outcome apikey.Outcome) error {
	s.log.Error("a change may or may not have been made: restart the server, then check", zap.String("path", s.Path()),
		zap.String("operation", string(change.Do.Operation())), zap.String("workspace_id", outcome.Event.WorkspaceID),
		zap.String("key_id", outcome.Key.ID), zap.Error(durable.Advise(err)))
	s.refuse(outcome)
	return &failure{path: s.Path(), cause: err, answer: apikey.InDoubt(withoutToken(change.Do, outcome))}
}

// withoutToken returns the id of the key whose token nobody has seen, if the action
// creates one.
func withoutToken(action apikey.Action, outcome apikey.Outcome) string {
	switch action.(type) {
	case apikey.Create, apikey.Rotate:
		return outcome.Key.ID
	}
	return ""
}

// apply is the only place where actions change records.
func apply(txn *transaction, change apikey.Change) (outcome apikey.Outcome, err error) {
	switch do := change.Do.(type) {
	case apikey.Create:
		outcome, err = create(txn, change, do)
	case apikey.Import:
		outcome, err = importKey(txn, change, do)
	case apikey.Update:
		outcome, err = update(txn, change, do)
	case apikey.Rotate:
		outcome, err = rotate(txn, change, do)
	case apikey.Revoke:
		outcome, err = revoke(txn, change, do)
	case apikey.RevokeAll:
		outcome, err = revokeAll(txn, change, do)
	case apikey.Suspend:
		outcome, err = suspend(txn, change, do)
	case apikey.Resume:
		outcome, err = resume(txn, change, do)
	case apikey.Lookup:
		outcome, err = ownerOf(txn, do)
	case apikey.Expose:
		outcome, err = expose(txn, change, do)
	case apikey.Leak:
		outcome, err = leak(txn, change, do)
	case apikey.OpenFeed:
		outcome, err = openFeed(txn, change, do)
	case apikey.CloseFeed:
		outcome, err = closeFeed(txn, change, do)
	case apikey.TrustClock:
		outcome, err = trustClock(txn, change, do)
	case apikey.PutBack:
		outcome, err = putBack(txn, change, do)
	case work:
		return apikey.Outcome{Unchanged: true}, do.do(txn)
	case apikey.Backup:
	case apikey.Restore:
		outcome.Event.Details = do.Restored.Details()
		err = txn.Delete(restoringKey)
	default:
		err = fmt.Errorf("unknown change %T", do)
	}
	if err != nil || outcome.Unchanged {
		return outcome, err
	}
	outcome.Event = eventOf(change, outcome.Event)
	return outcome, putEvent(txn, toEventRecord(outcome.Event))
}

// eventOf completes the event of a change with who made it, when, and about what: the
// key that the event already names, or else the subject of the action.
func eventOf(change apikey.Change, event apikey.Event) apikey.Event {
	event.ID, event.At, event.Actor, event.RemoteIP = change.EventID, change.At, change.Actor, change.RemoteIP
	event.Operation = change.Do.Operation()
	if event.KeyID == "" {
		event.WorkspaceID, event.KeyID = change.Do.Subject()
	}
	return event
}

// about begins the event of a change to one key.
func about(key *apikey.Key, details map[string]any) apikey.Event {
	return apikey.Event{WorkspaceID: key.WorkspaceID, KeyID: key.ID, Details: details}
}

// recordRefusal records that a change was requested and refused. The refusal stands
// whether or not it can be recorded.
func (s *Store) recordRefusal(turn *durable.Turn, change apikey.Change, refusal *apikey.Error) {
	event := refusalEvent(change, refusal)
	if err := s.write(turn, event.At, func(txn *transaction) error { return putEvent(txn, toEventRecord(event)) }); err != nil {
		s.log.Error("could not record a refused change", zap.String("operation", string(event.Operation)), zap.Error(err))
		return
	}
	if s.onChange != nil {
		s.onChange(apikey.Outcome{Event: event})
	}
}

// refusalEvent returns the event of a change that was refused.
func refusalEvent(change apikey.Change, refusal *apikey.Error) apikey.Event {
	event := eventOf(change, apikey.Event{Details: wanted(change.Do)})
	event.Details["refused"] = refusal.Code
	// An invalid id is text from the caller, which may be a token in the wrong place.
	if !apikey.ValidKeyID(event.KeyID) {
		event.KeyID = ""
	}
	if apikey.ValidateWorkspaceID(event.WorkspaceID) != nil {
		event.WorkspaceID = ""
	}
	return event
}

// wanted returns what a refused change was meant to do, apart from its subject.
func wanted(action apikey.Action) map[string]any {
	name := ""
	switch do := action.(type) {
	case apikey.Create:
		name = do.Key.Name
	case apikey.Import:
		name = do.Key.Name
	case apikey.Rotate:
		name = do.Replacement.Name
	case apikey.Update:
		if do.Name != nil {
			name = *do.Name
		}
	}
	if name == "" {
		return map[string]any{}
	}
	return map[string]any{"name": name}
}
