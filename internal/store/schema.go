package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// The contents of the store, by key. A name in <> stands for a value; <ws> is a
// workspace id, preceded by its length in one byte, so that no id is a prefix of
// another. Ids sort by creation, and so do the entries of an index. Times in keys are
// milliseconds since 1970, in eight bytes that sort like the times.
//
//	m/schema, m/journal, m/base   package durable's own
//	m/clock                the time that has passed for certain, in milliseconds since 1970
//	m/clock/note           clockRecord
//	m/clock/trust          trustRecord
//	m/settled              the time up to which ended keys have left their rosters
//	m/restoring            restoring: a restore that has been started, until it has finished
//	m/names                the data that the names of the lists n/ were folded with
//	m/forgotten            forgotten: what has been deleted for its age
//	m/fleet                replicaRecord: in a fleet, how far this replica has followed its changes
//	m/fleet/set            the hash of all its records, see package sethash
//	m/usage                apikey.UsageNote: in a fleet, what the replica and the others know of usage
//	m/usage/<day><id><origin>
//	                       how often keys were used on a day, if that is not in z/ yet: see
//	                       usage_recent.go
//	m/kept/<n><id>0<sum>   in a fleet, a record that is to be put back into it: see kept.go
//	k/<key id>             keyRecord
//	t/<digest>             apikey.Grant: whose token has this SHA-256, see grant.go
//	p/<prefix>             nothing: a prefix that the token of a key has, or had
//	w/<ws><key id>         the text that is searched to find a key of a workspace
//	q/<ws>                 roster: how many keys of a workspace are current, and how many have ended
//	x/<ws><slot>           member: the current keys of a workspace, see roster.go
//	y/<key id>             the slot of a current key
//	d/<ws><status><key id> nothing: the ended keys of a workspace
//	n/<ws><folded name>    []member: the current keys with this name
//	r/<ws><key id>         []member: the current keys that were rotated from this one, directly or not
//	u/<key id>             when the key was last used, in milliseconds since 1970, followed by a
//	                       space and the client's address if that is known
//	v/<key id>             when it was first used, likewise
//	z/<period><key id><origin>
//	                       how often the key was used on each day of a period: see usage.go; in
//	                       a fleet, as one of its gateways has counted it
//	s/<ws>                 workspaceRecord, of a suspended workspace
//	a/<event id>           eventRecord
//	b/<ws><event id>       nothing: the events of a workspace
//	f/<digest>             feedState: whose calendar feed's token has this SHA-256, or when the
//	                       feed ended
//	g/<ws>                 feedRecord, of a workspace with a calendar feed
//	i/<digest>             tombstone: an imported key that was deleted had a token with this SHA-256
//	h/<end><digest>        nothing: the calendar feeds that have ended, by when
//	j/keys                 the keys that sign assertions: see package assertion
//	l/schedule             schedule: which ends of keys have been announced
//	o/<receiver><ws><message id>  a message to a receiver, about a workspace or a key of it: see
//	                       package webhook; <receiver> has 16 characters
//	e/<end><key id>        when each key ends: see ending; for a revoked key, <end> is 0, and
//	                       the time of the revocation precedes the id
//	c/d/<day>              tally: the keys that end on a day, UTC
//	c/m/<minute>           tally: the keys that end in a minute
//
// No key or value ever contains a token: errors and dumps of the database print keys. The
// one value that is secret is that of j/keys.
// Records are JSON, because they are cached and so rarely read, and because a person may
// have to read one some day. Fields are only ever added.
//
// What changes write is in the journal too. The notes u/, v/, z/ and m/ are not, except for
// m/fleet, m/fleet/set, m/kept, m/restoring, m/forgotten, m/settled and m/clock/trust.
const schemaVersion = 3

// notePrefixes are the prefixes of keys that changes do not write, or not always.
var notePrefixes = []string{"u/", "v/", usagePrefix, "m/"}

