package store

import (
	"cmp"
	"errors"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// maxForgotten bounds the names that one change forgets: a transaction can hold
// some ten thousand writes.
const maxForgotten = 1000

// tidyFrom is from how many names on a workspace's are gone through, where it may
// have any number of keys.
const tidyFrom = 100

// nameTaken returns [apikey.ErrNameTaken] if an active key of a workspace has a
// name, or one that looks like it.
func nameTaken(txn reader, workspaceID, name string, now time.Time) error {
	holder, err := nameHolder(txn, workspaceID, apikey.FoldName(name), now)
	if err != nil || holder == nil {
		return err
	}
	return apikey.NameTaken(name, holder.Name)
}

// nameHolder returns the active key of a workspace that has a folded name, or
// nil. A clock that was set forward ends no key here: see believed.
func nameHolder(txn reader, workspaceID, folded string, now time.Time) (*apikey.Key, error) {
	now, err := believed(txn, now)
	if err != nil {
		return nil, err
	}
	item, err := txn.Get(nameKey(workspaceID, folded))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	id, err := item.ValueCopy(nil)
	if err != nil {
		return nil, err
	}
	return holderOf(txn, folded, string(id), now)
}

// hasRoom reports whether a workspace has fewer active keys than it may have; 0
// is any number. Where it has fewer names than that, no key need be looked at.
func hasRoom(txn *transaction, workspaceID string, most int, now time.Time) (bool, error) {
	if countUpTo(txn, nameKey(workspaceID, ""), cmp.Or(most, tidyFrom)) < cmp.Or(most, tidyFrom) {
		return true, nil
	}
	active, err := countActive(txn, workspaceID, now)
	return most == 0 || active < most, err
}

// countUpTo counts the keys of the store below a prefix, up to a number.
func countUpTo(txn reader, prefix []byte, most int) (n int) {
	it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix})
	defer it.Close()
	for it.Rewind(); it.Valid() && n < most; it.Next() {
		n++
	}
	return n
}

// countActive counts the active keys of a workspace. One that is being replaced
// is not counted beside its replacement. Names of keys that have ended are
// forgotten on the way, so that the index stays about as small as the number of
// keys that a workspace may have.
func countActive(txn *transaction, workspaceID string, now time.Time) (active int, err error) {
	if now, err = believed(txn, now); err != nil {
		return 0, err
	}
	prefix := nameKey(workspaceID, "")
	var ended [][]byte
	err = each(txn, prefix, func(item *badger.Item) error {
		id, err := item.ValueCopy(nil)
		if err != nil {
			return err
		}
		holder, err := holderOf(txn, string(item.Key()[len(prefix):]), string(id), now)
		if err != nil {
			return err
		}
		if holder == nil {
			if len(ended) < maxForgotten {
				ended = append(ended, item.KeyCopy(nil))
			}
			return nil
		}
		replaced, err := hasLiveReplacement(txn, holder, now)
		if err == nil && !replaced {
			active++
		}
		return err
	})
	for _, name := range ended {
		err = errors.Join(err, txn.Delete(name))
	}
	return active, err
}

// holderOf returns the active key that has a folded name, or nil: the key in the
// index or, if that one has ended, the youngest of those that it was to replace,
// one by one. They are all asked: any of them may have another name by now.
func holderOf(txn reader, name, id string, now time.Time) (*apikey.Key, error) {
	for id != "" {
		key, err := keyByID(txn, id)
		if err != nil {
			return nil, err
		}
		if key.Status(now) == apikey.Active && apikey.FoldName(key.Name) == name {
			return key, nil
		}
		id = key.Replaces
	}
	return nil, nil
}

// rename gives an active key's place in the index to another name.
func rename(txn *transaction, key *apikey.Key, name string, now time.Time) error {
	before, after := apikey.FoldName(key.Name), apikey.FoldName(name)
	if before == after {
		return nil
	}
	now, err := believed(txn, now)
	if err != nil {
		return err
	}
	if err := nameTaken(txn, key.WorkspaceID, name, now); err != nil {
		return err
	}
	holder, err := nameHolder(txn, key.WorkspaceID, before, now)
	if err != nil {
		return err
	}
	if err := txn.Set(nameKey(key.WorkspaceID, after), []byte(key.ID)); err != nil {
		return err
	}
	if holder == nil || holder.ID != key.ID {
		return nil // its replacement keeps the name
	}
	old, err := holderOf(txn, before, key.Replaces, now)
	switch {
	case err != nil:
		return err
	case old != nil: // the key that it replaces keeps the name
		return txn.Set(nameKey(key.WorkspaceID, before), []byte(old.ID))
	}
	return txn.Delete(nameKey(key.WorkspaceID, before))
}
