package apikey

import (
	"strings"
	"time"
)

const (
	OpBackup  Operation = "backup"
	OpRestore Operation = "restore"
)

// ErrInvalidBackup refuses anything but a complete, undamaged backup.
var ErrInvalidBackup = &Error{Code: "invalid_backup", Message: "This backup is damaged or incomplete, and nothing was changed."}

// Backup changes nothing, but the audit trail records who took it.
type Backup struct{}

// Restore records that a backup was restored, with the result.
type Restore struct {
	// Quarantine suspends every workspace that has active keys in the backup,
	// before they are restored.
	Quarantine bool
	Restored   Restored
}

// Restored is the result of a restore.
type Restored struct {
	MadeAt      time.Time // when the backup was made
	Unverified  bool      // it is signed, and there is no key to verify that with
	WasEmpty    bool      // there was no key in the store, or only those of a restore that did not come to its end
	Keys        int       // that were added
	Known       int       // that were there already
	Revoked     int       // of those, the ones that the backup knew to be revoked, and the store did not
	Renamed     int       // that were added by another name, because another active key has theirs
	Suspended   int       // workspaces that were suspended in the backup
	Quarantined int       // workspaces that were suspended because of the restore
	Events      int       // of the audit trail, that were added
}

// Details returns the details of a restore's audit event.
func (r Restored) Details() map[string]any {
	return map[string]any{
		"made_at": r.MadeAt.Format(time.RFC3339Nano), "keys": r.Keys, "known": r.Known, "revoked": r.Revoked, "renamed": r.Renamed,
		"suspended": r.Suspended, "quarantined": r.Quarantined, "events": r.Events,
	}
}

// Warning returns what the operator must do after a restore; "" if nothing.
func (r Restored) Warning() string {
	var warnings []string
	if r.Unverified {
		warnings = append(warnings, "The backup is signed, but its signature was not verified: there is no backup_key to verify it with.")
	}
	madeAt := r.MadeAt.Format(time.RFC3339)
	switch {
	case !r.WasEmpty || r.Keys+r.Known == 0:
	case r.Quarantined > 0:
		warnings = append(warnings, "The store was empty, and does not know which keys were revoked after "+madeAt+", when the backup was made. "+
			"Every workspace with unrevoked keys is suspended: review each one, then resume it.")
	default:
		warnings = append(warnings, "The store was empty. Keys that were revoked after "+madeAt+", when the backup was made, are valid again: revoke them again.")
	}
	return strings.Join(warnings, " ")
}

func (Backup) Operation() Operation  { return OpBackup }
func (Restore) Operation() Operation { return OpRestore }

func (Backup) Subject() (string, string)  { return "", "" }
func (Restore) Subject() (string, string) { return "", "" }