var (
	clockKey      = []byte("m/clock")
	clockNoteKey  = []byte("m/clock/note")
	clockTrustKey = []byte("m/clock/trust")
	settledKey    = []byte("m/settled")

	restoringKey = []byte("m/restoring")
	forgottenKey = []byte("m/forgotten")
	namesKey     = []byte("m/names")
	fleetKey     = []byte("m/fleet")
	setKey       = []byte("m/fleet/set")
	usageNoteKey = []byte("m/usage")

	signingKeysKey = []byte("j/keys")
	scheduleKey    = []byte("l/schedule")
)

const digestPrefix = "t/"

func recordKey(keyID string) []byte         { return append([]byte("k/"), keyID...) }
func prefixKey(prefix string) []byte        { return append([]byte("p/"), prefix...) }
func digestKey(d apikey.Digest) []byte      { return slices.Concat([]byte(digestPrefix), d[:]) }
func suspensionKey(ws string) []byte        { return inWorkspace("s/", ws, "") }
func workspaceKey(ws, keyID string) []byte  { return inWorkspace("w/", ws, keyID) }
func nameKey(ws, folded string) []byte      { return inWorkspace("n/", ws, folded) }
func familyKey(ws, keyID string) []byte     { return inWorkspace("r/", ws, keyID) }
func rosterKey(ws string) []byte            { return inWorkspace("q/", ws, "") }
func slotKey(keyID string) []byte           { return append([]byte("y/"), keyID...) }
func lastUsedKey(keyID string) []byte       { return append([]byte("u/"), keyID...) }
func firstUsedKey(keyID string) []byte      { return append([]byte("v/"), keyID...) }
func eventKey(eventID string) []byte        { return append([]byte("a/"), eventID...) }
func eventIndexKey(ws, event string) []byte { return inWorkspace("b/", ws, event) }

func inWorkspace(prefix, ws, rest string) []byte {
	key := make([]byte, 0, len(prefix)+1+len(ws)+len(rest))
	key = append(key, prefix...)
	key = append(key, byte(len(ws)))
	key = append(key, ws...)
	return append(key, rest...)
}

type keyRecord struct {
	ID           string `json:"id"`
	WorkspaceID  string `json:"workspace_id"`
	Name         string `json:"name"`
	Owner        string `json:"owner,omitempty"`
	Preset       string `json:"preset"`
	Digest       []byte `json:"digest"`
	TokenHint    string `json:"token_hint"`
	Imported     bool   `json:"imported,omitempty"`
	CreatedAt    millis `json:"created_at"`
	CreatedBy    string `json:"created_by,omitempty"`
	ExpiresAt    millis `json:"expires_at"`
	RevokesAt    millis `json:"revokes_at,omitzero"`
	RevokedAt    millis `json:"revoked_at,omitzero"`
	RevokedBy    string `json:"revoked_by,omitempty"`
	RevokeReason string `json:"revoke_reason,omitempty"`
	Replaces     string `json:"replaces,omitempty"`
	Family       string `json:"family,omitempty"`
	ReplacedBy   string `json:"replaced_by,omitempty"`
	ReplacedAt   millis `json:"replaced_at,omitzero"`
	ExposedAt    millis `json:"exposed_at,omitzero"`
	LeakedAt     millis `json:"leaked_at,omitzero"`
}

type workspaceRecord struct {
	SuspendedAt millis `json:"suspended_at"`
	Reason      string `json:"reason,omitempty"`
	Own         bool   `json:"own,omitempty"` // suspended by its own administrator
}

type eventRecord struct {
	ID          string         `json:"id"`
	At          millis         `json:"at"`
	Actor       string         `json:"actor"`
	RemoteIP    string         `json:"remote_ip,omitempty"`
	Operation   string         `json:"operation"`
	WorkspaceID string         `json:"workspace_id,omitempty"`
	KeyID       string         `json:"key_id,omitempty"`
	Details     map[string]any `json:"details,omitempty"`
}

func toEventRecord(e apikey.Event) *eventRecord {
	return &eventRecord{
		ID: e.ID, At: toMillis(e.At), Actor: e.Actor, RemoteIP: e.RemoteIP,
		Operation: string(e.Operation), WorkspaceID: e.WorkspaceID, KeyID: e.KeyID, Details: e.Details,
	}
}

