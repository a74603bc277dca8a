package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
	"github.com/agiled/caddy-api-keys/internal/sethash"
)

// ErrGap is why a replica cannot apply changes: they do not follow those that it has.
var ErrGap = errors.New("the changes do not continue from the replica's position")

// Replay applies changes of the fleet in one transaction, and tells the function that was
// given to [OpenReplica]. It fails with [ErrGap] if they do not follow the replica's
// position from. If it fails otherwise, what they end is refused: see [Store.Refuse].
func (s *Store) Replay(ctx context.Context, from, to apikey.Position, list []apikey.Record) error {
	r := replay{now: time.Now()}
	err := s.replay(ctx, &r, from, to, list)
	if err != nil && !errors.Is(err, ErrGap) && !r.told {
		s.Refuse(list)
	}
	return err
}

func (s *Store) replay(ctx context.Context, r *replay, from, to apikey.Position, list []apikey.Record) error {
	return s.inTurn(ctx, "", true, func(turn *durable.Turn) error {
		if err := s.write(turn, r.now, func(txn *transaction) error {
			at, err := positionIn(txn)
			if err != nil {
				return err
			}
			txn.records.hashedIn = txn
			if at.Seq != from.Seq || !bytes.Equal(at.Sum, from.Sum) || at.Fleet != from.Fleet {
				return ErrGap
			}
			return errors.Join(r.all(txn, list), movePosition(txn, to), r.rehash(txn))
		}); err != nil {
			return err
		}
		s.compareSets(to, &r.set)
		s.tell(r)
		return s.forgetUses(turn, r.deleted)
	})
}

func movePosition(txn *transaction, to apikey.Position) error {
	r, err := replicaIn(txn)
	r.Position = to
	return errors.Join(err, save(txn, fleetKey, r))
}

// rehash brings the hash of all records of the replica up to date.
func (r *replay) rehash(txn *transaction) (err error) {
	r.set, err = setAfter(txn)
	return errors.Join(err, txn.Set(setKey, r.set.Encode()))
}

// compareSets reports that the records of this replica are not those of the gateway that
// made a change. That is a fault of one of the two, which cannot be told from here. So the
// replica continues, and the next change by one that is right has the right hash again.
func (s *Store) compareSets(at apikey.Position, set *sethash.Hash) {
	if !bytes.Equal(at.Set, set.Sum()) {
		s.log.Error("the records of this gateway differ from those of the gateway that made this change", zap.Uint64("change", at.Seq))
	}
}

// tell reports what a replay has changed. It must do so before the turn ends.
func (s *Store) tell(r *replay) {
	r.told = true
	apikey.SortAfter(r.lastEvent)
	if s.onChange == nil {
		return
	}
	if len(r.stale) > 0 {
		s.onChange(apikey.Outcome{Stale: r.stale, Ended: r.ended, Unchanged: true})
	}
	if r.signing {
		s.onChange(apikey.Outcome{SigningKeys: true, Unchanged: true})
	}
	for _, ws := range r.workspaces {
		if !ws.Suspended() && s.refusals.has(ws.ID) { // because of a later change
			continue
		}
		s.onChange(apikey.Outcome{Workspace: ws, Unchanged: true})
	}
}

// replay writes records of the fleet.
type replay struct {
	now        time.Time
	goesBack   bool // to an earlier state: a feed that has ended may be open again
	stale      []apikey.Digest
	ended      []apikey.Digest
	workspaces []apikey.Workspace
	signing    bool // the signing keys have changed
	deleted    []*apikey.Key
	lastEvent  string
	set        sethash.Hash // of all records, afterwards
	told       bool         // it was made: what fails afterwards changes nothing of that
}

func (r *replay) all(txn *transaction, list []apikey.Record) error {
	txn.replayed = true
	*r = replay{now: r.now, goesBack: r.goesBack}
	if err := txn.pinClock(); err != nil {
		return err
	}
	for _, record := range list {
		if err := r.one(txn, record); err != nil {
			return fmt.Errorf("a record of the fleet (%c %s) cannot be applied: %w", record.Kind, record.ID, err)
		}
	}
	return nil
}

func (r *replay) one(txn *transaction, record apikey.Record) error {
	switch record.Kind {
	case apikey.RecordKey:
		return r.key(txn, record)
	case apikey.RecordSuspension:
		return r.suspension(txn, record)
	case apikey.RecordFeed:
		return r.feed(txn, record)
	case apikey.RecordEvent:
		r.lastEvent = max(r.lastEvent, record.ID)
		return replayEvent(txn, record)
	case apikey.RecordForgotten:
		return replayForgotten(txn, record)
	case apikey.RecordTombstone:
		return replayTombstone(txn, record)
	case apikey.RecordSigningKeys:
		r.signing = true
		return replaySigningKeys(txn, record)
	case apikey.RecordSchedule:
		return replaySchedule(txn, record)
	}
	return errors.New("it is of an unknown kind: a newer version wrote it")
}

