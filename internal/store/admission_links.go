package store

import (
	"errors"
	"slices"

	"github.com/oklog/ulid/v2"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// maxFamily is the maximum number of unrevoked keys in a family. Rotations leave three,
// and restores of lost stores a few more.
const maxFamily = 50

// links checks that a key and its replacement name each other. If the replacement was
// lost together with its store, the key may have received another one: then it names
// only one of the two.
func (a *admission) links(key *apikey.Key, met admitted) string {
	if older, ok := a.awaited[met.id]; ok {
		if key.Replaces != keyID(older) {
			return "is named as the replacement of a key that it does not replace"
		}
		delete(a.awaited, met.id)
	}
	if flaw := a.linkToOlder(key, met); flaw != "" {
		return flaw
	}
	if key.ReplacedBy != "" {
		newer := idOf(key.ReplacedBy)
		if _, ok := a.awaited[newer]; ok {
			return "has the same replacement as another key"
		}
		a.awaited[newer] = met.id
	}
	return ""
}

func (a *admission) linkToOlder(key *apikey.Key, met admitted) string {
	if key.Replaces == "" {
		return ""
	}
	if key.RevokedAt.IsZero() {
		a.families[met.family]++
	}
	older, ok := a.find(key.Replaces)
	switch {
	case a.families[met.family] > maxFamily:
		return "has too many unrevoked keys in its chain of rotations"
	case !ok: // it has been deleted
		return ""
	case older.workspace != met.workspace:
		return "replaces a key of another workspace"
	case !older.replaced:
		return "replaces a key that has no replacement"
	case key.Family != "" && older.family != met.family:
		return "does not belong to the same chain of rotations as the key it replaces"
	}
	return ""
}

// find returns a key that has occurred before.
func (a *admission) find(id string) (admitted, bool) {
	i, found := slices.BinarySearchFunc(a.keys, idOf(id), func(k admitted, id ulid.ULID) int { return k.id.Compare(id) })
	if !found {
		return admitted{}, false
	}
	return a.keys[i], true
}

// ids returns the ids of all keys, in order.
func (a *admission) ids() []ulid.ULID {
	ids := make([]ulid.ULID, len(a.keys))
	for i := range a.keys {
		ids[i] = a.keys[i].id
	}
	return ids
}

// contradiction says how a key contradicts those in the store.
func (a *admission) contradiction(key *apikey.Key) (string, error) {
	if value, found := a.there.At(recordKey(key.ID)); found {
		there, err := decodeKey(key.ID, value)
		if err != nil {
			return "", err
		}
		if there.Digest != key.Digest || there.WorkspaceID != key.WorkspaceID || there.Preset != key.Preset || there.Replaces != key.Replaces || key.Family != "" && there.Family != key.Family {
			return "differs from the key with this id in the store", nil
		}
	} else if a.mayHave(key.Digest) {
		if _, err := a.txn.Get(digestKey(key.Digest)); !errors.Is(err, durable.ErrNotFound) {
			return "has the same token as another one in the store", err
		}
	}
	for _, other := range []string{key.Replaces, key.ReplacedBy} {
		if other == "" {
			continue
		}
		linked, err := keyByID(a.txn, other)
		switch {
		case errors.Is(err, durable.ErrNotFound):
		case err != nil:
			return "", err
		case linked.WorkspaceID != key.WorkspaceID:
			return "is linked to a key of another workspace in the store", nil
		case other == key.ReplacedBy && linked.Replaces != key.ID:
			return "names a replacement that, in the store, does not replace it", nil
		}
	}
	return "", nil
}
