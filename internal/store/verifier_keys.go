package store

import (
	"bytes"
	"errors"
	"slices"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

func (v *verifier) key(record, value []byte) error {
	v.keys++
	key, err := decodeKey(keyIDIn(record), value)
	if err != nil {
		v.say("%v", err)
		return nil
	}
	v.flaw("key", key.ID, key.Flaw())
	ending := endingOf(key)
	v.entry(digestKey(key.Digest), string(encodeGrant(key.Grant())))
	v.entry(workspaceKey(key.WorkspaceID, key.ID), searchText(key))
	v.entry(endKey(ending, key.ID), string(ending.encode()))
	v.place(key)
	v.links(key)
	for span, counts := range map[span]map[millis]tally{days: v.daily, minutes: v.minutely} {
		t := counts[span.begin(ending.at)]
		t[ending.class]++
		counts[span.begin(ending.at)] = t
	}
	return nil
}

// links checks the keys that a key is linked to, which may have been deleted.
func (v *verifier) links(key *apikey.Key) {
	for _, other := range []string{key.Replaces, key.ReplacedBy} {
		if other == "" {
			continue
		}
		switch linked, err := keyByID(v.txn, other); {
		case errors.Is(err, durable.ErrNotFound):
		case err != nil:
			v.say("the key %s is linked to %s, which cannot be read: %v", key.ID, other, err)
		case linked.WorkspaceID != key.WorkspaceID:
			v.flaw("key", key.ID, "the key that it is linked to is of another workspace")
		}
	}
}

// place checks that a key is among either the current or the ended keys of its
// workspace.
func (v *verifier) place(key *apikey.Key) {
	r := v.rosters[key.WorkspaceID]
	value, current := v.slots.At(slotKey(key.ID))
	var slot uint32
	var err error
	if current {
		slot, err = decodeSlot(value, key.ID)
	}
	switch {
	case err != nil:
		v.say("%v", err)
	case !current:
		status := endingOf(key).status()
		*r.ended(status)++
		v.entry(endedKey(key.WorkspaceID, status, key.ID), "")
	default:
		r.Current++
		v.current++
		v.member(key, slot)
		if isCurrent(key, v.confirmed) { // others may leave the lists before the roster
			v.listed(key, familyOf(key))
			if v.folded {
				v.listed(key, nameOf(key))
			}
		}
	}
	v.rosters[key.WorkspaceID] = r
}

// member checks that a current key is in its slot.
func (v *verifier) member(key *apikey.Key, slot uint32) {
	if v.sums != nil {
		v.sums.expect(placeKey(key.WorkspaceID, slot), inList(memberOf(key)))
		return
	}
	if m, err := memberAt(v.txn, key.WorkspaceID, slot); err != nil || m != memberOf(key) {
		v.say("the current key %d of %q is not %s (%v)", slot, key.WorkspaceID, key.ID, err)
	}
}

// listed checks that a current key is in a list.
func (v *verifier) listed(key *apikey.Key, list []byte) {
	if list == nil {
		return
	}
	if v.sums != nil {
		v.sums.expect(list, inList(memberOf(key)))
		return
	}
	members, err := membersOf(v.txn, list)
	if err != nil || !slices.Contains(members, memberOf(key)) {
		v.say("the key %s is not in the list %q (%v)", key.ID, list, err)
	}
}

// names checks a list of keys by their name.
func (v *verifier) names(list, value []byte) error {
	if !v.folded {
		return nil
	}
	return v.members(list, value, nameOf)
}

// members checks that the keys of a list belong in it.
func (v *verifier) members(list, value []byte, listOf func(*apikey.Key) []byte) error {
	var members []member
	if err := decode(list, value, &members); err != nil {
		v.say("%v", err)
	}
	for _, m := range members {
		if v.sums != nil && m.End > v.confirmed { // others may be there, but need not
			v.sums.found(list, inList(m))
			continue
		}
		if key, err := keyByID(v.txn, m.ID); err != nil || memberOf(key) != m || !bytes.Equal(listOf(key), list) {
			v.say("the list %q has %s, which does not belong there (%v)", list, m.ID, err)
		}
	}
	return nil
}
