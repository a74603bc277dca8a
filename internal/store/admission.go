package store

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"hash/maphash"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// admission decides, line by line, whether a backup may be restored. Its checksum does
// not prove who made it. So each record must be one that API calls can have created,
// and the records must be consistent with each other and with the store.
//
// It keeps about a hundred bytes per key of the backup, but no records.
type admission struct {
	txn     *durable.Txn    // of the store; nil if there is none
	there   *durable.Cursor // of its keys
	mayHave func(apikey.Digest) bool
	now     time.Time // by this machine's clock

	last     [lastKind + 1][]byte // the key in the store of the last record of each kind
	keys     []admitted           // in the order of their ids
	digests  map[[16]byte]bool    // of each digest of a key or feed, half a hash of it
	awaited  map[ulid.ULID]ulid.ULID
	eventsOf map[ulid.ULID]uint64 // the workspace named by events of a key that has not occurred yet
	families map[ulid.ULID]int    // the number of unrevoked keys in each family
	seed     maphash.Seed
}

// admitted is what is kept about a key.
type admitted struct {
	id        ulid.ULID
	family    ulid.ULID
	workspace uint64 // a hash of its id
	replaced  bool   // it has a replacement
}

func newAdmission(now time.Time) *admission {
	return &admission{
		now: now, digests: make(map[[16]byte]bool), awaited: make(map[ulid.ULID]ulid.ULID),
		eventsOf: make(map[ulid.ULID]uint64), families: make(map[ulid.ULID]int), seed: maphash.MakeSeed(),
	}
}

// against also checks the backup against a store, until the returned function is
// called.
func (a *admission) against(s *Store, txn *durable.Txn) (done func()) {
	a.txn, a.there, a.mayHave = txn, txn.Cursor(recordKey("")), s.MayHave
	return func() {
		a.there.Close()
		a.txn = nil
	}
}

// errNotAdmitted names the line of a backup whose record cannot be restored, and the
// reason.
func errNotAdmitted(line int, format string, args ...any) error {
	return &apikey.Error{Code: apikey.ErrInvalidBackup.Code, Message: fmt.Sprintf(
		"This backup contains a record that no API call could have created, and nothing was changed: in line %d of the decompressed backup, "+format+".", append([]any{line}, args...)...,
	)}
}

// line checks the record in the next line.
func (a *admission) line(n int, line *backupLine) error {
	switch line.kind() {
	case keyKind:
		return a.key(n, line.Key)
	case useKind:
		return a.record(n, useKind, "a use", lastUsedKey(line.Use.KeyID), a.useFlaw(line.Use))
	case suspensionKind:
		return a.suspension(n, line.Suspension)
	case eventKind:
		return a.event(n, line.Event)
	case feedKind:
		return a.feed(n, line.Feed)
	case endedFeedKind:
		return a.endedFeed(n, line.EndedFeed, line.EndedAt.time())
	case tombstoneKind:
		return a.tombstone(n, line.Tombstone)
	case forgottenKind:
		return a.record(n, forgottenKind, "what was deleted", forgottenKey, a.forgottenFlaw(line.Forgotten))
	}
	return errDamaged(n, "it must contain exactly one record, of a type that this version supports")
}

// record checks what applies to records of every kind: a record has no flaw, and comes
// after those before it, so that there are no duplicates.
func (a *admission) record(n int, kind recordKind, what string, key []byte, flaw string) error {
	if flaw != "" {
		return errNotAdmitted(n, "the record of %s cannot be restored: %s", what, flaw)
	}
	if bytes.Compare(key, a.last[kind]) <= 0 {
		return errNotAdmitted(n, "the record of %s is a duplicate or out of order", what)
	}
	a.last[kind] = key
	return nil
}

func (a *admission) key(n int, record *keyRecord) error {
	key, err := record.key()
	if err != nil {
		return errNotAdmitted(n, "the record of a key cannot be restored: a required field is missing or invalid")
	}
	if err := a.record(n, keyKind, "a key", recordKey(key.ID), firstFlaw(key, a.now)); err != nil {
		return err
	}
	if !a.newDigest(key.Digest[:]) {
		return errNotAdmitted(n, "the key %s has the same token as another one", key.ID)
	}
	met := admitted{idOf(key.ID), idOf(key.FamilyID()), a.hash(key.WorkspaceID), key.ReplacedBy != ""}
	if ws, ok := a.eventsOf[met.id]; ok && ws != met.workspace {
		return errNotAdmitted(n, "the key %s has events of another workspace", key.ID)
	}
	if flaw := a.links(key, met); flaw != "" {
		return errNotAdmitted(n, "the key %s %s", key.ID, flaw)
	}
	a.keys = append(a.keys, met)
	if a.txn == nil {
		return nil
	}
	flaw, err := a.contradiction(key)
	if err == nil && flaw != "" {
		err = errNotAdmitted(n, "the key %s %s", key.ID, flaw)
	}
	return err
}

func (a *admission) suspension(n int, r *suspensionRecord) error {
	ws := apikey.Workspace{ID: r.WorkspaceID, SuspendedAt: r.SuspendedAt.time(), Reason: r.Reason, Own: r.Own}
	flaw := cmp.Or(ws.Flaw(), a.aheadFlaw(ws.SuspendedAt))
	return a.record(n, suspensionKind, "a suspension", safeKey(flaw, func() []byte { return suspensionKey(ws.ID) }), flaw)
}

