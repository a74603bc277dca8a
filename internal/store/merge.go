package store

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// merge adds records of a backup to the store, in one transaction.
type merge struct {
	txn       *transaction
	mayHave   func(apikey.Digest) bool // see Store.MayHave
	now       time.Time
	actor     string    // who restores
	madeAt    time.Time // when the backup was made
	forgotten forgotten
	done      apikey.Restored
	outcomes  []apikey.Outcome // what whoever remembers something is to be told
}

// yieldAfter is how many records are merged before waiting requests have their turn.
const yieldAfter = 16

// all adds a batch, after what was done before.
func (m *merge) all(txn *transaction, before apikey.Restored, batch []backupLine) error {
	m.txn, m.done, m.outcomes = txn, before, nil
	if err := txn.pinClock(); err != nil {
		return err
	}
	var err error
	if m.forgotten, err = loadForgotten(txn); err != nil {
		return err
	}
	for i := range batch {
		if i%yieldAfter == 0 {
			runtime.Gosched() // requests first; to sleep here would hold up other changes
		}
		if err := m.record(&batch[i]); err != nil {
			return err
		}
	}
	return nil
}

func (m *merge) record(line *backupLine) error {
	switch {
	case line.Key != nil:
		return m.key(line.Key)
	case line.Use != nil:
		return nil // see writeUses
	case line.Suspension != nil:
		return m.suspension(line.Suspension)
	case line.Event != nil:
		return m.event(line.Event)
	case line.Feed != nil:
		return m.feed(line.Feed)
	case line.EndedFeed != nil:
		return m.endedFeed(apikey.Digest(line.EndedFeed), line.EndedAt)
	case line.Forgotten != nil:
		return noteForgotten(m.txn, *line.Forgotten)
	}
	return errors.New("a record of a backup is of no kind")
}

func (m *merge) key(record *keyRecord) error {
	restored, err := record.key()
	if err != nil {
		return err
	}
	known, err := keyByID(m.txn, restored.ID)
	switch {
	case errors.Is(err, durable.ErrNotFound):
		return m.newKey(restored)
	case err != nil:
		return err
	case known.Digest != restored.Digest:
		return fmt.Errorf("the key %s has another token in the backup than in the store", known.ID)
	}
	m.done.Known++
	return m.knownKey(known, restored)
}

// newKey adds a key that the store does not have.
func (m *merge) newKey(key *apikey.Key) error {
	if m.mayHave(key.Digest) { // else no key has it, and nothing need be looked up
		if _, err := m.txn.Get(digestKey(key.Digest)); !errors.Is(err, durable.ErrNotFound) {
			return errors.Join(fmt.Errorf("the token of the key %s of the backup is that of another key in the store", key.ID), err)
		}
	}
	if err := m.join(key); err != nil {
		return err
	}
	if key.Status(m.now) == apikey.Active && m.forgotten.mayHaveDeleted(key) {
		key.RevokedAt, key.RevokedBy, key.RevokeReason = m.now, m.actor, "it may have been deleted while the clock was wrong"
	}
	if err := m.name(key); err != nil {
		return err
	}
	m.done.Keys++
	return putNewKey(m.txn, key)
}

