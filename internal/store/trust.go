package store

import (
	"context"
	"errors"
	"hash/maphash"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// trustRecord is the machine's time when an operator said that it was right. It is
// a change, and no note: notes from before it mean nothing any more.
type trustRecord struct {
	EventID string `json:"event_id"`
	At      millis `json:"at"`
}

// trustClock makes the machine's time the confirmed one. Where that is earlier than
// the time that keys were judged by, some that had ended would not have: those that
// must stay so are revoked first, in as many transactions as it takes.
func trustClock(txn *transaction, change apikey.Change, do apikey.TrustClock) (outcome apikey.Outcome, err error) {
	if do.Clock.Status() == apikey.ClockAgrees {
		return outcome, apikey.ErrClockAgrees
	}
	r := revival{txn: txn, change: change, now: do.Clock.Machine}
	done, err := r.run(do.Clock.Judged)
	if err != nil {
		return outcome, err
	}
	ids := make([]string, 0, len(r.revoked))
	for _, key := range r.revoked {
		ids = append(ids, key.ID)
		outcome.Ended = append(outcome.Ended, key.Digest)
	}
	outcome.Stale, outcome.Revoked, outcome.Unfinished = outcome.Ended, len(ids), !done
	outcome.Event.Details = map[string]any{"reason": do.Reason, "revoked": len(ids), "key_ids": ids}
	if outcome.Unfinished {
		return outcome, nil
	}
	outcome.Trusted = do.Clock.Machine
	outcome.Event.Details["from"] = do.Clock.Judged.UTC().Format(time.RFC3339Nano)
	outcome.Event.Details["to"] = do.Clock.Machine.UTC().Format(time.RFC3339Nano)
	return outcome, errors.Join(
		save(txn, clockTrustKey, trustRecord{EventID: change.EventID, At: toMillis(do.Clock.Machine)}),
		noteSetBack(txn, do.Clock),
	)
}

// noteSetBack notes that the clock is set back to before keys expired that were deleted.
func noteSetBack(txn *transaction, clock apikey.ClockReading) error {
	at := toMillis(clock.Machine)
	f, err := loadForgotten(txn)
	if err != nil || f.Keys <= at {
		return err
	}
	return noteForgotten(txn, forgotten{SetBack: at})
}

// revival goes through the keys that had ended by a time which is set back. Those
// that are active again are brought back into the roster by SettleEnds.
type revival struct {
	txn     *transaction
	change  apikey.Change
	now     time.Time         // to which it is set back
	holders map[string]member // see lastHolders
	revoked []*apikey.Key     // those that stay ended
}

var errFull = errors.New("a transaction holds no more")

// run goes through the keys that end after now, up to a time, and reports whether
// it has seen all of them.
func (r *revival) run(until time.Time) (done bool, err error) {
	if r.holders, err = r.lastHolders(until); err != nil {
		return false, err
	}
	err = r.each(until, func(e ending, keyID string) error {
		if len(r.revoked) == maxRevoked {
			return errFull
		}
		key, err := keyByID(r.txn, keyID)
		if err != nil {
			return err
		}
		if e.status() == apikey.Revoked { // people were told that it is
			key.RevokedAt = key.RevokesAt
			return r.revoke(key)
		}
		successor, err := r.successor(key)
		if err != nil || successor == "" {
			return err
		}
		key.RevokedAt, key.RevokedBy = r.change.At, r.change.Actor
		key.RevokeReason = "its name was given to " + successor
		return r.revoke(key)
	})
	if errors.Is(err, errFull) {
		return false, nil
	}
	return true, err
}

// each calls visit for the keys that end after now, up to a time, in the order of
// their ends.
func (r *revival) each(until time.Time, visit func(e ending, keyID string) error) error {
	return eachEnding(context.Background(), r.txn, toMillis(r.now)+1, toMillis(until)+1, visit)
}

// lastHolders returns which key had a name last, of the names that several of the keys
// have: one after the other, by the time that is set back. Of the other names it only
// remembers a hash: most keys of a store can have ended by a wrong clock.
func (r *revival) lastHolders(until time.Time) (map[string]member, error) {
	seed, seen, holders := maphash.MakeSeed(), make(map[uint64]struct{}), make(map[string]member)
	err := r.each(until, func(e ending, keyID string) error {
		if e.status() == apikey.Revoked {
			return nil
		}
		key, err := keyByID(r.txn, keyID)
		if err != nil {
			return err
		}
		name := nameOf(key)
		hash := maphash.Bytes(seed, name)
		if _, shared := seen[hash]; shared {
			holders[string(name)] = memberOf(key)
		}
		seen[hash] = struct{}{}
		return nil
	})
	return holders, err
}

func (r *revival) revoke(key *apikey.Key) error {
	r.revoked = append(r.revoked, key)
	return putKey(r.txn, key)
}

// successor returns the key that was given the name of a key when that had expired,
// if there is one, and is active or will be. It is none of the key's replacements.
func (r *revival) successor(key *apikey.Key) (id string, err error) {
	name := nameOf(key)
	members, err := membersOf(r.txn, name)
	if last, shared := r.holders[string(name)]; shared {
		members = append(members, last)
	}
	for _, m := range members {
		if m.active(r.now) && m.ID != key.ID && m.Family != key.FamilyID() {
			return m.ID, err
		}
	}
	return "", err
}
