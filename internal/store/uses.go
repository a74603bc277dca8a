package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// NoteUses records when keys, by id, were last used and from where, and when they were
// first used.
//
// It waits for no change: uses have records of their own, and whatever happens to a key in
// the meantime, its record is not touched.
func (s *Store) NoteUses(uses map[string]apikey.Use) error {
	s.noting.Lock()
	defer s.noting.Unlock()
	ids := slices.Sorted(maps.Keys(uses)) // Badger is faster if they are in order
	unused, later, err := s.usesBefore(ids, uses)
	if err != nil {
		return s.wrapInternal(err)
	}
	return s.wrapInternal(s.db.NoteAll(func(set func(key, value []byte) error) error {
		for _, id := range ids {
			if later[id] {
				continue
			}
			use := uses[id]
			value := strconv.AppendInt(nil, int64(toMillis(use.At)), 10)
			if err := set(lastUsedKey(id), withAddress(value, use.From)); err != nil {
				return err
			}
			if !unused[id] {
				continue
			}
			if err := set(firstUsedKey(id), value); err != nil {
				return err
			}
		}
		return nil
	}))
}

// usesBefore returns which of the keys have never been used before, and for which a later use
// is noted, which another gateway of the fleet has told of. It looks up only those for which
// this is unknown: without a fleet, nobody notes later ones.
func (s *Store) usesBefore(ids []string, uses map[string]apikey.Use) (unused, later map[string]bool, err error) {
	unused, later = make(map[string]bool), make(map[string]bool)
	err = s.db.View(func(txn *durable.Txn) error {
		notes := txn.Cursor(lastUsedKey(""))
		defer notes.Close()
		for _, id := range ids {
			if uses[id].Noted && !s.replica {
				continue
			}
			switch note, found := notes.At(lastUsedKey(id)); {
			case !found:
				unused[id] = true
			case s.replica && noteIn(note).At.After(uses[id].At):
				later[id] = true
			}
		}
		return nil
	})
	return unused, later, err
}

// addUse adds to a key when it was used.
func addUse(txn reader, key *apikey.Key) (err error) {
	last, err := noted(txn, lastUsedKey(key.ID))
	if err != nil || last.At.IsZero() {
		return err
	}
	first, err := noted(txn, firstUsedKey(key.ID))
	key.LastUsedAt, key.LastUsedFrom, key.FirstUsedAt = last.At, last.From, first.At
	return err
}

// usedKeys returns the keys of an outcome that may have been used. A new one cannot have
// been: nobody has its token yet.
func usedKeys(outcome *apikey.Outcome) (keys []*apikey.Key) {
	op := outcome.Event.Operation
	if outcome.Key.ID != "" && op != apikey.OpCreate && op != apikey.OpRotate {
		keys = append(keys, &outcome.Key)
	}
	if outcome.Replaced.ID != "" {
		keys = append(keys, &outcome.Replaced)
	}
	return keys
}

// addUses adds to keys when they were used.
func addUses(txn reader, keys []*apikey.Key) (err error) {
	for _, key := range keys {
		err = errors.Join(err, addUse(txn, key))
	}
	return err
}

// withAddress appends the client's address to a note.
func withAddress(note []byte, from string) []byte {
	if from == "" {
		return note
	}
	return append(append(bytes.Clone(note), ' '), from...)
}

// noted returns the use in a note; the zero use if there is none.
func noted(txn reader, key []byte) (apikey.Use, error) {
	value, err := txn.Get(key)
	if err != nil {
		return apikey.Use{}, ignoreNotFound(err)
	}
	return noteIn(value), nil
}

// noteIn decodes a note. An unreadable one must not prevent a key from being shown or
// revoked.
func noteIn(value []byte) apikey.Use {
	var at millis
	number, address, _ := bytes.Cut(value, []byte(" "))
	_ = json.Unmarshal(number, &at)
	return apikey.Use{At: at.time(), From: string(address)}
}