// join links a key with the one that it replaces, if that is there. It can be in
// the store from when it had no replacement, and no longer be in the backup.
func (m *merge) join(key *apikey.Key) error {
	if key.Replaces == "" {
		return nil
	}
	older, err := keyByID(m.txn, key.Replaces)
	if errors.Is(err, durable.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	key.Family = cmp.Or(key.Family, older.FamilyID()) // early backups have no families
	if older.ReplacedBy != "" {
		return nil
	}
	older.ReplacedBy, older.ReplacedAt = key.ID, key.CreatedAt
	m.outcomes = append(m.outcomes, apikey.Outcome{Stale: []apikey.Digest{older.Digest}})
	return putKey(m.txn, older)
}

// name gives a restored key another name where its own was given to another one
// meanwhile. No two active keys of a workspace have one name, but for those of one
// family.
func (m *merge) name(key *apikey.Key) error {
	if key.Status(m.now) != apikey.Active {
		return nil
	}
	given := key.Name
	for n := 1; ; n++ {
		holder, err := nameHolder(m.txn, key.WorkspaceID, key.Name, m.now)
		if err != nil || holder == nil || holder.Family == key.FamilyID() {
			return err
		}
		if n == 1 {
			m.done.Renamed++
		}
		if key.Name = renamed(given, m.now, strconv.Itoa(n)); n > maxRenamed {
			key.Name = renamed(given, m.now, key.ID)
		}
	}
}

// maxRenamed is how many keys with one name get a number. The others get their id,
// which nobody need look for.
const maxRenamed = 9

// renamed returns the name of a restored key whose own is taken: as much of it as
// there is room for, when it was restored, and which of several it is.
func renamed(name string, now time.Time, which string) string {
	suffix := " (restored " + now.Format(time.DateOnly) + ")"
	if which != "1" {
		suffix = " (restored " + now.Format(time.DateOnly) + ", " + which + ")"
	}
	runes := []rune(name)
	return string(runes[:min(len(runes), apikey.MaxName-len(suffix))]) + suffix
}

// knownKey has a key of the store end where it has ended in the backup. That is
// so if the store itself was brought back to before the backup.
func (m *merge) knownKey(known, restored *apikey.Key) error {
	changed, ended := false, false
	if known.RevokedAt.IsZero() && !restored.RevokedAt.IsZero() {
		known.RevokedAt, known.RevokedBy, known.RevokeReason = restored.RevokedAt, restored.RevokedBy, restored.RevokeReason
		changed, ended = true, true
		m.done.Revoked++
	}
	if !restored.RevokesAt.IsZero() && (known.RevokesAt.IsZero() || restored.RevokesAt.Before(known.RevokesAt)) {
		known.RevokesAt = restored.RevokesAt
		changed, ended = true, true
	}
	if known.ReplacedBy == "" && restored.ReplacedBy != "" {
		known.ReplacedBy, known.ReplacedAt = restored.ReplacedBy, restored.ReplacedAt
		changed = true
	}
	if known.ExposedAt.IsZero() && !restored.ExposedAt.IsZero() {
		known.ExposedAt = restored.ExposedAt
		changed = true
	}
	if !changed {
		return nil
	}
	outcome := apikey.Outcome{Stale: []apikey.Digest{known.Digest}}
	if ended {
		outcome.Replaced = *known // so that what is open ends when the key does
	}
	if ended && known.Status(m.now) != apikey.Active {
		outcome.Ended = outcome.Stale
	}
	m.outcomes = append(m.outcomes, outcome)
	return putKey(m.txn, known)
}

func mergeUse(txn *durable.Txn, record *useRecord) error {
	var err error
	if last, lookErr := noted(txn, lastUsedKey(record.KeyID)); lookErr != nil {
		return lookErr
	} else if last.At.Before(record.Last.time()) {
		value := strconv.AppendInt(nil, int64(record.Last), 10)
		err = txn.Set(lastUsedKey(record.KeyID), withAddress(value, record.From))
	}
	if record.First == 0 {
		return err
	}
	first, lookErr := noted(txn, firstUsedKey(record.KeyID))
	if lookErr == nil && (first.At.IsZero() || record.First.time().Before(first.At)) {
		lookErr = txn.Set(firstUsedKey(record.KeyID), strconv.AppendInt(nil, int64(record.First), 10))
	}
	return errors.Join(err, lookErr)
}

// suspension suspends a workspace that was suspended in the backup, unless it was
// resumed after that. An operator's suspension takes over one by the workspace's own
// administrator, who cannot have resumed it either.
func (m *merge) suspension(record *suspensionRecord) error {
	ws, err := workspaceByID(m.txn, record.WorkspaceID)
	if err != nil || ws.Suspended() && (record.Own || !ws.Own) {
		return err
	}
	resumed, err := m.resumedSince(record.WorkspaceID, record.Own)
	if err != nil || resumed {
		return err
	}
	ws.SuspendedAt, ws.Reason, ws.Own = record.SuspendedAt.time(), record.Reason, record.Own
	m.outcomes = append(m.outcomes, apikey.Outcome{Workspace: ws})
	m.done.Suspended++
	return putSuspension(m.txn, ws)
}

// feed opens a calendar feed that the backup has, unless it has ended in the
// store, or the workspace has another: then this one ends.
func (m *merge) feed(record *feedRecord) error {
	digest := apikey.Digest(record.Digest)
	if _, known, err := loadFeedState(m.txn, digest); known || err != nil {
		return err // nil: the store knows what became of it
	}
	if toMillis(m.madeAt) < m.forgotten.Feeds {
		return nil // it may have ended after the backup, and have been forgotten since
	}
	current, err := feedOf(m.txn, record.WorkspaceID)
	if err != nil {
		return err
	}
	if current != (apikey.Digest{}) {
		return putEndedFeed(m.txn, digest, feedState{}, toMillis(m.now))
	}
	return putFeed(m.txn, record)
}

// endedFeed ends a feed that has ended in the backup. That it is open in the store
// is so if the store itself was brought back to before the backup.
func (m *merge) endedFeed(digest apikey.Digest, at millis) error {
	state, _, err := loadFeedState(m.txn, digest)
	if err != nil || state.EndedAt != 0 { // it has ended in the store too
		return err
	}
	return putEndedFeed(m.txn, digest, state, cmp.Or(at, toMillis(m.madeAt)))
}

// resumedSince reports whether the trail of the store has it that a workspace was
// resumed after the backup was made: by an operator, or, where its own administrator
// had suspended it, by anybody.
func (m *merge) resumedSince(ws string, own bool) (bool, error) {
	prefix := eventIndexKey(ws, "")
	for id := range newestFirst(m.txn, prefix, "") {
		var r eventRecord
		if err := load(m.txn, eventKey(id), &r); err != nil {
			return false, err
		}
		if r.At.time().Before(m.madeAt) {
			return false, nil
		}
		if r.Operation == string(apikey.OpResume) && r.Details["refused"] == nil && (own || r.Details[detailBy] == byOperator) {
			return true, nil
		}
	}
	return false, nil
}

func (m *merge) event(record *eventRecord) error {
	if _, err := m.txn.Get(eventKey(record.ID)); !errors.Is(err, durable.ErrNotFound) {
		return err // nil: it is there
	}
	m.done.Events++
	return putEvent(m.txn, record)
}
