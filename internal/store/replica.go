package store

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// ErrGap is why a replica cannot apply changes: they do not follow those that it has.
var ErrGap = errors.New("the changes do not continue from the replica's position")

// replicaRecord is what a replica knows about its fleet.
type replicaRecord struct {
	apikey.Position
	// Prefix is where the fleet keeps its data in etcd.
	Prefix string `json:"prefix"`
	// Incomplete says that the replica is being filled, and that Position does not hold.
	Incomplete bool `json:"incomplete,omitzero"`
	// Contact is when the fleet was last known to have no later change.
	Contact millis `json:"contact,omitzero"`
}

// OpenReplica opens the replica that a gateway keeps of a fleet's store, like [Open]. The
// fleet keeps its data in etcd under a prefix. OpenReplica fails if the directory has a
// store that belongs to no fleet, or to one with another prefix.
func OpenReplica(path, prefix string, log *zap.Logger, onChange func(apikey.Outcome)) (*Store, error) {
	s, err := openDirectory(path, log, onChange)
	if err != nil {
		return nil, err
	}
	s.replica = true
	if err := s.join(prefix); err != nil {
		return nil, fmt.Errorf("opening key store at %q: %w", s.Path(), errors.Join(err, s.Close()))
	}
	return s, nil
}

// join makes a new store a replica, or checks that the store is one of this fleet.
func (s *Store) join(prefix string) error {
	var r replicaRecord
	var known, used bool
	err := s.db.View(func(txn *durable.Txn) error {
		err := load(txn, fleetKey, &r)
		known = err == nil
		used = hasKeys(txn)
		return ignoreNotFound(err)
	})
	switch {
	case err != nil:
		return err
	case known && r.Prefix != prefix:
		return fmt.Errorf("it is a replica of the fleet with the prefix %s, and the configuration says %s: correct the prefix, or use another path", r.Prefix, prefix)
	case known:
		return nil
	case used:
		return errors.New("it is a store of its own, not the replica of a fleet: use another path, or move its keys into the fleet with: caddy api-keys fleet import")
	}
	return s.writeLocally(context.Background(), time.Now(), func(txn *transaction) error {
		return save(txn, fleetKey, replicaRecord{Prefix: prefix, Incomplete: true})
	})
}

