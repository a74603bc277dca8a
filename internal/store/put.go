package store

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
	"github.com/agiled/caddy-api-keys/internal/webhook"
)

// The functions of this file write the contents of the store, apart from its notes:
// each record together with the indexes and counts that follow from it. Nothing else
// writes keys, suspensions, calendar feeds, signing keys, events or messages.

// putKey writes a key, new or changed.
func putKey(txn *transaction, key *apikey.Key) error {
	before, err := keyByID(txn, key.ID)
	if err != nil && !errors.Is(err, durable.ErrNotFound) {
		return err
	}
	return putKeyOver(txn, before, key)
}

// putNewKey is putKey for a key that is known to be new.
func putNewKey(txn *transaction, key *apikey.Key) error { return putKeyOver(txn, nil, key) }

func putKeyOver(txn *transaction, before, key *apikey.Key) error {
	value, err := encode(toRecord(key))
	return errors.Join(err, putKeyAs(txn, before, key, value))
}

// putKeyAs writes a key with its record as it is: the records of a replica are those of
// the fleet to the byte, even if a newer version wrote them.
func putKeyAs(txn *transaction, before, key *apikey.Key, record []byte) error {
	txn.records.putKey(before, key, record)
	return errors.Join(reindex(txn, before, key), txn.Set(recordKey(key.ID), record))
}

// eraseKey deletes a key, but not the notes of its uses.
func eraseKey(txn *transaction, key *apikey.Key) error {
	txn.records.add(apikey.RecordKey, key.ID, nil)
	return errors.Join(reindex(txn, key, nil), txn.Delete(recordKey(key.ID)))
}

// settleKey moves a key to the lists where it belongs by the confirmed time.
func settleKey(txn *transaction, key *apikey.Key, confirmed millis) error {
	return errors.Join(
		replaceInRoster(txn, key, key, confirmed),
		replaceMember(txn, nameOf, key, key, confirmed),
		replaceMember(txn, familyOf, key, key, confirmed),
	)
}

// putSuspension suspends a workspace.
func putSuspension(txn *transaction, ws apikey.Workspace) error {
	value, err := encode(workspaceRecord{SuspendedAt: toMillis(ws.SuspendedAt), Reason: ws.Reason, Own: ws.Own})
	return errors.Join(err, putSuspensionAs(txn, ws.ID, value))
}

func putSuspensionAs(txn *transaction, workspaceID string, record []byte) error {
	txn.records.add(apikey.RecordSuspension, workspaceID, record)
	txn.records.ends = true
	return txn.Set(suspensionKey(workspaceID), record)
}

// eraseSuspension resumes a workspace.
func eraseSuspension(txn *transaction, workspaceID string) error {
	txn.records.add(apikey.RecordSuspension, workspaceID, nil)
	return txn.Delete(suspensionKey(workspaceID))
}

// putFeed opens a calendar feed for a workspace that has none.
func putFeed(txn *transaction, r *feedRecord) error {
	value, err := encode(r)
	return errors.Join(err, putFeedAs(txn, r, value))
}

func putFeedAs(txn *transaction, r *feedRecord, record []byte) error {
	digest := apikey.Digest(r.Digest)
	txn.records.addFeed(digest, record)
	return errors.Join(
		txn.Set(feedKey(digest), feedState{WorkspaceID: r.WorkspaceID}.encode()),
		txn.Set(workspaceFeedKey(r.WorkspaceID), record),
	)
}

// putEndedFeed ends an open calendar feed or, if before is the zero state, records that
// a feed has ended that the store did not have. No backup opens it again.
func putEndedFeed(txn *transaction, digest apikey.Digest, before feedState, at millis) error {
	return putEndedFeedAs(txn, digest, before, at, feedState{EndedAt: at}.encode())
}

func putEndedFeedAs(txn *transaction, digest apikey.Digest, before feedState, at millis, record []byte) error {
	txn.records.addFeed(digest, record)
	err := errors.Join(
		txn.Set(feedKey(digest), record),
		txn.Set(endedFeedKey(at, digest), nil),
	)
	if before.WorkspaceID == "" {
		return err
	}
	return errors.Join(err, txn.Delete(workspaceFeedKey(before.WorkspaceID)))
}

// eraseFeed deletes the record of a calendar feed, open or ended.
func eraseFeed(txn *transaction, digest apikey.Digest, state feedState) error {
	txn.records.addFeed(digest, nil)
	err := txn.Delete(feedKey(digest))
	if state.EndedAt != 0 {
		return errors.Join(err, txn.Delete(endedFeedKey(state.EndedAt, digest)))
	}
	return errors.Join(err, txn.Delete(workspaceFeedKey(state.WorkspaceID)))
}

