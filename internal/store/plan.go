package store

import (
	"errors"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
	"github.com/agiled/caddy-api-keys/internal/sethash"
)

// Plan returns what changes would write if they were made now, one after the other, and
// makes none of them. It plans as many of them, from the first on, as write no more than
// most records and messages together, but at least one. A refused change writes its event.
//
// Plan fails if the store cannot be read. If it is one of the changes that cannot be
// planned, its result says so, and it writes nothing.
func (s *Store) Plan(changes []apikey.Change, most int) (apikey.Plan, error) {
	failed := make(map[int]error)
	for {
		p := &planning{store: s, changes: changes, failed: failed, failing: -1}
		err := s.db.Plan(p.run)
		switch {
		case err != nil && p.failing < 0:
			return apikey.Plan{}, s.wrapInternal(err)
		case err == nil && (len(p.txn.records.list)+len(p.txn.out.messages) <= most || len(changes) == 1):
			return p.plan(), nil
		case (err == nil || errors.Is(err, durable.ErrTooBig)) && len(changes) > 1:
			changes = changes[:len(changes)/2]
		default:
			failed[p.failing] = s.wrapInternal(err)
		}
	}
}

// planning is one attempt to plan changes.
type planning struct {
	store   *Store
	changes []apikey.Change
	failed  map[int]error // the changes that cannot be planned
	failing int           // the change that was being planned when the attempt failed, or -1

	txn     *transaction
	on      apikey.Position
	last    string // the id of the last event
	results []apikey.Planned
	set     sethash.Hash // of all records, with the changes

	messages []apikey.Record
}

func (p *planning) run(t *durable.Txn) (err error) {
	p.txn = &transaction{Txn: t}
	p.txn.records.hashedIn = p.txn
	if p.on, err = positionIn(p.txn); err != nil {
		return err
	}
	if p.txn.out, err = p.store.outgoingAfter(p.txn, p.on); err != nil {
		return err
	}
	p.last = p.on.LastEvent
	for i, change := range p.changes {
		if cause := p.failed[i]; cause != nil {
			p.results = append(p.results, apikey.Planned{Err: cause})
			continue
		}
		p.failing = i
		change.EventID = p.inOrder(change)
		result, err := applyOne(p.txn, change)
		if err != nil {
			return err
		}
		p.results = append(p.results, result)
	}
	if err := p.txn.writeHeld(); err != nil {
		return err
	}
	p.failing = -1
	if p.messages, err = p.txn.out.records(); err != nil {
		return err
	}
	p.set, err = setAfter(p.txn)
	return err
}

// inOrder returns an id for the event of a change that sorts after the last one.
func (p *planning) inOrder(change apikey.Change) string {
	id := change.EventID
	if id <= p.last {
		apikey.SortAfter(p.last)
		id = apikey.NewEventID(change.At)
	}
	p.last = id
	return id
}

func (p *planning) plan() apikey.Plan {
	plan := apikey.Plan{On: p.on, Records: p.txn.records.list, Results: p.results, Set: p.set.Sum(), Ends: p.txn.records.ends}
	plan.Messages, plan.Dropped = p.messages, p.txn.out.dropped
	for _, r := range plan.Records {
		if r.Kind == apikey.RecordEvent && r.Value != nil {
			plan.LastEvent = max(plan.LastEvent, r.ID)
		}
	}
	return plan
}
