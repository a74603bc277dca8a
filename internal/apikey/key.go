package apikey

import (
	"crypto/rand"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
)

// Preset is what a key may do. It is chosen when the key is created, has no
// default, and never changes.
type Preset string

const (
	FullAccess Preset = "full_access" // may read and write
	ReadOnly   Preset = "read_only"   // may only read
)

// ParsePreset accepts exactly the two presets.
func ParsePreset(s string) (Preset, error) {
	switch p := Preset(s); p {
	case FullAccess, ReadOnly:
		return p, nil
	}
	return "", ErrInvalidPreset
}

// Abilities returns what the preset allows, in words.
func (p Preset) Abilities() []string {
	if p == FullAccess {
		return []string{"read", "write"}
	}
	return []string{"read"}
}

// Status is a key's place in its life cycle.
type Status string

const (
	Active  Status = "active"
	Expired Status = "expired"
	Revoked Status = "revoked"
)

// Key is everything that is known about an API key, except its token, of which
// only the digest is stored. Times are UTC, to the millisecond; a zero time means
// that it has not happened.
type Key struct {
	ID          string
	WorkspaceID string
	Name        string
	Owner       string
	Preset      Preset
	Digest      Digest
	TokenHint   string
	// Imported says that the key was not created here. Its token may be a foreign one, its
	// hint any text or none, and CreatedAt long before it got its id.
	Imported bool

	CreatedAt time.Time
	CreatedBy string
	ExpiresAt time.Time

	// RevokesAt is when a replaced key will be revoked automatically.
	RevokesAt    time.Time
	RevokedAt    time.Time
	RevokedBy    string
	RevokeReason string

	Replaces   string    // the id of the key that this one replaces
	Family     string    // the id of the first key in this one's chain of rotations, "" if it replaces none
	ReplacedBy string    // the id of the key that replaces this one
	ReplacedAt time.Time // when the replacement was created

	// LastUsedAt is when a request last used the key while it was active and its
	// workspace was not suspended. It is recorded periodically and separately, and
	// is set only on keys that are read to be shown.
	LastUsedAt time.Time

	// LastUsedFrom is the address of a client that used the key then, or shortly
	// before. It is empty if it is not known.
	LastUsedFrom string

	// FirstUsedAt is the first such time. It is zero for a key that was first used
	// before first uses were recorded.
	FirstUsedAt time.Time

	// ExposedAt is when the key was first seen in a browser.
	ExposedAt time.Time

	// LeakedAt is when the key's token was first reported as found in public.
	LeakedAt time.Time
}

// Status returns where the key is in its life at the given instant. A key is
// expired at the very instant of its ExpiresAt. Revoked wins over expired,
// unless the key had expired before its scheduled revocation.
func (k *Key) Status(now time.Time) Status {
	return k.span().status(Instant(now.UnixMilli()))
}

func (k *Key) span() span {
	return span{InstantOf(k.RevokedAt), InstantOf(k.RevokesAt), InstantOf(k.ExpiresAt)}
}

// span is what decides the status of a key.
type span struct{ revokedAt, revokesAt, expiresAt Instant }

func (s span) status(now Instant) Status {
	switch {
	case s.revokedAt != 0, s.revokedBySchedule(now):
		return Revoked
	case now >= s.expiresAt:
		return Expired
	}
	return Active
}

func (s span) revokedBySchedule(now Instant) bool {
	return s.revokesAt != 0 && now >= s.revokesAt && s.revokesAt < s.expiresAt
}

// Use is one use of a key: when, and the address of the client where it is known.
type Use struct {
	At   time.Time
	From string
	// Noted means that the key is known to have been used before, so that no
	// look-up is needed to tell whether this is its first use.
	Noted bool
}

// SharedUse is when a key was used for the first and for the last time, on any gateway of a
// fleet, as far as it is known.
type SharedUse struct {
	First, Last time.Time
	From        string // the address of the client where it is known
	Replaced    bool   // another key is to take its place: somebody waits for its last use
}

