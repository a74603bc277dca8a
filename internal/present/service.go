package present

import (
	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/doctor"
)

// Findings returns what was found when a store was checked.
func Findings(found []doctor.Finding) []client.Finding {
	shown := make([]client.Finding, len(found))
	for i, f := range found {
		shown[i] = client.Finding{Check: f.Check, Severity: string(f.Severity), Message: f.Message, Advice: f.Advice}
	}
	return shown
}

// Restoration returns the result of a restore, and what the operator must do next.
func Restoration(done apikey.Restored) client.Restoration {
	return client.Restoration{Restored: client.Restored{
		MadeAt: done.MadeAt, Keys: done.Keys, Known: done.Known, Revoked: done.Revoked, Renamed: done.Renamed,
		Suspended: done.Suspended, Quarantined: done.Quarantined, Events: done.Events,
	}, Warning: done.Warning()}
}
