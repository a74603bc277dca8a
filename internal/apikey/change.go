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

// operations are all that an event can be of.
var operations = []Operation{
	OpCreate, OpUpdate, OpRotate, OpRevoke, OpRevokeAll, OpSuspend, OpResume, OpLookup, OpExpose,
	OpCalendarFeed, OpCalendarFeedRevoke, OpClock, OpBackup, OpRestore,
}

// CommandLine is the actor of what the command line does to the store of a stopped
// server.
const CommandLine = "command_line"

// Change is one change to keys, as a value: who wants what, and when. It holds
// everything that chance or the clock had a say in (ids, digests, times), so
// that applying it to the same store gives the same result anywhere.
type Change struct {
	EventID  string // of the audit event that the change leaves behind, unless a later one is there already
	At       time.Time
	Actor    string // who, as the mount knows them
	RemoteIP string
	Do       Action
	// Unrecorded says that the change leaves no event if it is refused: there were
	// too many of its workspace.
	Unrecorded bool
}

// Action is one of the changes below.
type Action interface {
	Operation() Operation
	// Subject returns what the action is about, as far as it is known before it
	// is done.
	Subject() (workspaceID, keyID string)
}

// Create adds a key. It fails with [ErrNameTaken] if an active key of the
// workspace has the name, and with [ErrTooManyKeys] if MaxActive keys are
// active already (0 = no limit).
type Create struct {
	Key       Key
	MaxActive int
}

// Update gives an active key another name, another owner, or both; nil leaves
// one as it is. It fails with [ErrNotActive] or [ErrNameTaken].
type Update struct {
	WorkspaceID string
	KeyID       string
	Name        *string
	Owner       *string
}

// Rotate adds a key in place of an active one, which goes on until RevokeOldAt,
// or until it would end anyway: zero changes nothing about that, and an end that
// was set before is never put off. The replacement has the preset of the old key
// and, where Replacement has no name, its name. It fails with
// [ErrNotActive], with [ErrAlreadyRotated] if the replacement of the old key, or
// what that was replaced by, is active, with [ErrTooManyKeys] if keys that were
// rotated before it still go on, and with [ErrNameTaken] if a key has the name
// that is not the old one.
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

// Lookup finds out whose token has a digest. It changes nothing, but who asked
// is in the audit trail.
type Lookup struct{ Digest Digest }

// Revoke ends a key at once. Revoking a revoked key changes nothing and leaves
// no event behind.
type Revoke struct {
	WorkspaceID string
	KeyID       string
	Reason      string
}

// Suspend refuses every key of a workspace until it is resumed. Suspending a
// suspended workspace changes nothing.
type Suspend struct {
	WorkspaceID string
	Reason      string
}

// Resume ends a suspension. Resuming a workspace that is not suspended changes
// nothing.
type Resume struct{ WorkspaceID string }

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

// Outcome is what a change left behind.
type Outcome struct {
	Key       Key       // the key that was made or changed, as it is now
	Replaced  Key       // the key that Key replaces, if it was made for that
	Workspace Workspace // the workspace that was changed, as it is now
	Revoked   int       // how many keys were revoked
	Trusted   time.Time // the time that is confirmed from now on, if it was set
	// Stale are the credentials whose cached copies are no longer true.
	Stale []Digest
	// Ended are the credentials, all of them Stale, that may not go on.
	Ended []Digest
	// Event is what the audit trail says of the change.
	Event Event
	// Unchanged says that things were so already, and that no event was kept.
	Unchanged bool
	// Unfinished says that there is more to do than one transaction holds.
	Unfinished bool
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

// Page asks for a part of a list, newest first.
type Page struct {
	// Limit is the largest number of items wanted; more than zero.
	Limit int
	// After is the id of the last item of the page before; "" for the first
	// page. An id that is not in the list is [ErrInvalidCursor].
	After string
}

// KeyFilter chooses among a workspace's keys. The zero filter chooses all.
type KeyFilter struct {
	Status Status // "" = any
	// Query is text to be found in a key's name, owner, id or token hint, in
	// any case.
	Query string
}
