// Package webhook tells other systems what happens to keys and workspaces: as messages,
// each on its way to one receiver, which an [Outbox] keeps until they are delivered.
//
// A change writes its messages in its own transaction, so that no crash loses one. What
// happens without a change, because a time has come, is announced by [Outbox.Announce].
package webhook

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"
)

// Type is what a message says has happened.
type Type string

// The types of messages.
const (
	KeyCreated  Type = "key.created"
	KeyRotated  Type = "key.rotated" // about the key that was replaced; its replacement has no KeyCreated
	KeyRevoked  Type = "key.revoked" // by a person, or at the time that its rotation has set
	KeyExpiring Type = "key.expiring"
	KeyExpired  Type = "key.expired"
	KeyExposed  Type = "key.exposed"
	KeyLeaked   Type = "key.leaked" // its token was found in public

	WorkspaceSuspended Type = "workspace.suspended"
	WorkspaceResumed   Type = "workspace.resumed"
)

// Types are all types that a receiver can take.
var Types = []Type{
	KeyCreated, KeyRotated, KeyRevoked, KeyExpiring, KeyExpired, KeyExposed, KeyLeaked, WorkspaceSuspended, WorkspaceResumed,
}

// MaxReceivers is how many receivers there can be: each adds a message to every change.
const MaxReceivers = 10

// MaxWindows is how many windows a receiver can have.
const MaxWindows = 10

// Receiver is where messages are sent.
type Receiver struct {
	// ID is the same for as long as its messages are for it: see [ReceiverID].
	ID string
	// Types are those that it takes.
	Types []Type
	// Expiring are the times before a key expires at which it is told so, if it takes
	// [KeyExpiring].
	Expiring []Window
}

// Window is a time before a key expires.
type Window struct {
	Before time.Duration // more than zero
	Within string        // the same, as the configuration says it: 14d
}

// Takes reports whether messages of a type are for the receiver.
func (r *Receiver) Takes(t Type) bool { return slices.Contains(r.Types, t) }

// ReceiverID returns the id of the receiver at a URL. It does not contain the URL, which
// may be secret.
func ReceiverID(url string) string {
	sum := sha256.Sum256([]byte(url))
	return hex.EncodeToString(sum[:8])
}