func (a *admission) event(n int, r *eventRecord) error {
	event := r.event()
	if err := a.record(n, eventKind, "an event", eventKey(event.ID), firstFlaw(&event, a.now)); err != nil {
		return err
	}
	if event.KeyID == "" || event.Refused() {
		return nil
	}
	ws := a.hash(event.WorkspaceID)
	key, met := a.find(event.KeyID)
	if !met {
		a.eventsOf[idOf(event.KeyID)] = ws
		return nil
	}
	if key.workspace != ws {
		return errNotAdmitted(n, "the event %s is of a key of another workspace", event.ID)
	}
	return nil
}

func (a *admission) feed(n int, r *feedRecord) error {
	flaw := cmp.Or(r.flaw(), a.aheadFlaw(r.CreatedAt.time()))
	if err := a.record(n, feedKind, "a calendar feed", safeKey(flaw, func() []byte { return workspaceFeedKey(r.WorkspaceID) }), flaw); err != nil {
		return err
	}
	if !a.newDigest(r.Digest) {
		return errNotAdmitted(n, "a calendar feed has the same token as another one")
	}
	return nil
}

func (a *admission) endedFeed(n int, digest []byte, at time.Time) error {
	if len(digest) != len(apikey.Digest{}) {
		return errNotAdmitted(n, "the record of a calendar feed cannot be restored: it has no digest")
	}
	if !a.newDigest(digest) {
		return errNotAdmitted(n, "a deleted calendar feed has the same token as another one")
	}
	return a.record(n, endedFeedKind, "a calendar feed", bytes.Clone(digest), a.timeFlaw(at)) // early backups have no time
}

// tombstone checks a tombstone. The backup can have the key too, if it is of a store into
// which an older backup was restored.
func (a *admission) tombstone(n int, digest []byte) error {
	flaw := ""
	if len(digest) != len(apikey.Digest{}) {
		flaw = "it has no digest"
	}
	return a.record(n, tombstoneKind, "a deleted key", bytes.Clone(digest), flaw)
}

// safeKey returns a record's key in the store. If the record has a flaw, the workspace
// id may be too long for a key.
func safeKey(flaw string, key func() []byte) []byte {
	if flaw != "" {
		return nil
	}
	return key()
}

// newDigest reports whether a digest has not occurred before. Imports can have brought in
// digests that share any part, but not a part of their hashes.
func (a *admission) newDigest(digest []byte) bool {
	hash := sha256.Sum256(digest)
	half := [16]byte(hash[:])
	if a.digests[half] {
		return false
	}
	a.digests[half] = true
	return true
}

// sortAfter makes new ids sort after those of the backup.
func (a *admission) sortAfter() {
	apikey.SortAfter(strings.TrimPrefix(string(a.last[keyKind]), "k/"))
	apikey.SortAfter(strings.TrimPrefix(string(a.last[eventKind]), "a/"))
}

func (a *admission) hash(ws string) uint64 { return maphash.String(a.seed, ws) }

const keyIDPrefix = "key_"

// idOf returns the ULID in a valid key id.
func idOf(keyID string) ulid.ULID { return ulid.MustParseStrict(keyID[len(keyIDPrefix):]) }

func keyID(id ulid.ULID) string { return keyIDPrefix + id.String() }

func (a *admission) useFlaw(r *useRecord) string {
	if !apikey.ValidKeyID(r.KeyID) {
		return "its key id is not valid"
	}
	last, first := apikey.Use{At: r.Last.time(), From: r.From}, apikey.Use{At: r.First.time()}
	flaw := cmp.Or(last.Flaw(), apikey.TimeFlaw(r.KeyID, last.At, a.now))
	if flaw != "" || r.First == 0 {
		return flaw
	}
	return cmp.Or(first.Flaw(), apikey.TimeFlaw(r.KeyID, first.At, a.now))
}

// firstFlaw says what is wrong with a record. It looks at the time in the id only if
// the id is valid.
func firstFlaw(record interface {
	Flaw() string
	TimeFlaw(now time.Time) string
}, now time.Time) string {
	if flaw := record.Flaw(); flaw != "" {
		return flaw
	}
	return record.TimeFlaw(now)
}

// aheadFlaw says what is wrong with a time in a record without an id.
func (a *admission) aheadFlaw(t time.Time) string {
	if apikey.Ahead(t, a.now) {
		return "its time is more than ten years ahead of this machine's clock"
	}
	return ""
}

// timeFlaw says what is wrong with an optional time in a record without an id.
func (a *admission) timeFlaw(t time.Time) string {
	if !t.IsZero() && !apikey.InRange(t) {
		return "its time is out of range"
	}
	return a.aheadFlaw(t)
}

func (a *admission) forgottenFlaw(f *forgotten) string {
	return cmp.Or(a.timeFlaw(f.Feeds.time()), a.timeFlaw(f.Keys.time()), a.timeFlaw(f.SetBack.time()))
}

// madeAt checks when the backup was made.
func (a *admission) madeAt(t time.Time) error {
	if apikey.Ahead(t, a.now) {
		return errNotAdmitted(1, "the header is dated %s, but this machine's clock says %s", t.Format(time.RFC3339), a.now.Format(time.RFC3339))
	}
	return nil
}

func (r *feedRecord) flaw() string {
	if len(r.Digest) != len(apikey.Digest{}) {
		return "it has no digest"
	}
	return apikey.FeedFlaw(r.WorkspaceID, r.CreatedAt.time(), r.CreatedBy)
}
