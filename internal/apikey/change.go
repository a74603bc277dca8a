package apikey

import "time"

// Operation names what was done, in the audit trail and in metrics.
type Operation string

const (
	OpCreate    Operation = "create"
	OpUpdate    Operation = "update"
	OpRotate    Operation = "rotate"
	OpRevoke    Operation = "revoke"
	OpRevokeAll Operation = "revoke_all"
	OpSuspend   Operation = "suspend"
	OpResume    Operation = "resume"
	OpLookup    Operation = "lookup"
	OpExpose    Operation = "expose"
)

// operations are all the operations that an event can record.
var operations = []Operation{
	OpCreate, OpUpdate, OpRotate, OpRevoke, OpRevokeAll, OpSuspend, OpResume, OpLookup, OpExpose,
	OpCalendarFeed, OpCalendarFeedRevoke, OpClock, OpBackup, OpRestore, OpPutBack, OpImport, OpLeak,
}

// CommandLine is the actor recorded for changes that the command line makes to the
// store of a stopped server.
const CommandLine = "command_line"

// Change is one change to keys, as a value: who requests what, and when. It holds
// everything random or time-dependent (ids, digests, times), so that applying it
// to the same store always gives the same result.
type Change struct {
	EventID  string // of the audit event that records the change, unless a later one already exists
	At       time.Time
	Actor    string // who made the change, as identified by the mount
	RemoteIP string
	Do       Action
	// Unrecorded means that no event is recorded if the change is refused, because
	// its workspace has exceeded its limit of changes.
	Unrecorded bool
}

// Action is one of the changes below.
type Action interface {
	Operation() Operation
	// Subject returns the workspace and key that the action is about, as far as
	// they are known before it is applied.
	Subject() (workspaceID, keyID string)
}

// Create adds a key. It fails with [ErrNameTaken] if an active key of the
// workspace has the name, and with [ErrTooManyKeys] if MaxActive keys are
// active already (0 = no limit).
type Create struct {
	Key       Key
	MaxActive int
}

// Update changes the name of an active key, its owner, or both; nil leaves a
// field unchanged. It fails with [ErrNotActive] or [ErrNameTaken].
type Update struct {
	WorkspaceID string
	KeyID       string
	Name        *string
	Owner       *string
}

// Rotate adds a key to replace an active one, which stays active until RevokeOldAt
// or until it would end anyway: a zero RevokeOldAt leaves its end unchanged, and an
// end that was set earlier is never postponed. The replacement has the preset of the
// old key and, if Replacement has no name, its name. Rotate fails with
// [ErrNotActive], with [ErrAlreadyRotated] if the old key's replacement, or a later
// one in its chain, is active, with [ErrTooManyKeys] if keys that it was rotated
// from are still active, and with [ErrNameTaken] if a key other than the old one has
// the name.
type Rotate struct {
	WorkspaceID string
	KeyID       string
	Owner       *string // of the replacement; nil = the old key's
	Replacement Key
	RevokeOldAt time.Time
}

// RevokeAll ends every active key of a workspace.
type RevokeAll struct {
	WorkspaceID string
	Reason      string
}

// Lookup finds the key whose token has a digest. It changes nothing, but the audit
// trail records who asked.
type Lookup struct{ Digest Digest }

// Revoke ends a key immediately. Revoking a revoked key changes nothing and
// records no event.
type Revoke struct {
	WorkspaceID string
	KeyID       string
	Reason      string
}

// Suspend refuses every key of a workspace until it is resumed. Suspending a
// suspended workspace changes nothing, unless an operator takes over what the
// workspace's own administrator did.
type Suspend struct {
	WorkspaceID string
	Reason      string
	Own         bool // by an administrator of this workspace alone
}

// Resume ends a suspension. Resuming a workspace that is not suspended changes
// nothing. A workspace's own administrator cannot end an operator's suspension.
type Resume struct {
	WorkspaceID string
	Own         bool // by an administrator of this workspace alone
}

// Expose notes that a key was used from a browser. Only the first time counts.
type Expose struct {
	WorkspaceID string
	KeyID       string
}

