package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
	"github.com/agiled/caddy-api-keys/internal/webhook"
)

func create(txn *transaction, change apikey.Change, do apikey.Create) (apikey.Outcome, error) {
	key := do.Key
	if err := nameTaken(txn, key.WorkspaceID, key.Name, change.At); err != nil {
		return apikey.Outcome{}, err
	}
	switch room, err := hasRoom(txn, key.WorkspaceID, do.MaxActive, change.At); {
	case err != nil:
		return apikey.Outcome{}, err
	case !room:
		return apikey.Outcome{}, apikey.ErrTooManyKeys
	}
	if err := insert(txn, &key); err != nil {
		return apikey.Outcome{}, err
	}
	err := errors.Join(txn.tell(webhook.KeyCreated, &key, change.At), txn.tellBegun(&key, change.At))
	return apikey.Outcome{Key: key, Stale: []apikey.Digest{key.Digest}, Event: created(&key)}, err
}

// created returns the event of a new key, for eventOf to complete.
func created(key *apikey.Key) apikey.Event {
	return about(key, map[string]any{
		"name": key.Name, "owner": key.Owner, "preset": string(key.Preset), "expires_at": key.ExpiresAt.Format(time.RFC3339Nano),
	})
}

// insert adds a key with its indexes. It fails if the record could not be read back, or
// if the key already exists.
func insert(txn *transaction, key *apikey.Key) error {
	record := toRecord(key)
	if _, err := record.key(); err != nil {
		return err
	}
	unique := [][]byte{recordKey(key.ID)}
	if txn.mayHave(&key.Digest) {
		unique = append(unique, digestKey(key.Digest))
	}
	for _, name := range unique {
		if _, err := txn.Get(name); !errors.Is(err, durable.ErrNotFound) {
			return errors.Join(fmt.Errorf("the store already has the id or the digest of %s", key.ID), err)
		}
	}
	return putNewKey(txn, key)
}

func update(txn *transaction, change apikey.Change, do apikey.Update) (apikey.Outcome, error) {
	key, err := activeKey(txn, do.WorkspaceID, do.KeyID, change.At)
	if err != nil {
		return apikey.Outcome{}, err
	}
	details := make(map[string]any)
	if do.Name != nil && *do.Name != key.Name {
		if err := mayRename(txn, key, *do.Name, change.At); err != nil {
			return apikey.Outcome{}, err
		}
		details["name"], details["name_before"] = *do.Name, key.Name
		key.Name = *do.Name
	}
	if do.Owner != nil && *do.Owner != key.Owner {
		details["owner"], details["owner_before"] = *do.Owner, key.Owner
		key.Owner = *do.Owner
	}
	if len(details) == 0 {
		return apikey.Outcome{Key: *key, Unchanged: true}, nil
	}
	err = putKey(txn, key)
	return apikey.Outcome{Key: *key, Stale: []apikey.Digest{key.Digest}, Event: about(key, details)}, err
}

// mayRename refuses a name that belongs to another active key.
func mayRename(txn reader, key *apikey.Key, name string, now time.Time) error {
	if apikey.FoldName(key.Name) == apikey.FoldName(name) {
		return nil
	}
	return nameTaken(txn, key.WorkspaceID, name, now)
}

