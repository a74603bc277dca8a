package store

import (
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// refusals say whether anything is refused because of a change in doubt, and in which
// workspaces everything is.
type refusals struct {
	mu         sync.Mutex
	any        bool
	workspaces map[string]struct{}
}

// add notes what is refused.
func (r *refusals) add(outcome *apikey.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.any = true
	if !outcome.Workspace.Suspended() {
		return
	}
	if r.workspaces == nil {
		r.workspaces = make(map[string]struct{})
	}
	r.workspaces[outcome.Workspace.ID] = struct{}{}
}

func (r *refusals) has(workspaceID string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, refused := r.workspaces[workspaceID]
	return refused
}

// refuse has what a change in doubt was meant to end refused.
func (s *Store) refuse(outcome apikey.Outcome) {
	if !outcome.Replaced.RevokesAt.IsZero() {
		outcome.Ending = append(outcome.Ending, laterEnd(&outcome.Replaced))
	}
	if s.onChange != nil && (len(outcome.Ended)+len(outcome.Ending) > 0 || outcome.Workspace.Suspended()) {
		s.refusals.add(&outcome)
		s.onChange(apikey.Outcome{Stale: outcome.Stale, Ended: outcome.Ended, Ending: outcome.Ending, Workspace: outcome.Workspace, InDoubt: true})
	}
}

// Settle ends what Refuse has begun. It is called when the replica has all that the fleet has.
// If it lacks some of these events all the same, Settle returns those, and ends nothing. Unless
// lost says that they have been lacking before, those from before the oldest event that it has
// are not lacking, but forgotten: all that came with them is there.
func (s *Store) Settle(events []string, lost bool) (lacks []string, err error) {
	s.refusals.mu.Lock()
	defer s.refusals.mu.Unlock()
	if !s.refusals.any {
		return nil, nil
	}
	var now []apikey.Workspace
	if err := s.view(func(txn *durable.Txn) error {
		oldest := ""
		if !lost {
			oldest = oldestEvent(txn)
		}
		if lacks, err = lackedOf(events, oldest, txn); err != nil || len(lacks) > 0 {
			return err
		}
		for id := range s.refusals.workspaces {
			ws, err := workspaceByID(txn, id)
			if err != nil {
				return err
			}
			now = append(now, ws)
		}
		return nil
	}); err != nil || len(lacks) > 0 {
		return lacks, err
	}
	s.refusals.any, s.refusals.workspaces = false, nil
	s.onChange(apikey.Outcome{Settled: true, Unchanged: true})
	for _, ws := range now {
		s.onChange(apikey.Outcome{Workspace: ws, Unchanged: true})
	}
	return nil, nil
}

// lackedOf returns those of some events that the store does not have, except older ones than
// the oldest.
func lackedOf(events []string, oldest string, txn reader) (lacks []string, err error) {
	for _, id := range events {
		switch _, err := txn.Get(eventKey(id)); {
		case err == nil || id == "":
		case !errors.Is(err, durable.ErrNotFound):
			return nil, err
		case id > oldest:
			lacks = append(lacks, id)
		}
	}
	return lacks, nil
}

// oldestEvent returns the id of the oldest event, "" if there is none: then none was
// forgotten, because the newest never is.
func oldestEvent(txn reader) string {
	for key := range txn.Below(eventKey("")) {
		return string(key[len(eventKey("")):])
	}
	return ""
}

func laterEnd(key *apikey.Key) apikey.Ending {
	return apikey.Ending{Digest: key.Digest, At: apikey.InstantOf(key.ActiveUntil())}
}

// Refuse has what records of the fleet end or delete refused until Settle is called. It is for
// records that could not be applied, or that follow those.
func (s *Store) Refuse(list []apikey.Record) {
	var out apikey.Outcome
	now := time.Now()
	for _, record := range list {
		key, ws, err := s.endedBy(record)
		if err != nil {
			s.log.Error("could not find out what a change that cannot be applied takes away", zap.Error(err))
		}
		if key != nil {
			out.Stale = append(out.Stale, key.Digest)
			if record.Value == nil || key.Status(now) != apikey.Active {
				out.Ended = append(out.Ended, key.Digest)
			} else {
				out.Ending = append(out.Ending, laterEnd(key))
			}
		}
		s.refuse(apikey.Outcome{Workspace: ws})
	}
	s.refuse(out)
}

// endedBy returns the key that a record may end, as it is in the record, or in the store if
// the record deletes it, or the workspace that it suspends or resumes.
func (s *Store) endedBy(record apikey.Record) (key *apikey.Key, ws apikey.Workspace, err error) {
	switch {
	case record.Kind == apikey.RecordSuspension:
		ws, err = workspaceIn(record)
	case record.Kind == apikey.RecordKey && record.Value != nil:
		key, err = decodeKey(record.ID, record.Value)
	case record.Kind == apikey.RecordKey:
		err = s.view(func(txn *durable.Txn) (err error) {
			key, err = keyByID(txn, record.ID)
			return ignoreNotFound(err)
		})
	}
	return key, ws, err
}

// workspaceIn returns the workspace of a suspension. It has none if the record is deleted.
func workspaceIn(record apikey.Record) (ws apikey.Workspace, err error) {
	if apikey.ValidateWorkspaceID(record.ID) != nil {
		return ws, errors.New("it has an invalid workspace id")
	}
	ws.ID = record.ID
	if record.Value == nil {
		return ws, nil
	}
	var w workspaceRecord
	if err := decode(suspensionKey(ws.ID), record.Value, &w); err != nil {
		return ws, err
	}
	ws.SuspendedAt, ws.Reason, ws.Own = w.SuspendedAt.time(), w.Reason, w.Own
	if !ws.Suspended() {
		return ws, errors.New("it has no time")
	}
	return ws, nil
}
