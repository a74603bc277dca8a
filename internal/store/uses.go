package store

import (
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// NoteUses remembers when keys were last used, by their ids, and that a key was
// used for the first time.
//
// It never conflicts, neither with a change nor with another note: uses have
// records of their own, and whatever becomes of a key meanwhile, its record is
// not touched. It is for one caller at a time.
func (s *Store) NoteUses(uses map[string]time.Time) error {
	if s == nil {
		return apikey.ErrStoreUnavailable
	}
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.closed {
		return apikey.ErrStoreUnavailable
	}
	if err := s.writable(); err != nil {
		return err
	}
	unused, err := s.unused(uses)
	if err != nil {
		return s.refine(err)
	}
	batch := s.db.NewWriteBatch()
	defer batch.Cancel()
	for id, at := range uses {
		value := strconv.AppendInt(nil, int64(toMillis(at)), 10)
		if err := batch.Set(lastUsedKey(id), value); err != nil {
			return s.refine(err)
		}
		if !unused[id] {
			continue
		}
		if err := batch.Set(firstUsedKey(id), value); err != nil {
			return s.refine(err)
		}
	}
	return s.refine(batch.Flush())
}

// unused returns which of the keys have never been used before.
func (s *Store) unused(uses map[string]time.Time) (map[string]bool, error) {
	unused := make(map[string]bool)
	err := s.db.View(func(txn *badger.Txn) error {
		for id := range uses {
			_, err := txn.Get(lastUsedKey(id))
			if err != nil && !errors.Is(err, badger.ErrKeyNotFound) {
				return err
			}
			unused[id] = err != nil
		}
		return nil
	})
	return unused, err
}

// addUse completes a key with when it was used.
func addUse(txn *badger.Txn, key *apikey.Key) (err error) {
	if key.LastUsedAt, err = noted(txn, lastUsedKey(key.ID)); err != nil || key.LastUsedAt.IsZero() {
		return err
	}
	key.FirstUsedAt, err = noted(txn, firstUsedKey(key.ID))
	return err
}

// noted returns the time of a note; zero where there is none.
func noted(txn *badger.Txn, key []byte) (time.Time, error) {
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	return noteIn(item)
}

// noteIn reads a note. One that cannot be read is no reason not to show the key,
// or not to revoke it.
func noteIn(item *badger.Item) (time.Time, error) {
	var at millis
	err := item.Value(func(value []byte) error {
		_ = json.Unmarshal(value, &at)
		return nil
	})
	return at.time(), err
}
