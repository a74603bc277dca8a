package store

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"hash/maphash"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
	"github.com/agiled/caddy-api-keys/internal/sethash"
)

// reloadedAtOnce is the maximum number of records that one transaction of a reload
// writes or deletes.
const reloadedAtOnce = 250

// Reload replaces the contents of a replica by those of its fleet, in many transactions.
// What the replica has already is not written again. Until the reload has finished, the
// replica is incomplete: nothing can be planned on it.
type Reload struct {
	store *Store
	empty bool // the replica had no records
	// failed is why nothing is written any more: what would be is refused.
	failed error
	back   bool // to an earlier state than the replica's
	seed   maphash.Seed
	seen   []uint64 // hashes of the records that were added, unless the replica was empty
}

// BeginReload begins to refill a replica. If nothing can be written, Add and Finish fail.
func (s *Store) BeginReload(ctx context.Context) (*Reload, error) {
	r := &Reload{store: s, seed: maphash.MakeSeed()}
	err := s.view(func(txn *durable.Txn) error {
		r.empty = !hasRecords(txn) && !hasAny(txn, string(signingKeysKey), string(scheduleKey))
		now, err := replicaIn(txn)
		r.back = now.KeptAt != 0
		return err
	})
	if s.onChange != nil && r.back {
		s.onChange(apikey.Outcome{GoesBack: true, Unchanged: true})
	}
	if err != nil {
		return nil, err
	}
	r.failed = s.setIncomplete(ctx)
	s.db.SetBulk(true)
	return r, nil
}

// setIncomplete marks the replica as incomplete.
func (s *Store) setIncomplete(ctx context.Context) error {
	return s.writeLocally(ctx, time.Now(), func(txn *transaction) error {
		r, err := replicaIn(txn)
		r.Incomplete, r.Position = true, apikey.Position{}
		return errors.Join(err, save(txn, fleetKey, r))
	})
}

// setComplete marks the replica as complete, with all records as of a position.
func (s *Store) setComplete(ctx context.Context, at apikey.Position, set *sethash.Hash) error {
	return s.writeLocally(ctx, time.Now(), func(txn *transaction) error {
		r, err := replicaIn(txn)
		r.Incomplete, r.Position = false, at
		return errors.Join(err, save(txn, fleetKey, r), txn.Set(setKey, set.Encode()))
	})
}

// Add adds records of the fleet, all as of the same position. If it fails, they are refused,
// as by [Store.Refuse], and so are those that are added afterwards.
func (r *Reload) Add(ctx context.Context, list []apikey.Record) (err error) {
	for some := range slices.Chunk(list, reloadedAtOnce) {
		err = r.add(ctx, some)
	}
	return err
}

func (r *Reload) add(ctx context.Context, list []apikey.Record) error {
	if !r.empty {
		for _, record := range list {
			r.seen = append(r.seen, r.hash(record.Kind, record.ID))
		}
	}
	return r.write(ctx, func(txn reader) (news []apikey.Record, err error) {
		for _, record := range list {
			value, err := valueNow(txn, record)
			if ignoreNotFound(err) != nil {
				return nil, err
			}
			if err != nil || !bytes.Equal(value, record.Value) {
				news = append(news, record)
			}
		}
		return news, nil
	})
}

// write runs one transaction of the reload, which writes the records that choose returns. If
// it fails, or an earlier one has, they are refused.
func (r *Reload) write(ctx context.Context, choose func(reader) ([]apikey.Record, error)) error {
	var list []apikey.Record
	told := false
	if r.failed == nil {
		list, told, r.failed = r.tryWrite(ctx, choose)
	}
	if r.failed == nil || told {
		return r.failed
	}
	if list == nil { // it had not come to that
		if err := r.store.view(func(txn *durable.Txn) (err error) {
			list, err = choose(txn)
			return err
		}); err != nil {
			r.store.log.Error("could not find out what a reload that cannot be written takes away", zap.Error(err))
		}
	}
	r.store.Refuse(list)
	return r.failed
}

func (r *Reload) tryWrite(ctx context.Context, choose func(reader) ([]apikey.Record, error)) (list []apikey.Record, told bool, err error) {
	w := replay{now: time.Now(), goesBack: r.back}
	err = r.store.inTurn(ctx, "", true, func(turn *durable.Turn) error {
		if err := r.store.write(turn, w.now, func(txn *transaction) (err error) {
			if list, err = choose(txn); err != nil {
				return err
			}
			return w.all(txn, list)
		}); err != nil {
			return err
		}
		r.store.tell(&w)
		return r.store.forgetUses(turn, w.deleted)
	})
	return list, w.told, err
}

// Finish deletes what the fleet does not have, and sets the position of the replica. set
// is the hash of the records that were added. If that fails, or something before has, what the
// fleet does not have is refused.
func (r *Reload) Finish(ctx context.Context, at apikey.Position, set *sethash.Hash) error {
	if !r.empty {
		slices.Sort(r.seen)
		if err := r.deleteUnseen(ctx); err != nil {
			return err
		}
	}
	if r.failed != nil {
		return r.failed
	}
	return r.store.setComplete(ctx, at, set)
}

// Close ends a reload, whether or not it has finished.
func (r *Reload) Close() { r.store.db.SetBulk(false) }