func rotate(txn *transaction, change apikey.Change, do apikey.Rotate) (apikey.Outcome, error) {
	old, err := activeKey(txn, do.WorkspaceID, do.KeyID, change.At)
	if err != nil {
		return apikey.Outcome{}, err
	}
	switch before, replacement, err := relatives(txn, old, change.At); {
	case err != nil:
		return apikey.Outcome{}, err
	case replacement != "":
		return apikey.Outcome{}, apikey.AlreadyRotated(replacement)
	case before >= maxOverlap:
		return apikey.Outcome{}, apikey.ErrTooManyKeys
	}
	key := do.Replacement
	key.WorkspaceID, key.Preset, key.Replaces, key.Family = old.WorkspaceID, old.Preset, old.ID, old.FamilyID()
	if key.Name == "" {
		key.Name = old.Name
	}
	key.Owner = old.Owner
	if do.Owner != nil {
		key.Owner = *do.Owner
	}
	if err := mayRename(txn, old, key.Name, change.At); err != nil {
		return apikey.Outcome{}, err
	}
	details := map[string]any{
		"replaced_by": key.ID, "name": key.Name, "owner": key.Owner, "preset": string(key.Preset), "expires_at": key.ExpiresAt.Format(time.RFC3339Nano),
	}
	outcome := apikey.Outcome{Stale: []apikey.Digest{key.Digest, old.Digest}}
	old.ReplacedBy, old.ReplacedAt = key.ID, change.At
	switch at := do.RevokeOldAt; {
	case at.IsZero() || !at.Before(old.ActiveUntil()): // it ends by then anyway
	case at.After(change.At):
		old.RevokesAt = at
	default:
		old.RevokedAt, old.RevokedBy, old.RevokeReason = change.At, change.Actor, "replaced by "+key.ID
		outcome.Revoked, outcome.Ended = 1, []apikey.Digest{old.Digest}
		details["revoked_at"] = change.At.Format(time.RFC3339Nano)
	}
	if old.RevokedAt.IsZero() && !old.RevokesAt.IsZero() {
		details["revokes_at"] = old.RevokesAt.Format(time.RFC3339Nano)
	}
	outcome.Key, outcome.Replaced, outcome.Event = key, *old, about(old, details)
	return outcome, errors.Join(putKey(txn, old), insert(txn, &key), tellRotated(txn, old, &key, change.At))
}

// tellRotated tells that a key has been replaced, and possibly revoked thereby.
func tellRotated(txn *transaction, old, replacement *apikey.Key, at time.Time) error {
	err := txn.tell(webhook.KeyRotated, old, at)
	if !old.RevokedAt.IsZero() {
		err = errors.Join(err, txn.tell(webhook.KeyRevoked, old, at))
	}
	return errors.Join(err, txn.tellBegun(replacement, at))
}

// maxOverlap is how many predecessors of a key may still be active when it is rotated.
// They do not count towards a workspace's limit, and so must not become many.
const maxOverlap = 2

func revoke(txn *transaction, change apikey.Change, do apikey.Revoke) (apikey.Outcome, error) {
	key, err := keyInWorkspace(txn, do.WorkspaceID, do.KeyID)
	if err != nil {
		return apikey.Outcome{}, err
	}
	if isRevoked(key) {
		return apikey.Outcome{Key: *key, Unchanged: true}, nil
	}
	err = end(txn, key, change, do.Reason)
	ended := []apikey.Digest{key.Digest}
	return apikey.Outcome{
		Key: *key, Revoked: 1, Stale: ended, Ended: ended,
		Event: about(key, map[string]any{"name": key.Name, "reason": do.Reason}),
	}, err
}

// leak marks a key, and revokes it if it has to be.
func leak(txn *transaction, change apikey.Change, do apikey.Leak) (apikey.Outcome, error) {
	key, err := keyInWorkspace(txn, do.WorkspaceID, do.KeyID)
	if err != nil {
		return apikey.Outcome{}, err
	}
	revokes := do.Revoke && !isRevoked(key)
	if !revokes && !key.LeakedAt.IsZero() {
		return apikey.Outcome{Key: *key, Unchanged: true}, nil
	}
	outcome := apikey.Outcome{Stale: []apikey.Digest{key.Digest}}
	if key.LeakedAt.IsZero() {
		key.LeakedAt = change.At
	}
	if revokes {
		err = end(txn, key, change, apikey.LeakReason(do.URL))
		outcome.Revoked, outcome.Ended = 1, outcome.Stale
	} else {
		err = putKey(txn, key)
	}
	err = errors.Join(err, txn.tell(webhook.KeyLeaked, key, change.At))
	outcome.Key = *key
	outcome.Event = about(key, map[string]any{"name": key.Name, "source": do.Source, "url": do.URL, "revoked": revokes})
	return outcome, err
}