func (Create) Operation() Operation    { return OpCreate }
func (Update) Operation() Operation    { return OpUpdate }
func (Rotate) Operation() Operation    { return OpRotate }
func (Revoke) Operation() Operation    { return OpRevoke }
func (RevokeAll) Operation() Operation { return OpRevokeAll }
func (Suspend) Operation() Operation   { return OpSuspend }
func (Resume) Operation() Operation    { return OpResume }
func (Lookup) Operation() Operation    { return OpLookup }
func (Expose) Operation() Operation    { return OpExpose }

func (a Create) Subject() (string, string)    { return a.Key.WorkspaceID, "" }
func (a Update) Subject() (string, string)    { return a.WorkspaceID, a.KeyID }
func (a Rotate) Subject() (string, string)    { return a.WorkspaceID, a.KeyID }
func (a Revoke) Subject() (string, string)    { return a.WorkspaceID, a.KeyID }
func (a RevokeAll) Subject() (string, string) { return a.WorkspaceID, "" }
func (a Suspend) Subject() (string, string)   { return a.WorkspaceID, "" }
func (a Resume) Subject() (string, string)    { return a.WorkspaceID, "" }
func (a Lookup) Subject() (string, string)    { return "", "" }
func (a Expose) Subject() (string, string)    { return a.WorkspaceID, a.KeyID }

// Outcome is the result of a change.
type Outcome struct {
	Key       Key       // the key that was created or changed, as it is now
	Replaced  Key       // the key that Key replaces, after a rotation
	Workspace Workspace // the workspace that was changed, as it is now
	Revoked   int       // how many keys were revoked
	Trusted   time.Time // the newly confirmed time, if it was set
	// Stale are the digests whose cached keys are out of date.
	Stale []Digest
	// Ended are those of the Stale digests whose keys may no longer be used.
	Ended []Digest
	// Event is the audit event of the change.
	Event Event
	// Propagation is how far the change has reached.
	Propagation Propagation
	// Unchanged means that there was nothing to change, and that no event was recorded.
	Unchanged bool
	// Unfinished means that there is more to do than fits into one transaction.
	Unfinished bool
	// GoesBack means that all records are about to be replaced by earlier ones, so that
	// keys may become active again that had been revoked.
	GoesBack bool
	// AllStale means that everything that was read of the store may be out of date. Nothing
	// can be read until that is mended.
	AllStale bool
	// InDoubt means that it is unknown whether the change was made, or that it was not,
	// although the fleet has it: no request may use the Ended keys, nor those of Ending once
	// their time has come, whatever the store says of them.
	InDoubt bool
	// Ending are those of the Stale digests whose keys end later, if the change is in doubt.
	Ending []Ending
	// Settled means that nothing is in doubt any more.
	Settled bool
	// SigningKeys means that the keys that sign assertions have changed.
	SigningKeys bool
}

// Ending is when the key of a digest ends.
type Ending struct {
	Digest Digest
	At     Instant
}

// Propagation is how far a change has reached that takes access away.
type Propagation struct {
	// Confirmed means that no gateway allows a request by what was taken away, if it
	// starts from now on.
	Confirmed bool
	// Revision numbers the changes of a store in their order.
	Revision uint64
	// Gateways is how many gateways serve requests from the store.
	Gateways int
	// Waited is how long the change waited for those other than the one that made it.
	Waited time.Duration
	// Behind are the names of the gateways that may still allow such requests.
	Behind []string
}

// Event is one entry of the audit trail.
type Event struct {
	ID          string
	At          time.Time
	Actor       string
	RemoteIP    string
	Operation   Operation
	WorkspaceID string
	KeyID       string
	Details     map[string]any
}

// Page selects a part of a list, newest first.
type Page struct {
	// Limit is the maximum number of items; it must be more than zero.
	Limit int
	// After is the id of the last item of the previous page; "" for the first
	// page. An id that is not in the list is [ErrInvalidCursor]. In the list of the
	// keys of all workspaces it is a [Place], which need not exist.
	After string
}

// KeyFilter chooses among keys. The zero filter chooses all.
type KeyFilter struct {
	Status Status // "" = any
	// Query is text to find in a key's name, owner, id or token hint, ignoring
	// case.
	Query string
	// EndsBy chooses active keys that will have ended by then, through expiry or
	// scheduled revocation. Zero = whenever they end.
	EndsBy time.Time
}