func (r *replay) key(txn *transaction, record apikey.Record) error {
	before, err := keyByID(txn, record.ID)
	if err != nil && !errors.Is(err, durable.ErrNotFound) {
		return err
	}
	if record.Value == nil {
		if before == nil {
			return nil
		}
		r.deleted, r.stale = append(r.deleted, before), append(r.stale, before.Digest)
		return eraseKey(txn, before)
	}
	key, err := decodeKey(record.ID, record.Value)
	if err != nil {
		return err
	}
	if before != nil && (before.Digest != key.Digest || before.WorkspaceID != key.WorkspaceID) {
		return errors.New("the key has had another token or workspace")
	}
	switch holder, err := grantOf(txn, key.Digest); {
	case err == nil && holder.ID() != key.ID:
		return errors.New("another key has its token")
	case err != nil && !errors.Is(err, apikey.ErrNotFound):
		return err
	}
	r.stale = append(r.stale, key.Digest)
	if key.Status(r.now) != apikey.Active {
		r.ended = append(r.ended, key.Digest)
	}
	return putKeyAs(txn, before, key, record.Value)
}

func (r *replay) suspension(txn *transaction, record apikey.Record) error {
	ws, err := workspaceIn(record)
	if err != nil {
		return err
	}
	r.workspaces = append(r.workspaces, ws)
	if record.Value == nil {
		return eraseSuspension(txn, ws.ID)
	}
	return putSuspensionAs(txn, ws.ID, record.Value)
}

// feed writes the record of a calendar feed, which is either a feedRecord or, once the feed
// has ended, a feedState.
func (r *replay) feed(txn *transaction, record apikey.Record) error {
	digest, err := digestIn(record.ID)
	if err != nil {
		return err
	}
	before, known, err := loadFeedState(txn, digest)
	if err != nil {
		return err
	}
	switch {
	case record.Value == nil && !known:
		return nil
	case record.Value == nil:
		return eraseFeed(txn, digest, before)
	}
	var feed struct {
		feedRecord
		EndedAt millis `json:"ended_at"`
	}
	if err := decode(feedKey(digest), record.Value, &feed); err != nil {
		return err
	}
	if r.goesBack && before.EndedAt != 0 && feed.EndedAt == 0 {
		if err := eraseFeed(txn, digest, before); err != nil {
			return err
		}
		before, known = feedState{}, false
	}
	switch {
	case feed.EndedAt != 0 && known:
		return errors.Join(eraseFeed(txn, digest, before), putEndedFeedAs(txn, digest, feedState{}, feed.EndedAt, record.Value))
	case feed.EndedAt != 0:
		return putEndedFeedAs(txn, digest, before, feed.EndedAt, record.Value)
	case !bytes.Equal(feed.Digest, digest[:]) || apikey.ValidateWorkspaceID(feed.WorkspaceID) != nil || known && before.WorkspaceID != feed.WorkspaceID:
		return errors.New("it is of another feed, or opens one that has ended")
	}
	return replaceFeed(txn, digest, &feed.feedRecord, record.Value)
}

// replaceFeed opens a feed. If its workspace has another one, that has ended, but its
// record may come later.
func replaceFeed(txn *transaction, digest apikey.Digest, feed *feedRecord, record []byte) error {
	replaced, err := feedOf(txn, feed.WorkspaceID)
	if err == nil && replaced != digest && replaced != (apikey.Digest{}) {
		err = eraseFeed(txn, replaced, feedState{WorkspaceID: feed.WorkspaceID})
	}
	return errors.Join(err, putFeedAs(txn, feed, record))
}

func replayEvent(txn *transaction, record apikey.Record) error {
	var e eventRecord
	if record.Value == nil {
		err := load(txn, eventKey(record.ID), &e)
		if err != nil {
			return ignoreNotFound(err)
		}
		return eraseEvent(txn, &e)
	}
	if err := decode(eventKey(record.ID), record.Value, &e); err != nil {
		return err
	}
	if e.ID != record.ID || !apikey.ValidEventID(e.ID) {
		return errors.New("it is of another event")
	}
	return putEventAs(txn, &e, record.Value)
}

func replayForgotten(txn *transaction, record apikey.Record) error {
	var f forgotten
	switch {
	case record.ID != apikey.ForgottenID:
		return errors.New("it has an invalid id")
	case record.Value == nil:
		return eraseForgotten(txn)
	}
	return errors.Join(decode(forgottenKey, record.Value, &f), putForgottenAs(txn, record.Value))
}
