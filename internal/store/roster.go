package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// A key of a workspace is either current or has ended. It leaves the roster of current
// keys when it is revoked, or soon after it has expired, by [Store.SettleEnds]. So
// readers of a roster have to compare ends with the time.
//
// Current keys have slots, numbered from 0 without gaps: if a key leaves, the last one
// moves into its slot. Reading them all takes one lookup each, however many keys have
// ended. A walk over an index would have to skip every deleted entry that Badger still
// keeps.

// roster counts the keys of a workspace.
type roster struct {
	Current uint32 `json:"current"`
	Expired int    `json:"expired,omitzero"`
	Revoked int    `json:"revoked,omitzero"`
}

// member is what a list says about a current key, so that its record need not be read.
type member struct {
	ID      string `json:"id"`
	End     millis `json:"end"`
	Revoked bool   `json:"revoked,omitzero"` // at its end it is revoked rather than expires
	Family  string `json:"family"`
}

func memberOf(k *apikey.Key) member {
	e := endingOf(k)
	return member{ID: k.ID, End: e.at, Revoked: e.status() == apikey.Revoked, Family: k.FamilyID()}
}

func (m *member) active(now time.Time) bool { return m.End > toMillis(now) }

func (m *member) status(now time.Time) apikey.Status {
	switch {
	case m.active(now):
		return apikey.Active
	case m.Revoked:
		return apikey.Revoked
	}
	return apikey.Expired
}

// confirmedTime returns the time that has passed for certain, by the clocks of all gateways of
// a fleet unless they differ by more than a jump. A key that ended before it stays ended,
// however the clock is set.
func confirmedTime(txn reader) (millis, error) {
	note, _, err := clockNote(txn)
	if err != nil || note.Confirmed.IsZero() {
		return 0, err
	}
	return toMillis(note.Confirmed.Add(-jump)), nil
}

// isCurrent reports whether a key belongs in the roster of its workspace.
func isCurrent(k *apikey.Key, confirmed millis) bool {
	return k != nil && endingOf(k).at > confirmed
}

func loadRoster(txn reader, ws string) (r roster, err error) {
	value, err := txn.Get(rosterKey(ws))
	if err != nil {
		return r, ignoreNotFound(err)
	}
	return decodeRoster(ws, value)
}

func (r *roster) save(txn *transaction, ws string) error {
	if *r == (roster{}) {
		return txn.Delete(rosterKey(ws))
	}
	return txn.Set(rosterKey(ws), r.encode())
}

// placeKey returns the database key of a slot in the roster of a workspace.
func placeKey(ws string, slot uint32) []byte {
	return binary.BigEndian.AppendUint32(inWorkspace("x/", ws, ""), slot)
}