// isRevoked reports whether a key was revoked for good. That its scheduled revocation has come
// is not enough: by the clocks of other gateways, or by this one once it is corrected, it may
// not have.
func isRevoked(key *apikey.Key) bool { return !key.RevokedAt.IsZero() }

// end revokes a key. If its scheduled revocation has come, it was revoked then, and receivers
// who were told so are not told again.
func end(txn *transaction, key *apikey.Key, change apikey.Change, reason string) error {
	at, told := key.EffectiveRevokedAt(change.At), false
	if at.IsZero() {
		at = change.At
	} else {
		announced, err := loadSchedule(txn)
		if err != nil {
			return err
		}
		told = announced.isPast(0, key)
	}
	key.RevokedAt, key.RevokedBy, key.RevokeReason = at, change.Actor, reason
	if err := putKey(txn, key); err != nil || told {
		return err
	}
	return txn.tell(webhook.KeyRevoked, key, at)
}

// maxRevoked is the maximum number of keys that one transaction revokes: as many as a fleet
// can commit together.
const maxRevoked = maxCommitted

// revokeAll revokes up to maxRevoked active keys of a workspace, or fewer if each has to be
// told. It reads no more of them than that: a workspace with many takes many transactions.
// Those that ended after the confirmed time count as active: the clock may be wrong.
func revokeAll(txn *transaction, change apikey.Change, do apikey.RevokeAll) (apikey.Outcome, error) {
	var outcome apikey.Outcome
	now := change.At
	confirmed, err := confirmedTime(txn)
	if err != nil {
		return outcome, err
	}
	if confirmed > 0 && confirmed < toMillis(now) {
		now = confirmed.time()
	}
	most := txn.out.atOnce(maxRevoked)
	active, err := someActive(txn, do.WorkspaceID, now, most+1)
	if err != nil || len(active) == 0 {
		return apikey.Outcome{Unchanged: true}, err
	}
	slices.SortFunc(active, func(a, b member) int { return strings.Compare(a.ID, b.ID) })
	var ids []string
	for _, m := range active[:min(len(active), most)] {
		key, err := keyByID(txn, m.ID)
		if err != nil {
			return outcome, err
		}
		if err := end(txn, key, change, do.Reason); err != nil {
			return outcome, err
		}
		ids = append(ids, key.ID)
		outcome.Ended = append(outcome.Ended, key.Digest)
	}
	outcome.Stale, outcome.Revoked, outcome.Unfinished = outcome.Ended, len(ids), len(active) > most
	outcome.Event.Details = map[string]any{"reason": do.Reason, "revoked": len(ids), "key_ids": ids}
	return outcome, nil
}

func ownerOf(txn reader, do apikey.Lookup) (apikey.Outcome, error) {
	key, err := keyByDigest(txn, do.Digest)
	if err != nil {
		return apikey.Outcome{}, err
	}
	return apikey.Outcome{Key: *key, Event: about(key, map[string]any{"name": key.Name})}, nil
}

func expose(txn *transaction, change apikey.Change, do apikey.Expose) (apikey.Outcome, error) {
	key, err := keyInWorkspace(txn, do.WorkspaceID, do.KeyID)
	if err != nil {
		return apikey.Outcome{}, err
	}
	if !key.ExposedAt.IsZero() {
		return apikey.Outcome{Key: *key, Unchanged: true}, nil
	}
	key.ExposedAt = change.At
	err = errors.Join(putKey(txn, key), txn.tell(webhook.KeyExposed, key, change.At))
	return apikey.Outcome{Key: *key, Stale: []apikey.Digest{key.Digest}, Event: about(key, map[string]any{"name": key.Name})}, err
}
