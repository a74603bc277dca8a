package apikey

import (
	"math"
	"time"
)

// Grant is what a request needs to know of a key: whose it is, what it may do, and until
// when. It takes a third of the memory of a [Key], and hardly any work of the garbage
// collector.
type Grant struct {
	names     string // the key's id, its workspace's id and its name, one after the other
	Digest    Digest
	CreatedAt Instant
	ExpiresAt Instant
	rare      *Rare // never changes; nil if nothing of it has happened
	// Where the ids end in names.
	keyID, workspaceID uint16
	MayWrite           bool // see [Grant.Preset]
	Imported           bool // see [Key.Imported]
	// Replaced says that another key is to take this one's place.
	Replaced bool
}

// Rare is what happens to few keys.
type Rare struct{ RevokesAt, RevokedAt, ReplacedAt, ExposedAt Instant }

// Grant returns what a request needs to know of the key.
func (k *Key) Grant() Grant {
	g := Grant{
		Digest: k.Digest, CreatedAt: InstantOf(k.CreatedAt), ExpiresAt: InstantOf(k.ExpiresAt),
		MayWrite: k.Preset == FullAccess, Imported: k.Imported, Replaced: k.ReplacedBy != "",
	}
	g.SetNames(k.ID+k.WorkspaceID+k.Name, len(k.ID), len(k.WorkspaceID))
	g.SetRare(Rare{InstantOf(k.RevokesAt), InstantOf(k.RevokedAt), InstantOf(k.ReplacedAt), InstantOf(k.ExposedAt)})
	return g
}

// SetNames sets the key's id, its workspace's id and its name, which follow each other in
// names. It reports whether the ids are as long as it is told, and together not too long.
func (g *Grant) SetNames(names string, keyID, workspaceID int) bool {
	end := keyID + workspaceID
	if keyID < 0 || workspaceID < 0 || end > min(len(names), math.MaxUint16) {
		return false
	}
	g.names, g.keyID, g.workspaceID = names, uint16(keyID), uint16(end)
	return true
}

// ID returns [Key.ID].
func (g *Grant) ID() string { return g.names[:g.keyID] }

// WorkspaceID returns [Key.WorkspaceID].
func (g *Grant) WorkspaceID() string { return g.names[g.keyID:g.workspaceID] }

// Name returns [Key.Name].
func (g *Grant) Name() string { return g.names[g.workspaceID:] }

// Rare returns what of it has happened to the key.
func (g *Grant) Rare() Rare {
	if g.rare == nil {
		return Rare{}
	}
	return *g.rare
}

// SetRare sets what [Grant.Rare] returns.
func (g *Grant) SetRare(rare Rare) {
	g.rare = nil
	if rare != (Rare{}) {
		kept := rare // or it would be allocated for every key
		g.rare = &kept
	}
}

// Preset is [Key.Preset].
func (g *Grant) Preset() Preset {
	if g.MayWrite {
		return FullAccess
	}
	return ReadOnly
}

// EndBy has the key revoked at a time, unless it ends sooner.
func (g *Grant) EndBy(at Instant) {
	if rare := g.Rare(); rare.RevokesAt == 0 || at < rare.RevokesAt {
		rare.RevokesAt = at
		g.SetRare(rare)
	}
}

// Status is [Key.Status].
func (g *Grant) Status(now time.Time) Status {
	rare := g.Rare()
	return span{rare.RevokedAt, rare.RevokesAt, g.ExpiresAt}.status(Instant(now.UnixMilli()))
}

// ActiveUntil is [Key.ActiveUntil].
func (g *Grant) ActiveUntil() time.Time {
	if at := g.Rare().RevokesAt; at != 0 && at < g.ExpiresAt {
		return at.Time()
	}
	return g.ExpiresAt.Time()
}

// Instant is a time in milliseconds since 1970. Zero stands for the zero time: that
// something has not happened.
type Instant int64

// InstantOf returns the instant of a time, to the millisecond before it.
func InstantOf(t time.Time) Instant {
	if t.IsZero() {
		return 0
	}
	return Instant(t.UnixMilli())
}

// Time returns the time of an instant, UTC.
func (i Instant) Time() time.Time {
	if i == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(i)).UTC()
}
