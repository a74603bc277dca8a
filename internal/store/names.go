package store

import (
	"errors"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// maxForgotten bounds the names that one change forgets: a transaction can hold
// some ten thousand writes.
const maxForgotten = 1000

// names are the names of a workspace's active keys.
type names struct {
	holders map[string]*apikey.Key // by folded name
	// active counts the active keys. One that is being replaced is not counted
	// beside its replacement.
	active int
}

// taken reports whether an active key has the name.
func (n names) taken(name string) bool { return n.holders[apikey.FoldName(name)] != nil }

// activeNames reads the names of a workspace's active keys. Names of keys that
// have ended are forgotten on the way, so that the index stays about as small
// as the number of keys that a workspace may have. A clock that was set forward
// ends no key here: see believed.
func activeNames(txn *badger.Txn, workspaceID string, now time.Time) (names, error) {
	found := names{holders: make(map[string]*apikey.Key)}
	now, err := believed(txn, now)
	if err != nil {
		return names{}, err
	}
	prefix := nameKey(workspaceID, "")
	var ended [][]byte
	err = each(txn, prefix, func(item *badger.Item) error {
		id, err := item.ValueCopy(nil)
		if err != nil {
			return err
		}
		name := string(item.Key()[len(prefix):])
		holder, err := holderOf(txn, name, string(id), now)
		if err != nil {
			return err
		}
		if holder != nil {
			found.holders[name] = holder
			replaced, err := hasLiveReplacement(txn, holder, now)
			if err == nil && !replaced {
				found.active++
			}
			return err
		}
		if len(ended) < maxForgotten {
			ended = append(ended, item.KeyCopy(nil))
		}
		return nil
	})
	for _, name := range ended {
		err = errors.Join(err, txn.Delete(name))
	}
	return found, err
}

// holderOf returns the active key that has a folded name, or nil: the key in the
// index or, if that one has ended, the youngest of those that it was to replace,
// one by one. They are all asked: any of them may have another name by now.
func holderOf(txn *badger.Txn, name, id string, now time.Time) (*apikey.Key, error) {
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
func rename(txn *badger.Txn, key *apikey.Key, name string, now time.Time) error {
	before, after := apikey.FoldName(key.Name), apikey.FoldName(name)
	if before == after {
		return nil
	}
	now, err := believed(txn, now)
	if err != nil {
		return err
	}
	found, err := activeNames(txn, key.WorkspaceID, now)
	if err != nil {
		return err
	}
	if found.holders[after] != nil {
		return apikey.ErrNameTaken
	}
	if err := txn.Set(nameKey(key.WorkspaceID, after), []byte(key.ID)); err != nil {
		return err
	}
	if holder := found.holders[before]; holder == nil || holder.ID != key.ID {
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