// slotOf returns the slot of a key, if it is current.
func slotOf(txn reader, keyID string) (slot uint32, current bool, err error) {
	value, err := txn.Get(slotKey(keyID))
	if errors.Is(err, durable.ErrNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	slot, err = decodeSlot(value, keyID)
	return slot, err == nil, err
}

func decodeSlot(value []byte, keyID string) (uint32, error) {
	if len(value) != 4 {
		return 0, fmt.Errorf("the slot of %s is damaged", keyID)
	}
	return binary.BigEndian.Uint32(value), nil
}

func memberAt(txn reader, ws string, slot uint32) (m member, err error) {
	err = load(txn, placeKey(ws, slot), &m)
	if err != nil {
		err = fmt.Errorf("the current key %d of %q: %w", slot, ws, err)
	}
	return m, err
}

// setSlot puts a member into a slot.
func setSlot(txn *transaction, ws string, slot uint32, m member) error {
	return errors.Join(
		txn.Set(placeKey(ws, slot), m.encode()),
		txn.Set(slotKey(m.ID), binary.BigEndian.AppendUint32(nil, slot)),
	)
}

func (r *roster) add(txn *transaction, ws string, m member) error {
	r.Current++
	return setSlot(txn, ws, r.Current-1, m)
}

// remove removes a key, and moves the last member into its slot.
func (r *roster) remove(txn *transaction, ws string, slot uint32, keyID string) error {
	last, err := memberAt(txn, ws, r.Current-1)
	if err != nil {
		return err
	}
	r.Current--
	err = errors.Join(txn.Delete(placeKey(ws, r.Current)), txn.Delete(slotKey(keyID)))
	if last.ID != keyID {
		err = errors.Join(err, setSlot(txn, ws, slot, last))
	}
	return err
}

// endedKey returns a key's entry in the index of ended keys by status.
func endedKey(ws string, status apikey.Status, keyID string) []byte {
	return inWorkspace("d/", ws, string(status[:1])+keyID)
}

func (r *roster) ended(status apikey.Status) *int {
	if status == apikey.Revoked {
		return &r.Revoked
	}
	return &r.Expired
}

func (r *roster) addEnded(txn *transaction, ws string, status apikey.Status, keyID string) error {
	*r.ended(status)++
	return txn.Set(endedKey(ws, status, keyID), nil)
}

func (r *roster) removeEnded(txn *transaction, ws string, status apikey.Status, keyID string) error {
	*r.ended(status)--
	return txn.Delete(endedKey(ws, status, keyID))
}

// replaceInRoster moves a key between the current and the ended keys of its workspace.
func replaceInRoster(txn *transaction, before, after *apikey.Key, confirmed millis) error {
	key := after
	if key == nil {
		key = before
	}
	ws := key.WorkspaceID
	r, err := loadRoster(txn, ws)
	if err != nil {
		return err
	}
	slot, was := uint32(0), false
	if before != nil { // a new key has no slot yet
		if slot, was, err = slotOf(txn, key.ID); err != nil {
			return err
		}
	}
	switch stays := isCurrent(after, confirmed); {
	case was && stays:
		if memberOf(before) == memberOf(after) {
			return nil
		}
		return setSlot(txn, ws, slot, memberOf(after))
	case was:
		err = r.remove(txn, ws, slot, key.ID)
	case before != nil:
		err = r.removeEnded(txn, ws, endingOf(before).status(), key.ID)
	}
	switch {
	case isCurrent(after, confirmed):
		err = errors.Join(err, r.add(txn, ws, memberOf(after)))
	case after != nil:
		err = errors.Join(err, r.addEnded(txn, ws, endingOf(after).status(), key.ID))
	}
	return errors.Join(err, r.save(txn, ws))
}

// eachMember calls visit for every current key of a workspace, in no particular order.
func eachMember(ctx context.Context, txn reader, ws string, visit func(member) error) error {
	r, err := loadRoster(txn, ws)
	if err != nil {
		return err
	}
	p := durable.NewPacer(ctx)
	for slot := range r.Current {
		if err := p.Step(); err != nil {
			return err
		}
		m, err := memberAt(txn, ws, slot)
		if err == nil {
			err = visit(m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// activeMembers returns the active keys of a workspace.
func activeMembers(ctx context.Context, txn reader, ws string, now time.Time) (active []member, err error) {
	err = eachMember(ctx, txn, ws, func(m member) error {
		if m.active(now) {
			active = append(active, m)
		}
		return nil
	})
	return active, err
}

// someActive returns up to most of the active keys of a workspace.
func someActive(txn reader, ws string, now time.Time, most int) (active []member, err error) {
	err = eachMember(context.Background(), txn, ws, func(m member) error {
		if m.active(now) {
			active = append(active, m)
		}
		if len(active) == most {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return active, err
}

// hasRoom reports whether a workspace has fewer active keys than the maximum, of which
// 0 means none. A family counts as one key: a key that is being replaced does not count
// in addition to its replacement.
func hasRoom(txn reader, ws string, most int, now time.Time) (bool, error) {
	if most == 0 {
		return true, nil
	}
	r, err := loadRoster(txn, ws)
	if err != nil || int(r.Current) < most {
		return err == nil, err
	}
	if now, err = withoutJump(txn, now); err != nil {
		return false, err
	}
	families := make(map[string]bool)
	err = eachMember(context.Background(), txn, ws, func(m member) error {
		if m.active(now) {
			families[m.Family] = true
		}
		if len(families) >= most { // imports can have made it many more
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return false, nil
	}
	return err == nil, err
}
