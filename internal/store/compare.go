package store

import (
	"bytes"
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// Comparison finds the records of a replica that its fleet has lost, as after etcd was
// restored from an old snapshot: those that the fleet does not have, and those that end
// access that the fleet's do not. It is not safe for concurrent use.
type Comparison struct {
	store *Store
	most  int // records that may be kept
	now   time.Time
	old   forgotten // what this replica has deleted for its age
	seed  maphash.Seed
	seen  []uint64 // hashes of the records of the fleet

	lost   int // records that the fleet has lost, and that are not kept yet
	unkept []apikey.Record
}

// BeginComparison begins to compare the replica with its fleet. What the fleet has lost is
// kept until [Store.PutBack] has put it back, unless it is more than most records.
func (s *Store) BeginComparison(most int) (*Comparison, error) {
	c := &Comparison{store: s, most: most, now: time.Now().UTC(), seed: maphash.MakeSeed()}
	err := s.view(func(txn *durable.Txn) (err error) {
		c.old, err = loadForgotten(txn)
		return err
	})
	return c, err
}

// Add compares records of the fleet, all as of the same position.
func (c *Comparison) Add(ctx context.Context, list []apikey.Record) error {
	err := c.store.view(func(txn *durable.Txn) error {
		for _, theirs := range list {
			c.seen = append(c.seen, c.hash(theirs.Kind, theirs.ID))
			if err := c.compare(txn, theirs); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || len(c.unkept) < reloadedAtOnce {
		return err
	}
	return c.keep(ctx)
}

// Finish looks at what the fleet does not have at all, and returns how many records the
// fleet has lost that the replica did not keep yet. Unless they are too many, all of them
// are kept now.
func (c *Comparison) Finish(ctx context.Context) (lost int, err error) {
	missing, err := c.missing(ctx)
	if err != nil {
		return 0, err
	}
	for some := range slices.Chunk(missing, reloadedAtOnce) {
		if err := c.addMissing(some); err != nil {
			return 0, err
		}
		if err := c.keep(ctx); err != nil {
			return 0, err
		}
	}
	if c.lost > c.most {
		return c.lost, nil
	}
	return c.lost, errors.Join(c.keep(ctx), c.store.writeLocally(ctx, c.now, c.end))
}

// missing returns the records that the fleet does not have, without their values. Signing
// keys and the schedule are not among them: the fleet makes new ones.
func (c *Comparison) missing(ctx context.Context) (list []apikey.Record, err error) {
	slices.Sort(c.seen)
	err = c.store.EachRecord(ctx, func(own apikey.Record) error {
		if _, found := slices.BinarySearch(c.seen, c.hash(own.Kind, own.ID)); !found && own.Kind != apikey.RecordSigningKeys && own.Kind != apikey.RecordSchedule {
			list = append(list, apikey.Record{Kind: own.Kind, ID: own.ID})
		}
		return nil
	})
	return list, err
}

func (c *Comparison) addMissing(list []apikey.Record) error {
	return c.store.view(func(txn *durable.Txn) error {
		for _, own := range list {
			value, err := valueNow(txn, own)
			if err == nil {
				err = c.note(txn, apikey.Record{Kind: own.Kind, ID: own.ID, Value: value})
			}
			if ignoreNotFound(err) != nil {
				return err
			}
		}
		return nil
	})
}

func (c *Comparison) hash(kind apikey.RecordKind, id string) uint64 {
	return maphash.Comparable(c.seed, recordID{kind, id})
}

// compare compares a record of the fleet with that of the replica.
func (c *Comparison) compare(txn reader, theirs apikey.Record) error {
	own := apikey.Record{Kind: theirs.Kind, ID: theirs.ID}
	var err error
	switch own.Value, err = valueNow(txn, own); {
	case errors.Is(err, durable.ErrNotFound):
		if own, err = c.deleted(theirs); err != nil || own.Value == nil {
			return err
		}
	case err != nil:
		return err
	case bytes.Equal(own.Value, theirs.Value):
		return nil
	default:
		if ends, err := endsMore(own, theirs); err != nil || !ends {
			return err
		}
	}
	return c.note(txn, own)
}

// note notes that the fleet has lost a record.
func (c *Comparison) note(txn reader, own apikey.Record) error {
	note, err := keptNote(own)
	if err != nil {
		return err
	}
	if _, err := txn.Get(note); !errors.Is(err, durable.ErrNotFound) {
		return err // nil: it is kept already
	}
	if c.lost++; c.lost <= c.most {
		c.unkept = append(c.unkept, own)
	}
	return nil
}

// keep keeps what was found so far, if it is a part, or unless it is too much.
func (c *Comparison) keep(ctx context.Context) error {
	some := c.unkept
	c.unkept = nil
	if c.lost > c.most {
		return nil
	}
	return c.store.keep(ctx, some)
}

// end notes that everything is kept.
func (c *Comparison) end(txn *transaction) error {
	for range txn.Below([]byte(keptPrefix)) {
		at, err := positionIn(txn)
		if err != nil {
			return err
		}
		made := eventRecord{At: toMillis(c.now)} // if it has no event
		return errors.Join(loadIfThere(txn, eventKey(at.LastEvent), &made), setKept(txn, made.At))
	}
	return nil
}

// endsMore reports whether a record of the replica ends access that the one of the fleet
// does not end, or ends it earlier.
func endsMore(own, theirs apikey.Record) (bool, error) {
	switch own.Kind {
	case apikey.RecordKey:
		known, err := decodeKey(theirs.ID, theirs.Value)
		if err != nil {
			return false, err
		}
		key, err := decodeKey(own.ID, own.Value)
		if err != nil {
			return false, err
		}
		changed, _ := adoptEnd(known, key)
		return changed, nil
	case apikey.RecordSuspension:
		var a, b workspaceRecord
		err := errors.Join(decode([]byte(own.ID), own.Value, &a), decode([]byte(own.ID), theirs.Value, &b))
		return outranks(a.Own, b.Own), err
	case apikey.RecordFeed:
		var a, b feedState
		err := errors.Join(decode([]byte(own.ID), own.Value, &a), decode([]byte(own.ID), theirs.Value, &b))
		return a.EndedAt != 0 && b.EndedAt == 0, err
	case apikey.RecordForgotten:
		var a, b forgotten
		err := errors.Join(decode([]byte(own.ID), own.Value, &a), decode([]byte(own.ID), theirs.Value, &b))
		return a.and(b) != b, err
	}
	return false, nil // an event never changes, and signing keys and schedules end no access
}

// deleted returns the end of a record that this replica has deleted for its age, although
// the fleet's record does not say that it has ended: without a value if that cannot be.
func (c *Comparison) deleted(theirs apikey.Record) (apikey.Record, error) {
	ended := apikey.Record{Kind: theirs.Kind, ID: theirs.ID}
	switch theirs.Kind {
	case apikey.RecordKey:
		key, err := decodeKey(theirs.ID, theirs.Value)
		if err != nil || !key.RevokedAt.IsZero() || !c.old.mayHaveDeleted(key) {
			return ended, err
		}
		key.RevokedAt, key.RevokedBy, key.RevokeReason = c.now, apikey.FleetActor, reasonDeleted
		ended.Value, err = encode(toRecord(key))
		return ended, err
	case apikey.RecordFeed:
		var feed struct {
			feedRecord
			EndedAt millis `json:"ended_at"`
		}
		if err := decode([]byte(theirs.ID), theirs.Value, &feed); err != nil || feed.EndedAt != 0 || feed.CreatedAt >= c.old.Feeds {
			return ended, err
		}
		ended.Value = feedState{EndedAt: toMillis(c.now)}.encode()
	}
	return ended, nil
}
