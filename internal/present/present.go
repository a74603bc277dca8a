// Package present shows keys, and the results of checks and restores, in the form of the
// admin API: in its answers, in webhooks, and on the command line.
package present

import (
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// Key returns a key as it is shown at the given instant.
func Key(k *apikey.Key, now time.Time) client.Key {
	ended := k.EffectiveRevokedAt(now)
	return client.Key{
		ID: k.ID, WorkspaceID: k.WorkspaceID, Name: k.Name, Owner: k.Owner,
		Preset: string(k.Preset), Abilities: k.Preset.Abilities(), TokenHint: k.TokenHint, Status: string(k.Status(now)),
		CreatedAt: k.CreatedAt, CreatedBy: k.CreatedBy, ExpiresAt: k.ExpiresAt,
		LastUsedAt: Optional(k.LastUsedAt),
		RevokesAt:  Optional(k.RevokesAt), RevokedAt: Optional(ended), RevokedBy: Optional(k.RevokedBy), RevokeReason: Optional(k.RevokeReason),
		Replaces: Optional(k.Replaces), ReplacedBy: Optional(k.ReplacedBy), ExposedAt: Optional(k.ExposedAt),
		LeakedAt: Optional(k.LeakedAt),
	}
}

// Optional returns nil for a zero value, which JSON shows as null.
func Optional[T comparable](value T) *T {
	var zero T
	if value == zero {
		return nil
	}
	return &value
}
