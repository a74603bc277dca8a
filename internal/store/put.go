package store

import (
	"bytes"
	"cmp"
	"errors"
	"strings"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// put writes a key, new or changed, with everything that follows from it: its
// place in each index, and in each count. No key is written in another way.
func put(txn *transaction, key *apikey.Key) error {
	before, err := keyByID(txn, key.ID)
	if err != nil && !errors.Is(err, durable.ErrNotFound) {
		return err
	}
	return putAfter(txn, before, key)
}

// putAfter is put where it is known what the key was; nil for a new one.
func putAfter(txn *transaction, before, key *apikey.Key) error {
	return errors.Join(replace(txn, before, key), save(txn, recordKey(key.ID), toRecord(key)))
}

// erase removes a key and everything that follows from it, but for the notes of
// its uses.
func erase(txn *transaction, key *apikey.Key) error {
	return errors.Join(replace(txn, key, nil), txn.Delete(recordKey(key.ID)))
}

// replace brings the indexes from what a key was to what it is. before is nil for
// a new key, and after for one that is erased.
func replace(txn *transaction, before, after *apikey.Key) error {
	confirmed, err := confirmedTime(txn)
	if err != nil {
		return err
	}
	txn.changed = append(txn.changed, cmp.Or(after, before).WorkspaceID)
	if before == nil {
		txn.added = append(txn.added, after.Digest)
	}
	return errors.Join(
		replaceEntry(txn, digestEntry, before, after),
		replaceEntry(txn, workspaceEntry, before, after),
		replaceEnding(txn, before, after),
		replaceInRoster(txn, before, after, confirmed),
		replaceMember(txn, nameOf, before, after, confirmed),
		replaceMember(txn, familyOf, before, after, confirmed),
	)
}

func replaceEntry(txn *transaction, entryOf func(*apikey.Key) (key, value []byte), before, after *apikey.Key) error {
	if after == nil {
		key, _ := entryOf(before)
		return txn.Delete(key)
	}
	key, value := entryOf(after)
	if before != nil {
		if _, old := entryOf(before); bytes.Equal(old, value) {
			return nil
		}
	}
	return txn.Set(key, value)
}

func digestEntry(k *apikey.Key) (key, value []byte) { return digestKey(k.Digest), []byte(k.ID) }

func workspaceEntry(k *apikey.Key) (key, value []byte) {
	return workspaceKey(k.WorkspaceID, k.ID), []byte(searchText(k))
}

// searchText returns the text in which a key is searched: each of what it is found
// by, folded, in a line of its own. The last is its hint.
func searchText(k *apikey.Key) string {
	lines := []string{k.Name, k.Owner, k.ID, k.TokenHint}
	for i := range lines {
		lines[i] = apikey.FoldText(lines[i])
	}
	return strings.Join(lines, "\n")
}
