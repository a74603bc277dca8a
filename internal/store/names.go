package store

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// Current keys with the same name, or of the same family, are in a list. Lists are
// short: only a key and its replacements share a name, and at most three of them are
// active. An expired key leaves the list when another one joins.

// nameOf returns the list of the keys that have the name of a key.
func nameOf(k *apikey.Key) []byte { return nameKey(k.WorkspaceID, apikey.FoldName(k.Name)) }

// familyOf returns the list of a key's family; nil if the key neither replaces another
// one nor was replaced.
func familyOf(k *apikey.Key) []byte {
	if k.Family == "" && k.ReplacedBy == "" {
		return nil
	}
	return familyKey(k.WorkspaceID, k.FamilyID())
}

// replaceMember moves a key from its former list to the one where it belongs now. A key
// that is no longer current belongs in none.
func replaceMember(txn *transaction, listOf func(*apikey.Key) []byte, before, after *apikey.Key, confirmed millis) error {
	var from, to []byte
	if before != nil {
		from = listOf(before)
	}
	if isCurrent(after, confirmed) {
		to = listOf(after)
	}
	return moveMember(txn, from, to, memberOf(cmp.Or(after, before)), confirmed)
}

// moveMember moves a key from one list to another. Either may be nil, which means none.
// If both are the same, it updates the key's entry.
func moveMember(txn *transaction, from, to []byte, moved member, confirmed millis) error {
	isMoved := func(m member) bool { return m.ID == moved.ID }
	if from != nil && !bytes.Equal(from, to) {
		if err := changeMembers(txn, from, confirmed, func(members []member) []member {
			return slices.DeleteFunc(members, isMoved)
		}); err != nil {
			return err
		}
	}
	if to == nil {
		return nil
	}
	return changeMembers(txn, to, confirmed, func(members []member) []member {
		i := slices.IndexFunc(members, isMoved)
		if i < 0 {
			return append(members, moved)
		}
		members[i] = moved // keep the order, which in a family is that of the rotations
		return members
	})
}

func changeMembers(txn *transaction, list []byte, confirmed millis, change func([]member) []member) error {
	before, err := membersOf(txn, list)
	if err != nil {
		return err
	}
	after := slices.DeleteFunc(change(slices.Clone(before)), func(m member) bool { return m.End <= confirmed })
	switch {
	case slices.Equal(before, after):
		return nil
	case len(after) == 0:
		return txn.Delete(list)
	}
	return txn.Set(list, encodeMembers(after))
}

func membersOf(txn reader, list []byte) (members []member, err error) {
	err = load(txn, list, &members)
	if errors.Is(err, durable.ErrNotFound) {
		err = nil
	}
	return members, err
}

// nameTaken returns [apikey.ErrNameTaken] if an active key of the workspace has the
// name, or one that looks like it.
func nameTaken(txn reader, workspaceID, name string, now time.Time) error {
	holder, err := nameHolder(txn, workspaceID, name, now)
	if err != nil || holder == nil {
		return err
	}
	key, err := keyByID(txn, holder.ID)
	if err != nil {
		return err
	}
	return apikey.NameTaken(name, key.Name)
}

// nameHolder returns an active key of the workspace that has the name, or nil. A clock
// that was set forward does not free names: see withoutJump.
func nameHolder(txn reader, workspaceID, name string, now time.Time) (*member, error) {
	now, err := withoutJump(txn, now)
	if err != nil {
		return nil, err
	}
	members, err := membersOf(txn, nameKey(workspaceID, apikey.FoldName(name)))
	i := slices.IndexFunc(members, func(m member) bool { return m.active(now) })
	if err != nil || i < 0 {
		return nil, err
	}
	return &members[i], nil
}

// relatives counts the active keys from which a key was rotated, directly or not, and
// returns the id of the newest active one that was rotated from it, "" if there is none.
func relatives(txn reader, key *apikey.Key, now time.Time) (before int, replacement string, err error) {
	list := familyOf(key)
	if list == nil {
		return 0, "", nil
	}
	members, err := membersOf(txn, list)
	passed := false
	for _, m := range members {
		switch {
		case m.ID == key.ID:
			passed = true
		case !m.active(now):
		case passed:
			replacement = m.ID
		default:
			before++
		}
	}
	return before, replacement, err
}