// notReplica fails if the store belongs to a fleet.
func notReplica(txn *durable.Txn) error {
	var r replicaRecord
	switch err := load(txn, fleetKey, &r); {
	case errors.Is(err, durable.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("it is the replica of a fleet: write store etcd with prefix %s, use another path, or make it a store of its own with: caddy api-keys fleet detach", r.Prefix)
}

// mayWrite refuses a transaction that writes records of a replica which do not come from
// its fleet.
func (s *Store) mayWrite(txn *transaction) error {
	if s.replica && !txn.replayed && len(txn.records.list) > 0 {
		return fmt.Errorf("%d records of a replica would be changed without its fleet", len(txn.records.list))
	}
	return nil
}

func positionIn(txn reader) (apikey.Position, error) {
	r, err := replicaIn(txn)
	if err == nil && r.Incomplete {
		err = errors.New("the replica is incomplete")
	}
	return r.Position, err
}

func replicaIn(txn reader) (r replicaRecord, err error) { return r, loadIfThere(txn, fleetKey, &r) }

// Position returns how far the replica has followed its fleet, and when it last knew that
// there was no later change. complete is false while it has to be filled with
// [Store.Reload].
func (s *Store) Position() (at apikey.Position, contact time.Time, complete bool, err error) {
	err = s.view(func(txn *durable.Txn) error {
		r, err := replicaIn(txn)
		at, contact, complete = r.Position, r.Contact.time(), !r.Incomplete
		return err
	})
	return at, contact, complete, err
}

// NoteContact records that the fleet had no change later than the replica's position at a
// time.
func (s *Store) NoteContact(ctx context.Context, at time.Time) error {
	return s.writeLocally(ctx, at, func(txn *transaction) error {
		r, err := replicaIn(txn)
		r.Contact = toMillis(at)
		return errors.Join(err, save(txn, fleetKey, r))
	})
}

// Replay applies changes of the fleet in one transaction, and tells the function that was
// given to [OpenReplica]. It fails with [ErrGap] if they do not follow the replica's
// position from.
func (s *Store) Replay(ctx context.Context, from, to apikey.Position, list []apikey.Record) error {
	r := replay{now: time.Now()}
	return s.inTurn(ctx, "", true, func(turn *durable.Turn) error {
		if err := s.write(turn, r.now, func(txn *transaction) error {
			at, err := positionIn(txn)
			if err != nil {
				return err
			}
			if at.Seq != from.Seq || !bytes.Equal(at.Sum, from.Sum) || at.Fleet != from.Fleet {
				return ErrGap
			}
			return errors.Join(r.all(txn, list), movePosition(txn, to))
		}); err != nil {
			return err
		}
		s.tell(&r)
		return forgetUses(turn, r.deleted)
	})
}

func movePosition(txn *transaction, to apikey.Position) error {
	r, err := replicaIn(txn)
	r.Position = to
	return errors.Join(err, save(txn, fleetKey, r))
}

// tell reports what a replay has changed. It must do so before the turn ends.
func (s *Store) tell(r *replay) {
	apikey.SortAfter(r.lastEvent)
	if s.onChange == nil {
		return
	}
	if len(r.stale) > 0 {
		s.onChange(apikey.Outcome{Stale: r.stale, Ended: r.ended, Unchanged: true})
	}
	for _, ws := range r.workspaces {
		s.onChange(apikey.Outcome{Workspace: ws, Unchanged: true})
	}
}

// replay writes records of the fleet.
type replay struct {
	now        time.Time
	stale      []apikey.Digest
	ended      []apikey.Digest
	workspaces []apikey.Workspace
	deleted    []*apikey.Key
	lastEvent  string
}

func (r *replay) all(txn *transaction, list []apikey.Record) error {
	txn.replayed = true
	*r = replay{now: r.now}
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
		return replayFeed(txn, record)
	case apikey.RecordEvent:
		r.lastEvent = max(r.lastEvent, record.ID)
		return replayEvent(txn, record)
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
		return forgetKey(txn, before)
	}
	key, err := decodeKey(record.ID, record.Value)
	if err != nil {
		return err
	}
	if holder, err := txn.Get(digestKey(key.Digest)); err == nil && string(holder) != key.ID || before != nil && before.Digest != key.Digest {
		return errors.New("two keys have one token")
	} else if ignoreNotFound(err) != nil {
		return err
	}
	r.stale = append(r.stale, key.Digest)
	if key.Status(r.now) != apikey.Active {
		r.ended = append(r.ended, key.Digest)
	}
	return putKeyOver(txn, before, key)
}

func (r *replay) suspension(txn *transaction, record apikey.Record) error {
	ws := apikey.Workspace{ID: record.ID}
	if apikey.ValidateWorkspaceID(ws.ID) != nil {
		return errors.New("it has an invalid workspace id")
	}
	if record.Value == nil {
		r.workspaces = append(r.workspaces, ws)
		return eraseSuspension(txn, ws.ID)
	}
	var w workspaceRecord
	if err := decode(suspensionKey(ws.ID), record.Value, &w); err != nil {
		return err
	}
	ws.SuspendedAt, ws.Reason, ws.Own = w.SuspendedAt.time(), w.Reason, w.Own
	if !ws.Suspended() {
		return errors.New("it has no time")
	}
	r.workspaces = append(r.workspaces, ws)
	return putSuspension(txn, ws)
}

// replayFeed writes the record of a calendar feed, which is either a feedRecord or, once
// the feed has ended, a feedState.
func replayFeed(txn *transaction, record apikey.Record) error {
	decoded, err := hex.DecodeString(record.ID)
	if err != nil || len(decoded) != len(apikey.Digest{}) {
		return errors.New("it has an invalid digest")
	}
	digest := apikey.Digest(decoded)
	before, known, err := loadFeedState(txn, digest)
	if err != nil {
		return err
	}
	var feed struct {
		feedRecord
		EndedAt millis `json:"ended_at"`
	}
	switch {
	case record.Value == nil && !known:
		return nil
	case record.Value == nil:
		return errors.Join(eraseEndedFeed(txn, digest, before.EndedAt), noteForgotten(txn, forgotten{Feeds: before.EndedAt + 1}))
	}
	if err := decode(feedKey(digest), record.Value, &feed); err != nil {
		return err
	}
	switch {
	case feed.EndedAt != 0 && before.EndedAt != 0:
		return nil
	case feed.EndedAt != 0:
		return putEndedFeed(txn, digest, before, feed.EndedAt)
	case !bytes.Equal(feed.Digest, digest[:]) || apikey.ValidateWorkspaceID(feed.WorkspaceID) != nil:
		return errors.New("it is of another feed")
	}
	return putFeed(txn, &feed.feedRecord)
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
	return putEvent(txn, &e)
}