func (r *eventRecord) event() apikey.Event {
	return apikey.Event{
		ID: r.ID, At: r.At.time(), Actor: r.Actor, RemoteIP: r.RemoteIP, Operation: apikey.Operation(r.Operation),
		WorkspaceID: r.WorkspaceID, KeyID: r.KeyID, Details: r.Details,
	}
}

// millis is a time as milliseconds since 1970, UTC; 0 is the zero time.
type millis int64

func toMillis(t time.Time) millis {
	if t.IsZero() {
		return 0
	}
	return millis(t.UnixMilli())
}

func (m millis) time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(m)).UTC()
}

func toRecord(k *apikey.Key) keyRecord {
	return keyRecord{
		ID: k.ID, WorkspaceID: k.WorkspaceID, Name: k.Name, Owner: k.Owner, Preset: string(k.Preset),
		Digest: k.Digest[:], TokenHint: k.TokenHint, Imported: k.Imported,
		CreatedAt: toMillis(k.CreatedAt), CreatedBy: k.CreatedBy, ExpiresAt: toMillis(k.ExpiresAt),
		RevokesAt: toMillis(k.RevokesAt), RevokedAt: toMillis(k.RevokedAt), RevokedBy: k.RevokedBy, RevokeReason: k.RevokeReason,
		Replaces: k.Replaces, Family: k.Family, ReplacedBy: k.ReplacedBy, ReplacedAt: toMillis(k.ReplacedAt), ExposedAt: toMillis(k.ExposedAt), LeakedAt: toMillis(k.LeakedAt),
	}
}

// key checks what the data plane relies on: an inconsistent record must never let a
// request through.
func (r *keyRecord) key() (*apikey.Key, error) {
	k := &apikey.Key{
		ID: r.ID, WorkspaceID: r.WorkspaceID, Name: r.Name, Owner: r.Owner, TokenHint: r.TokenHint, Imported: r.Imported,
		CreatedAt: r.CreatedAt.time(), CreatedBy: r.CreatedBy, ExpiresAt: r.ExpiresAt.time(),
		RevokesAt: r.RevokesAt.time(), RevokedAt: r.RevokedAt.time(), RevokedBy: r.RevokedBy, RevokeReason: r.RevokeReason,
		Replaces: r.Replaces, Family: r.Family, ReplacedBy: r.ReplacedBy, ReplacedAt: r.ReplacedAt.time(), ExposedAt: r.ExposedAt.time(), LeakedAt: r.LeakedAt.time(),
	}
	preset, err := apikey.ParsePreset(r.Preset)
	if err != nil || r.ID == "" || len(r.Digest) != len(k.Digest) || k.ExpiresAt.IsZero() || apikey.ValidateWorkspaceID(r.WorkspaceID) != nil {
		return nil, fmt.Errorf("the record of %s is damaged", r.ID)
	}
	k.Preset = preset
	copy(k.Digest[:], r.Digest)
	return k, nil
}

// load decodes the value of a key into a record, or returns durable.ErrNotFound.
func load(txn reader, key []byte, record any) error {
	value, err := txn.Get(key)
	if err != nil {
		return err
	}
	return decode(key, value, record)
}

func decode(key, value []byte, record any) error {
	if err := json.Unmarshal(value, record); err != nil {
		return fmt.Errorf("decoding %q: %w", key, err)
	}
	return nil
}

func save(txn setter, key []byte, record any) error {
	value, err := encode(record)
	if err != nil {
		return fmt.Errorf("encoding %q: %w", key, err)
	}
	return txn.Set(key, value)
}

func encode(record any) ([]byte, error) {
	var value bytes.Buffer
	encoder := json.NewEncoder(&value)
	// No browser reads a record, and transactions have a maximum size: escaped, a text
	// of < and > takes six times as much.
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(record)
	return bytes.TrimSuffix(value.Bytes(), []byte("\n")), err
}
