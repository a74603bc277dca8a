package apikey

import "time"

// Operation names what was done, in the audit trail and in metrics.
type Operation string

const (
	OpCreate  Operation = "create"
	OpRevoke  Operation = "revoke"
	OpSuspend Operation = "suspend"
	OpResume  Operation = "resume"
	OpExpose  Operation = "expose"
)

// Change is one change to keys, as a value: who wants what, and when. It holds
// everything that chance or the clock had a say in (ids, digests, times), so
// that applying it to the same store gives the same result anywhere.
type Change struct {
	EventID  string // of the audit event that the change leaves behind
	At       time.Time
	Actor    string // who, as the mount knows them
	RemoteIP string
	Do       Action
}

// Action is one of the changes below.
type Action interface{ Operation() Operation }

// Create adds a key. It fails with [ErrNameTaken] if an active key of the
// workspace has the name, and with [ErrTooManyKeys] if MaxActive keys are
// active already (0 = no limit).
type Create struct {
	Key       Key
	MaxActive int
}

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

func (Create) Operation() Operation  { return OpCreate }
func (Revoke) Operation() Operation  { return OpRevoke }
func (Suspend) Operation() Operation { return OpSuspend }
func (Resume) Operation() Operation  { return OpResume }
func (Expose) Operation() Operation  { return OpExpose }

// Outcome is what a change left behind.
type Outcome struct {
	Key       Key       // the key that was made or changed, as it is now
	Workspace Workspace // the workspace that was changed, as it is now
	// Stale are the credentials whose cached copies are no longer true.
	Stale []Digest
	// Unchanged says that things were so already, and that no event was kept.
	Unchanged bool
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
