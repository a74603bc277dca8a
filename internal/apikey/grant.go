package apikey

import "time"

// Grant is what a request needs to know of a key: whose it is, what it may do, and until
// when. It takes a third of the memory of a [Key], and hardly any work of the garbage
// collector.
type Grant struct {
	ID          string
	WorkspaceID string
	Name        string
	Digest      Digest
	CreatedAt   Instant
	ExpiresAt   Instant
	rare        *Rare // never changes; nil if nothing of it has happened
	MayWrite    bool  // see [Grant.Preset]
	Imported    bool  // see [Key.Imported]
	// Replaced says that another key is to take this one's place.
	Replaced bool
}

// Rare is what happens to few keys.
type Rare struct{ RevokesAt, RevokedAt, ReplacedAt, ExposedAt Instant }

// Grant returns what a request needs to know of the key.
func (k *Key) Grant() Grant {
	g := Grant{
		ID: k.ID, WorkspaceID: k.WorkspaceID, Name: k.Name, Digest: k.Digest,
		CreatedAt: InstantOf(k.CreatedAt), ExpiresAt: InstantOf(k.ExpiresAt),
		MayWrite: k.Preset == FullAccess, Imported: k.Imported, Replaced: k.ReplacedBy != "",
	}
	g.SetRare(Rare{InstantOf(k.RevokesAt), InstantOf(k.RevokedAt), InstantOf(k.ReplacedAt), InstantOf(k.ExposedAt)})
	return g
}

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
