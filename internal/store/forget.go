package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// endedAtOnce is the maximum number of keys that one transaction settles or deletes.
// Each takes up to a dozen writes, of the ten thousand that fit into a transaction.
const endedAtOnce = 200

// recordsOfEnd is how many records change at most when a key is deleted: its own, and its
// tombstone.
const recordsOfEnd = 2

// SettleEnds moves keys that have ended by the confirmed time out of the rosters of
// their workspaces; until then, readers of a roster skip them. If an operator has set
// the confirmed time back, it moves keys back in.
func (s *Store) SettleEnds(ctx context.Context, now time.Time) error {
	w, pacer := &settling{}, durable.NewPacer(ctx)
	for more := true; more; {
		err := s.inTurn(ctx, "", false, func(turn *durable.Turn) error {
			return s.write(turn, now, func(txn *transaction) (err error) {
				more, err = w.some(ctx, txn)
				return err
			})
		})
		if err == nil && more {
			err = pacer.Rest() // outside of the turn, so that no change has to wait
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// settling walks over the keys that end between the time up to which keys were settled
// and the confirmed time.
type settling struct {
	settled, confirmed millis
	from               []byte // the entry in the index of ends to continue from
}

// some settles some keys, and reports whether there are more.
func (w *settling) some(ctx context.Context, txn *transaction) (more bool, err error) {
	if w.from == nil {
		if w.confirmed, err = confirmedTime(txn); err != nil {
			return false, err
		}
		if w.settled, err = settledTime(txn); err != nil || w.settled == w.confirmed {
			return false, err
		}
		w.from = timeKey(endPrefix, min(w.settled, w.confirmed)+1)
	}
	ids, next, err := w.entries(ctx, txn)
	for _, id := range ids {
		key, loadErr := keyByID(txn, id)
		if loadErr != nil {
			return false, loadErr
		}
		err = errors.Join(err, settleKey(txn, key, w.confirmed))
	}
	w.from = next
	if err != nil || next != nil || len(ids) == 0 && w.settled < w.confirmed {
		return next != nil, err
	}
	return false, txn.Set(settledKey, binary.BigEndian.AppendUint64(nil, uint64(w.confirmed)))
}

// entries returns the keys of the next entries, and the entry after those, nil if there
// is none.
func (w *settling) entries(ctx context.Context, txn reader) (ids []string, next []byte, err error) {
	to := timeKey(endPrefix, max(w.settled, w.confirmed)+1)
	err = eachFrom(ctx, txn, w.from, to, func(key, value []byte) error {
		if len(ids) == endedAtOnce {
			next = bytes.Clone(key)
			return errEnough
		}
		_, keyID, err := decodeEnding(key, value)
		ids = append(ids, keyID)
		return err
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return ids, next, err
}

func settledTime(txn reader) (at millis, err error) {
	value, err := txn.Get(settledKey)
	if err != nil || len(value) != 8 { // then all keys are settled
		return 0, ignoreNotFound(err)
	}
	return millis(binary.BigEndian.Uint64(value)), nil
}

// ForgetKeys deletes the keys that ended before a time and would have expired by now,
// and returns their number.
//
// No backup brings the token of such a key back: whatever else its record says there,
// the key has expired. (Or it had by a clock that has been set back since: see
// forgotten.) But an import could: so an imported key leaves a tombstone. Neither time counts
// beyond the confirmed time: see NoteClock.
func (s *Store) ForgetKeys(ctx context.Context, before, now time.Time) (forgotten int, err error) {
	pacer := durable.NewPacer(ctx)
	until := max(toMillis(before), 0) // a long retention reaches back to before 1970
	for _, ends := range [][2][]byte{
		{timeKey(endPrefix, 1), timeKey(endPrefix, until)}, // expired, or revoked by schedule
		{endKey(ending{}, ""), endKey(ending{revoked: until}, "")},
	} {
		for from := ends[0]; from != nil && err == nil; {
			var some int
			some, from, err = s.forgetSomeKeys(ctx, from, ends[1], now)
			forgotten += some
			if err == nil && from != nil {
				err = pacer.Rest()
			}
		}
	}
	return forgotten, err
}

// forgetSomeKeys deletes keys between two entries of the index of ends, and returns the
// entry to continue from, nil if there are no more.
func (s *Store) forgetSomeKeys(ctx context.Context, from, to []byte, now time.Time) (n int, next []byte, err error) {
	var old []*apikey.Key
	err = s.work(ctx, now, deleting(func(txn *transaction) (err error) {
		old, next, err = forgettable(ctx, txn, from, to, now, s.atOnce(endedAtOnce)/recordsOfEnd)
		for _, key := range old {
			err = errors.Join(err, forgetKey(txn, key))
		}
		return err
	}), func(turn *durable.Turn) error {
		if s.onChange != nil && len(old) > 0 {
			var stale []apikey.Digest
			for _, key := range old {
				stale = append(stale, key.Digest)
			}
			s.onChange(apikey.Outcome{Stale: stale, Unchanged: true})
		}
		return s.forgetUses(turn, old)
	})
	if err != nil {
		return 0, nil, err
	}
	return len(old), next, nil
}

// forgetKey deletes a key that has expired.
func forgetKey(txn *transaction, key *apikey.Key) error {
	if key.Imported {
		return errors.Join(eraseKey(txn, key), bury(txn, key.Digest))
	}
	return errors.Join(eraseKey(txn, key), noteForgotten(txn, forgotten{Keys: toMillis(key.ExpiresAt)}))
}

// forgetUses deletes the notes of the uses of deleted keys.
func (s *Store) forgetUses(turn *durable.Turn, deleted []*apikey.Key) error {
	if len(deleted) == 0 {
		return nil
	}
	s.recent.forget(deleted)
	var notes [][]byte
	if err := turn.View(func(txn *durable.Txn) error {
		notes = usageKeysOf(txn, deleted, time.Now())
		return nil
	}); err != nil {
		return err
	}
	for _, key := range deleted {
		notes = append(notes, lastUsedKey(key.ID), firstUsedKey(key.ID))
	}
	for some := range slices.Chunk(notes, usageAtOnce) {
		if err := turn.Note(func(txn *durable.Txn) error { return deleteAll(txn, some) }); err != nil {
			return err
		}
	}
	return nil
}

// forgettable returns those keys between two entries of the index of ends that would
// have expired by the confirmed time.
func forgettable(ctx context.Context, txn reader, from, to []byte, now time.Time, most int) (old []*apikey.Key, next []byte, err error) {
	confirmed, err := confirmedTime(txn)
	if err != nil {
		return nil, nil, err
	}
	confirmed = min(confirmed, toMillis(now))
	looked := 0
	err = eachFrom(ctx, txn, from, to, func(entry, value []byte) error {
		if looked++; looked > most {
			next = bytes.Clone(entry)
			return errEnough
		}
		_, keyID, err := decodeEnding(entry, value)
		if err != nil {
			return err
		}
		key, err := keyByID(txn, keyID)
		if err == nil && toMillis(key.ExpiresAt) <= confirmed {
			old = append(old, key)
		}
		return err
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return old, next, err
}
