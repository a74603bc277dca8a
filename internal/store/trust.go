package store

import (
	"context"
	"errors"
	"hash/maphash"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/webhook"
)

// trustRecord is the machine's time when an operator confirmed it. It is a change
// rather than a note: it invalidates earlier notes.
type trustRecord struct {
	EventID string `json:"event_id"`
	At      millis `json:"at"`
}

// trustClock makes the machine's time the confirmed one. If that is earlier than the
// time by which keys were judged, some ended keys would become active again: those that
// must not are revoked first, in as many transactions as necessary.
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
	return outcome, errors.Join(saveTrust(txn, change.EventID, do), noteSetBack(txn, do.Clock), setScheduleBack(txn, do.Clock.Machine))
}

// saveTrust makes the machine's time the confirmed one.
func saveTrust(txn *transaction, eventID string, do apikey.TrustClock) error {
	return save(txn, clockTrustKey, trustRecord{EventID: eventID, At: toMillis(do.Clock.Machine)})
}

// noteSetBack records that the clock is set back to a time before the expiry of deleted
// keys.
func noteSetBack(txn *transaction, clock apikey.ClockReading) error {
	at := toMillis(clock.Machine)
	f, err := loadForgotten(txn)
	if err != nil || f.Keys <= at {
		return err
	}
	return noteForgotten(txn, forgotten{SetBack: at})
}

// revival walks over the keys that had ended by the time that is being set back.
// SettleEnds moves those that are active again back into the roster.
type revival struct {
	txn     *transaction
	change  apikey.Change
	now     time.Time         // the time that it is set back to
	holders map[string]member // see lastHolders
	revoked []*apikey.Key     // those that stay ended

	schedule schedule // what has been announced
}

var errFull = errors.New("the transaction is full")

// run walks over the keys that end after now, up to a time, and reports whether it has
// seen all of them.
func (r *revival) run(until time.Time) (done bool, err error) {
	if r.holders, err = r.lastHolders(until); err != nil {
		return false, err
	}
	if r.schedule, err = loadSchedule(r.txn); err != nil {
		return false, err
	}
	err = r.each(until, func(e ending, keyID string) error {
		if len(r.revoked) == r.txn.out.atOnce(maxRevoked) {
			return errFull
		}
		key, err := keyByID(r.txn, keyID)
		if err != nil {
			return err
		}
		if e.status() == apikey.Revoked { // users were told that it was
			told := r.schedule.isPast(0, key)
			key.RevokedAt = key.RevokesAt
			return r.revoke(key, told)
		}
		successor, err := r.successor(key)
		if err != nil || successor == "" {
			return err
		}
		key.RevokedAt, key.RevokedBy = r.change.At, r.change.Actor
		key.RevokeReason = "its name was given to " + successor
		return r.revoke(key, false)
	})
	if errors.Is(err, errFull) {
		return false, nil
	}
	return true, err
}

// each calls visit for the keys that end after now, up to a time, in the order of their
// ends.
func (r *revival) each(until time.Time, visit func(e ending, keyID string) error) error {
	return eachEnding(context.Background(), r.txn, toMillis(r.now)+1, toMillis(until)+1, visit)
}

// lastHolders returns, for each name that several of the keys have had, one after the
// other, the last key that had it. Of other names it keeps only a hash, because a wrong
// clock can have ended most keys of a store.
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

// revoke writes that a key is revoked. told means that its receivers know that already.
func (r *revival) revoke(key *apikey.Key, told bool) error {
	r.revoked = append(r.revoked, key)
	if told {
		return putKey(r.txn, key)
	}
	return errors.Join(putKey(r.txn, key), r.txn.tell(webhook.KeyRevoked, key, key.RevokedAt))
}

// successor returns the id of the key that was given the name of another after that had
// expired, if there is one that is or will be active. It is not a replacement of that
// key.
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
