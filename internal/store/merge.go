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

// merge adds records of a backup to the store in one transaction.
type merge struct {
	txn     *transaction
	mayHave func(apikey.Digest) bool // see Store.MayHave
	now     time.Time
	actor   string    // who restores
	madeAt  time.Time // when the backup was made
	// awaited reports whether another change waits, for which some records are left for
	// later; nil if none are.
	awaited   func() bool
	merged    int // how many records of the batch have been added
	forgotten forgotten
	buries    bool  // the store has tombstones
	keys      known // of the batch
	events    known
	done      apikey.Restored
	outcomes  []apikey.Outcome // to be passed to onChange
}

// yieldAfter is the number of records after which waiting requests get a turn.
const yieldAfter = 16

// all adds a batch of records, or the first of them. before is what earlier batches have
// done.
func (m *merge) all(txn *transaction, before apikey.Restored, batch []backupLine) error {
	m.txn, m.done, m.outcomes, m.merged = txn, before, nil, 0
	if err := txn.pinClock(); err != nil {
		return err
	}
	var err error
	if m.forgotten, err = loadForgotten(txn); err != nil {
		return err
	}
	m.buries = hasAny(txn, tombstonePrefix)
	m.lookAhead(batch)
	writes := 0
	for i := range batch {
		if i%yieldAfter == 0 {
			if writes >= 2*restoredWhileAwaited && m.awaited != nil && m.awaited() {
				return nil
			}
			runtime.Gosched() // requests take precedence; sleeping here would delay other changes
		}
		if err := m.record(&batch[i]); err != nil {
			return err
		}
		m.merged, writes = i+1, writes+batch[i].most()
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
	case line.Tombstone != nil:
		return m.tombstone(apikey.Digest(line.Tombstone))
	case line.Forgotten != nil:
		return noteForgotten(m.txn, *line.Forgotten)
	}
	return errors.New("a record of the backup is of an unknown kind")
}

func (m *merge) key(record *keyRecord) error {
	restored, err := record.key()
	if err != nil {
		return err
	}
	if !m.keys.mayHave(restored.ID) {
		return m.newKey(restored)
	}
	known, err := keyByID(m.txn, restored.ID)
	switch {
	case errors.Is(err, durable.ErrNotFound):
		return m.newKey(restored)
	case err != nil:
		return err
	case known.Digest != restored.Digest:
		return fmt.Errorf("the key %s has different tokens in the backup and in the store", known.ID)
	}
	m.done.Known++
	return m.knownKey(known, restored)
}

// newKey adds a key that is not in the store.
func (m *merge) newKey(key *apikey.Key) error {
	if m.mayHave(key.Digest) { // otherwise no key has it, and no lookup is needed
		if _, err := m.txn.Get(digestKey(key.Digest)); !errors.Is(err, durable.ErrNotFound) {
			return errors.Join(fmt.Errorf("the key %s of the backup has the same token as another key in the store", key.ID), err)
		}
	}
	if err := m.join(key); err != nil {
		return err
	}
	why, err := m.deleted(key)
	if err != nil {
		return err
	}
	if why != "" && key.Status(m.now) == apikey.Active {
		m.end(key, why)
	}
	if err := m.name(key); err != nil {
		return err
	}
	m.done.Keys++
	return errors.Join(m.txn.arrive(key, m.now), putNewKey(m.txn, key))
}

// reasonDeleted is why a key is revoked that may have expired by a clock that was wrong.
const reasonDeleted = "it may have been deleted while the clock was wrong"

// join links a key with the one that it replaces, if that is in the store. The store
// may have it from before it was replaced, and the backup may no longer have it.
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

// name renames a restored key if another key has been given its name since. No two
// active keys of a workspace have the same name, unless one was rotated from the other.
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

// maxRenamed is how many keys with one name are numbered. The others get their id
// instead, which needs no search.
const maxRenamed = 9

// renamed returns a new name for a restored key: as much of its own as there is room
// for, when it was restored, and which of several it is.
func renamed(name string, now time.Time, which string) string {
	suffix := " (restored " + now.Format(time.DateOnly) + ")"
	if which != "1" {
		suffix = " (restored " + now.Format(time.DateOnly) + ", " + which + ")"
	}
	runes := []rune(name)
	return string(runes[:min(len(runes), apikey.MaxName-len(suffix))]) + suffix
}

// knownKey ends a key of the store that has ended in the backup, as happens if the
// store itself was reset to an earlier state.
func (m *merge) knownKey(known, restored *apikey.Key) error {
	wasRevoked := !known.RevokedAt.IsZero()
	changed, ended := adoptEnd(known, restored)
	if !changed {
		return nil
	}
	if !wasRevoked && !known.RevokedAt.IsZero() {
		m.done.Revoked++
	}
	outcome := apikey.Outcome{Stale: []apikey.Digest{known.Digest}}
	if ended {
		outcome.Replaced = *known // so that open connections end when the key does
	}
	if ended && known.Status(m.now) != apikey.Active {
		outcome.Ended = outcome.Stale
	}
	m.outcomes = append(m.outcomes, outcome)
	return putKey(m.txn, known)
}

// adoptEnd adds to a key what another record of it says of its end, and nothing that would
// postpone its own. ended means that it may end earlier than before.
func adoptEnd(known, restored *apikey.Key) (changed, ended bool) {
	if known.RevokedAt.IsZero() && !restored.RevokedAt.IsZero() {
		known.RevokedAt, known.RevokedBy, known.RevokeReason = restored.RevokedAt, restored.RevokedBy, restored.RevokeReason
		changed, ended = true, true
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
	if known.LeakedAt.IsZero() && !restored.LeakedAt.IsZero() {
		known.LeakedAt = restored.LeakedAt
		changed = true
	}
	return changed, ended
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

func (m *merge) event(record *eventRecord) error {
	if m.events.mayHave(record.ID) {
		if _, err := m.txn.Get(eventKey(record.ID)); !errors.Is(err, durable.ErrNotFound) {
			return err // nil: the store has it
		}
	}
	m.done.Events++
	return putEvent(m.txn, record)
}
