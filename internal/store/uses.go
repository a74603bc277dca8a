package store

import (
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// NoteUses remembers when keys were last used, by their ids.
//
// It reads nothing and so never conflicts, neither with a change nor with
// another note: uses have records of their own, and whatever becomes of a key
// meanwhile, its record is not touched.
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
	batch := s.db.NewWriteBatch()
	defer batch.Cancel()
	for id, at := range uses {
		if err := batch.Set(lastUsedKey(id), strconv.AppendInt(nil, int64(toMillis(at)), 10)); err != nil {
			return s.refine(err)
		}
	}
	return s.refine(batch.Flush())
}

// addUse completes a key with when it was last used. A note that cannot be read
// is no reason not to show the key, or not to revoke it.
func addUse(txn *badger.Txn, key *apikey.Key) error {
	item, err := txn.Get(lastUsedKey(key.ID))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return item.Value(func(value []byte) error {
		var at millis
		if json.Unmarshal(value, &at) == nil {
			key.LastUsedAt = at.time()
		}
		return nil
	})
}
