package store

import (
	"errors"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// SharedUses returns the uses of some keys, by id, as other gateways of the fleet are told
// of them. Keys that do not exist, or were never used, are left out.
func (s *Store) SharedUses(ids []string) (map[string]apikey.SharedUse, error) {
	uses := make(map[string]apikey.SharedUse)
	err := s.view(func(txn *durable.Txn) error {
		for _, id := range ids {
			key, err := keyByID(txn, id)
			if errors.Is(err, durable.ErrNotFound) {
				continue
			}
			if err == nil {
				err = addUse(txn, key)
			}
			if err != nil {
				return err
			}
			if !key.LastUsedAt.IsZero() {
				uses[id] = apikey.SharedUse{First: key.FirstUsedAt, Last: key.LastUsedAt, From: key.LastUsedFrom, Replaced: key.ReplacedBy != ""}
			}
		}
		return nil
	})
	return uses, err
}

// MergeUses notes uses of keys, by id, that other gateways of the fleet have seen, as far
// as they are later than the last ones that are noted here, or earlier than the first. It
// returns the ids of keys that do not exist.
func (s *Store) MergeUses(uses map[string]apikey.SharedUse) (unknown []string, err error) {
	s.noting.Lock()
	defer s.noting.Unlock()
	err = s.db.Note(func(txn *durable.Txn) error {
		for id, use := range uses {
			_, err := txn.Get(recordKey(id))
			if errors.Is(err, durable.ErrNotFound) {
				unknown = append(unknown, id)
				continue
			}
			if err == nil {
				err = mergeUse(txn, &useRecord{KeyID: id, First: toMillis(use.First), Last: toMillis(use.Last), From: use.From})
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return unknown, s.wrapInternal(err)
}