func (r *Reload) deleteUnseen(ctx context.Context) error {
	var unseen []apikey.Record
	err := r.store.EachRecord(ctx, func(record apikey.Record) error {
		if _, found := slices.BinarySearch(r.seen, r.hash(record.Kind, record.ID)); !found {
			unseen = append(unseen, apikey.Record{Kind: record.Kind, ID: record.ID})
		}
		return nil
	})
	if err != nil {
		return err
	}
	for some := range slices.Chunk(unseen, reloadedAtOnce) {
		err = r.write(ctx, func(reader) ([]apikey.Record, error) { return some, nil })
	}
	return err
}

func (r *Reload) hash(kind apikey.RecordKind, id string) uint64 {
	return maphash.Comparable(r.seed, recordID{kind, id})
}

// EachRecord calls visit for all records of the store, as of one moment, by kind and id.
// Visit must not use the store: Close may be waiting for this walk, and lets no other in.
func (s *Store) EachRecord(ctx context.Context, visit func(apikey.Record) error) error {
	return s.view(func(txn *durable.Txn) error {
		for _, kind := range []struct {
			prefix string
			record func(key, value []byte) (apikey.Record, error)
		}{
			{"k/", func(key, value []byte) (apikey.Record, error) {
				return apikey.Record{Kind: apikey.RecordKey, ID: keyIDIn(key), Value: value}, nil
			}},
			{"s/", func(key, value []byte) (apikey.Record, error) {
				return apikey.Record{Kind: apikey.RecordSuspension, ID: string(key[len("s/")+1:]), Value: value}, nil
			}},
			{feedPrefix, func(key, value []byte) (apikey.Record, error) { return feedIn(txn, key, value) }},
			{tombstonePrefix, func(key, value []byte) (apikey.Record, error) {
				return apikey.Record{Kind: apikey.RecordTombstone, ID: hex.EncodeToString(key[len(tombstonePrefix):]), Value: value}, nil
			}},
			{string(forgottenKey), func(_, value []byte) (apikey.Record, error) {
				return apikey.Record{Kind: apikey.RecordForgotten, ID: apikey.ForgottenID, Value: value}, nil
			}},
			{string(signingKeysKey), func(_, value []byte) (apikey.Record, error) {
				return apikey.Record{Kind: apikey.RecordSigningKeys, ID: apikey.SigningKeysID, Value: value}, nil
			}},
			{string(scheduleKey), func(_, value []byte) (apikey.Record, error) {
				return apikey.Record{Kind: apikey.RecordSchedule, ID: apikey.ScheduleID, Value: value}, nil
			}},
			{"a/", func(key, value []byte) (apikey.Record, error) {
				return apikey.Record{Kind: apikey.RecordEvent, ID: string(key[len("a/"):]), Value: value}, nil
			}},
		} {
			if err := each(txn, []byte(kind.prefix), func(key, value []byte) error {
				if err := ctx.Err(); err != nil {
					return err
				}
				record, err := kind.record(key, bytes.Clone(value))
				if err != nil {
					return err
				}
				return visit(record)
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

// feedIn returns the record of a calendar feed.
func feedIn(txn reader, key, value []byte) (apikey.Record, error) {
	digest := key[len(feedPrefix):]
	record := apikey.Record{Kind: apikey.RecordFeed, ID: hex.EncodeToString(digest), Value: value}
	var state feedState
	if err := decode(key, value, &state); err != nil || state.EndedAt != 0 {
		return record, err
	}
	var err error
	record.Value, err = txn.Get(workspaceFeedKey(state.WorkspaceID))
	return record, err
}

// Has reports whether the store has records with just these values.
func (s *Store) Has(list []apikey.Record) (has bool, err error) {
	err = s.view(func(txn *durable.Txn) (err error) {
		has, err = hasRecordsIn(txn, list)
		return err
	})
	return has, err
}

func hasRecordsIn(txn reader, list []apikey.Record) (bool, error) {
	for _, record := range list {
		value, err := valueNow(txn, record)
		if ignoreNotFound(err) != nil {
			return false, err
		}
		if err != nil || !bytes.Equal(value, record.Value) {
			return false, nil
		}
	}
	return true, nil
}

// valueNow returns the value that the store has of a record.
func valueNow(txn reader, record apikey.Record) ([]byte, error) {
	switch record.Kind {
	case apikey.RecordKey:
		return txn.Get(recordKey(record.ID))
	case apikey.RecordSuspension:
		return txn.Get(suspensionKey(record.ID))
	case apikey.RecordEvent:
		return txn.Get(eventKey(record.ID))
	case apikey.RecordForgotten:
		return txn.Get(forgottenKey)
	case apikey.RecordSigningKeys:
		return txn.Get(signingKeysKey)
	case apikey.RecordSchedule:
		return txn.Get(scheduleKey)
	}
	digest, _ := hex.DecodeString(record.ID)
	if record.Kind == apikey.RecordTombstone {
		return txn.Get(append([]byte(tombstonePrefix), digest...))
	}
	key := append([]byte(feedPrefix), digest...)
	state, err := txn.Get(key)
	if err != nil {
		return nil, err
	}
	now, err := feedIn(txn, key, state)
	return now.Value, err
}

func hasKeys(txn reader) bool {
	for range txn.Below(recordKey("")) {
		return true
	}
	return false
}