// putSigningKeys writes the keys that sign assertions.
func putSigningKeys(txn *transaction, record []byte) error {
	txn.records.add(apikey.RecordSigningKeys, apikey.SigningKeysID, record)
	return txn.Set(signingKeysKey, record)
}

func eraseSigningKeys(txn *transaction) error {
	txn.records.add(apikey.RecordSigningKeys, apikey.SigningKeysID, nil)
	return txn.Delete(signingKeysKey)
}

// putEvent writes an event of the audit trail.
func putEvent(txn *transaction, r *eventRecord) error {
	value, err := encode(r)
	return errors.Join(err, putEventAs(txn, r, value))
}

func putEventAs(txn *transaction, r *eventRecord, record []byte) error {
	txn.records.add(apikey.RecordEvent, r.ID, record)
	err := txn.Set(eventKey(r.ID), record)
	if r.WorkspaceID == "" {
		return err
	}
	return errors.Join(err, txn.Set(eventIndexKey(r.WorkspaceID, r.ID), nil))
}

// putSchedule writes which ends of keys have been announced.
func putSchedule(txn *transaction, record []byte) error {
	txn.records.add(apikey.RecordSchedule, apikey.ScheduleID, record)
	return txn.Set(scheduleKey, record)
}

func eraseSchedule(txn *transaction) error {
	txn.records.add(apikey.RecordSchedule, apikey.ScheduleID, nil)
	return txn.Delete(scheduleKey)
}

// putMessages writes the messages about what a transaction has changed.
func putMessages(txn *transaction) (err error) {
	for _, m := range txn.out.messages {
		value, encodeErr := m.Encode()
		err = errors.Join(err, encodeErr, txn.Set(messageKey(m.Receiver, m.Workspace, m.ID), value))
	}
	return err
}

func eraseMessage(txn *transaction, m webhook.Message) error {
	return txn.Delete(messageKey(m.Receiver, m.Workspace, m.ID))
}

func eraseEvent(txn *transaction, r *eventRecord) error {
	txn.records.add(apikey.RecordEvent, r.ID, nil)
	err := txn.Delete(eventKey(r.ID))
	if r.WorkspaceID == "" {
		return err
	}
	return errors.Join(err, txn.Delete(eventIndexKey(r.WorkspaceID, r.ID)))
}

// reindex updates the indexes for a key that has changed. before is nil for a new key,
// and after for one that is being erased.
func reindex(txn *transaction, before, after *apikey.Key) error {
	confirmed, err := confirmedTime(txn)
	if err != nil {
		return err
	}
	txn.changed = append(txn.changed, cmp.Or(after, before).WorkspaceID)
	if before == nil {
		txn.added = append(txn.added, after.Digest)
		err = putPrefix(txn, after)
	}
	return errors.Join(
		err,
		replaceEntry(txn, digestEntry, before, after),
		replaceEntry(txn, workspaceEntry, before, after),
		replaceEnding(txn, before, after),
		replaceInRoster(txn, before, after, confirmed),
		replaceMember(txn, nameOf, before, after, confirmed),
		replaceMember(txn, familyOf, before, after, confirmed),
	)
}

// putPrefix notes the prefix of a new key's token. Where a key was imported, its hint is
// not ours.
func putPrefix(txn *transaction, key *apikey.Key) error {
	prefix := apikey.HintPrefix(key.TokenHint)
	if prefix == "" || key.Imported || slices.Contains(txn.issued, prefix) {
		return nil
	}
	if _, err := txn.Get(prefixKey(prefix)); !errors.Is(err, durable.ErrNotFound) {
		return err
	}
	txn.issued = append(txn.issued, prefix)
	return txn.Set(prefixKey(prefix), nil)
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

func digestEntry(k *apikey.Key) (key, value []byte) {
	return digestKey(k.Digest), encodeGrant(k.Grant())
}

func workspaceEntry(k *apikey.Key) (key, value []byte) {
	return workspaceKey(k.WorkspaceID, k.ID), []byte(searchText(k))
}

// searchText returns the text that is searched to find a key: its name, owner, id and
// hint, folded, each in its own line.
func searchText(k *apikey.Key) string {
	lines := []string{k.Name, k.Owner, k.ID, k.TokenHint}
	for i := range lines {
		lines[i] = apikey.FoldText(lines[i])
	}
	return strings.Join(lines, "\n")
}