// ActiveUntil returns when a key that is active now ends if it is not changed.
func (k *Key) ActiveUntil() time.Time {
	if !k.RevokesAt.IsZero() && k.RevokesAt.Before(k.ExpiresAt) {
		return k.RevokesAt
	}
	return k.ExpiresAt
}

// FamilyID returns what a key has in common with those that it was rotated from,
// and with those that were rotated from it: the id of the first of them.
func (k *Key) FamilyID() string {
	if k.Family == "" {
		return k.ID
	}
	return k.Family
}

// EffectiveRevokedAt returns when the key was revoked, by a person or by schedule; zero
// if it has not been by the given instant, as when it has expired.
func (k *Key) EffectiveRevokedAt(now time.Time) time.Time {
	if k.RevokedAt.IsZero() && k.span().revokedBySchedule(Instant(now.UnixMilli())) {
		return k.RevokesAt
	}
	return k.RevokedAt
}

// Workspace is what is known about a workspace apart from its keys.
type Workspace struct {
	ID          string
	SuspendedAt time.Time // zero if it is not suspended
	Reason      string
	Own         bool // its own administrator suspended it, not an operator
}

// Suspended reports whether all keys of the workspace are refused.
func (w Workspace) Suspended() bool { return !w.SuspendedAt.IsZero() }

const (
	keyIDPrefix   = "key_"
	eventIDPrefix = "evt_"
)

// NewKeyID returns a new key id. Ids made by one process sort by the order in
// which they were made, even if the clock is set back between them.
func NewKeyID(now time.Time) string { return keyIDPrefix + newULID(now) }

// FirstKeyID sorts before every key id that is made at a time or later.
func FirstKeyID(at time.Time) string {
	var id ulid.ULID
	_ = id.SetTime(uint64(max(at.UnixMilli(), 0))) // it fails in the year 10889
	return keyIDPrefix + id.String()
}

// NewEventID returns a new audit event id, ordered like key ids.
func NewEventID(now time.Time) string { return eventIDPrefix + newULID(now) }

// ValidKeyID reports whether s has the form of a key id.
func ValidKeyID(s string) bool { return validID(s, keyIDPrefix) }

// ValidEventID reports whether s has the form of an audit event id.
func ValidEventID(s string) bool { return validID(s, eventIDPrefix) }

func validID(s, prefix string) bool {
	_, ok := parseID(s, prefix)
	return ok
}

// parseID returns what follows the prefix, if it is written as ids are here: ulid takes
// others too.
func parseID(s, prefix string) (id ulid.ULID, ok bool) {
	if len(s) != len(prefix)+ulid.EncodedSize || s[:len(prefix)] != prefix {
		return id, false
	}
	s = s[len(prefix):]
	id, err := ulid.ParseStrict(s)
	var again [ulid.EncodedSize]byte
	return id, err == nil && id.MarshalTextTo(again[:]) == nil && string(again[:]) == s
}

var ulids = struct {
	sync.Mutex
	entropy *ulid.MonotonicEntropy
	last    uint64
}{entropy: ulid.Monotonic(rand.Reader, 0)}

// SortAfter makes new ids sort after an id that was created earlier, possibly by another
// process, or while the clock was ahead. If it is not an id, nothing changes. No id gets a
// time that [Key.Flaw] refuses.
func SortAfter(id string) {
	if !ValidKeyID(id) && !ValidEventID(id) || !InRange(idTime(id)) {
		return
	}
	ulids.Lock()
	defer ulids.Unlock()
	ulids.last = max(ulids.last, uint64(min(idTime(id).UnixMilli()+1, latest.UnixMilli())))
}

func newULID(now time.Time) string {
	ulids.Lock()
	defer ulids.Unlock()
	ulids.last = max(ulids.last, uint64(max(now.UnixMilli(), 0)))
	return ulid.MustNew(ulids.last, ulids.entropy).String()
}
