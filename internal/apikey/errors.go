package apikey

import (
	"fmt"
	"runtime/debug"
	"strings"
)

// Error is a refusal that a person can act on. Errors are compared by their
// Code: errors.Is(err, ErrNameTaken) is true for every name_taken, regardless of
// its message.
type Error struct {
	// Code is a stable word, part of the API.
	Code string
	// Field is the name of the request's invalid field, if there is one.
	Field string
	// Message is a sentence for people. It never contains a token.
	Message string
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Is reports whether target is a refusal with the same code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// because returns a copy of e with another message.
func (e *Error) because(message string) *Error {
	return &Error{Code: e.Code, Field: e.Field, Message: message}
}

// Refusals, whichever layer detects them.
var (
	ErrNotFound            = &Error{Code: "not_found", Message: "There is no such key in this workspace."}
	ErrNameTaken           = &Error{Code: "name_taken", Field: "name", Message: "An active key in this workspace already has this name. Choose a name that tells them apart."}
	ErrTooManyKeys         = &Error{Code: "too_many_keys", Message: "This workspace has reached its limit of active keys. Revoke one that is no longer used."}
	ErrAlreadyRotated      = &Error{Code: "already_rotated", Message: "This key already has an active replacement. Rotate or revoke the replacement."}
	ErrNotActive           = &Error{Code: "not_active", Message: "This key is no longer active. Create a new one."}
	ErrSuspendedByOperator = &Error{Code: "workspace_mismatch", Message: "An operator suspended this workspace, and only an operator can resume it."}
	ErrClockAgrees         = &Error{Code: "clock_agrees", Message: "The machine's clock agrees with the key store's confirmed time: there is nothing to correct."}
	ErrInvalidName         = &Error{Code: "invalid_name", Field: "name", Message: "A name must have 3 to 80 characters."}
	ErrVagueName           = &Error{Code: "vague_name", Field: "name", Message: `This name says nothing about what uses the key. Name the system and its environment, such as "Zapier production".`}
	ErrInvalidOwner        = &Error{Code: "invalid_owner", Field: "owner", Message: "An owner can have at most 80 characters."}
	ErrInvalidReason       = &Error{Code: "invalid_reason", Field: "reason", Message: "A reason can have at most 500 characters."}
	ErrInvalidPreset       = &Error{Code: "invalid_preset", Field: "preset", Message: `The preset must be "full_access" or "read_only".`}
	ErrInvalidWorkspace    = &Error{Code: "invalid_workspace", Field: "workspace", Message: "A workspace id has 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-', and does not begin with '.'."}
	ErrInvalidDuration     = &Error{Code: "invalid_duration", Message: `A duration looks like "90d", "36h" or "1d12h".`}
	ErrInvalidCursor       = &Error{Code: "invalid_cursor", Field: "cursor", Message: "This cursor does not belong to this list. Start again without one."}
	ErrStoreUnavailable    = &Error{Code: "store_unavailable", Message: "The key store is unavailable. Try again in a moment."}
	// ErrNoChanges is ErrStoreUnavailable for a store that can still be read, but
	// accepts no changes until an operator intervenes.
	ErrNoChanges = &Error{Code: "store_unavailable", Message: "Nothing was changed: the key store accepts no changes until an operator intervenes. The server's log says why. Keys are still checked as usual."}
	// ErrStoreFailed is ErrStoreUnavailable for a store that can neither be read nor changed
	// until it is opened again.
	ErrStoreFailed = &Error{Code: "store_unavailable", Message: "The key store's files could not be written, and cannot be used until the server is restarted: that restores all changes that were made. The server's log says why. Until then, only keys in memory are accepted."}
	// ErrInDoubt is ErrStoreUnavailable for a change that may or may not have been
	// made. See [InDoubt].
	ErrInDoubt = &Error{Code: "store_unavailable", Message: "This may or may not have been done: the key store's disk failed in the meantime. The server accepts no more changes until it is restarted. Restart it, check whether this was done, and try again if it was not."}
	// ErrFleetUnavailable is ErrStoreUnavailable for a gateway that cannot reach its fleet.
	ErrFleetUnavailable = &Error{Code: "store_unavailable", Message: "Nothing was changed: this gateway cannot reach its fleet at the moment. The server's log says why. Try again, or ask another gateway."}
	// ErrFleetNoPart is ErrStoreUnavailable for a change through a gateway that hears from
	// its fleet and cannot take part in it.
	ErrFleetNoPart = &Error{Code: "store_unavailable", Message: "Nothing was changed: this gateway cannot take part in its fleet, although etcd answers. The server's log says why. Ask another gateway."}
	// ErrFleetKeyMissing is ErrFleetNoPart for a gateway that lacks an integrity key.
	ErrFleetKeyMissing = &Error{Code: "store_unavailable", Message: "Nothing was changed: this gateway lacks an integrity key of its fleet. The server's log says which. Add it in second place, or ask another gateway."}
	// ErrFleetSilent is ErrStoreUnavailable for a gateway that has not heard from its
	// fleet for too long.
	ErrFleetSilent = &Error{Code: "store_unavailable", Message: "This gateway has not heard from its fleet for too long, so it refuses all requests. The server's log says why."}
	// ErrFleetJoining is ErrStoreUnavailable for a gateway that has not had a lease since
	// it started.
	ErrFleetJoining = &Error{Code: "store_unavailable", Message: "This gateway has not joined its fleet since it started, and refuses all requests until then. If that lasts, the server's log says why."}
	// ErrFleetLost is ErrStoreUnavailable for a gateway whose fleet has lost changes that
	// the gateway knows.
	ErrFleetLost = &Error{Code: "store_unavailable", Message: "The fleet's etcd has lost changes that this gateway knows, so it refuses all requests until they are back. The server's log says why."}
	// ErrFleetExcluded is ErrStoreUnavailable for a gateway that another one has excluded.
	ErrFleetExcluded = &Error{Code: "store_unavailable", Message: "The fleet has excluded this gateway because it did not apply a change in time, so it refuses all requests until it has caught up. The server's log says more."}
	// ErrFleetNoRoom is ErrStoreUnavailable for a gateway whose fleet's etcd has no space for
	// its registration.
	ErrFleetNoRoom = &Error{Code: "store_unavailable", Message: "The fleet's etcd is full, so this gateway cannot join its fleet, and refuses all requests until etcd has space."}
	// ErrFleetUnusable is ErrStoreUnavailable for a gateway that hears from its fleet and
	// cannot take part in it, as with the wrong integrity key.
	ErrFleetUnusable = &Error{Code: "store_unavailable", Message: "This gateway cannot take part in its fleet, so it refuses all requests. The server's log says why."}
	// ErrFleetPartial is ErrStoreUnavailable for a read through a gateway that lacks records
	// of its fleet.
	ErrFleetPartial = &Error{Code: "store_unavailable", Message: "This gateway does not have all keys of its fleet yet, or not again. Ask a gateway that serves, or try again when this one does."}
	// ErrFleetInDoubt is ErrStoreUnavailable for a change of a fleet that may or may not
	// have been made.
	ErrFleetInDoubt = &Error{Code: "store_unavailable", Message: "This may or may not have been done: the connection to the fleet's etcd was lost in the meantime. Check whether it was done, and try again if it was not."}
	ErrNoSpace      = &Error{Code: "no_space", Message: "The key store's disk is full. Nothing was changed."}
	// ErrNoInodes is ErrNoSpace for a disk on which no more files can be created.
	ErrNoInodes = &Error{Code: "no_space", Message: "The key store's disk has no inodes left, so no more files can be created on it. Nothing was changed."}
	// ErrFleetFull is ErrNoSpace for a fleet.
	ErrFleetFull = &Error{Code: "no_space", Message: "The fleet's etcd is full. Nothing was changed."}
	// ErrRekeyFailed is ErrStoreUnavailable for a fleet whose records could not all be
	// sealed again.
	ErrRekeyFailed = &Error{Code: "store_unavailable", Message: "Not all records could be sealed again. The server's log says why. Try again: what has been sealed stays so."}
	// ErrIntegrityKeyDiffers is a fleet whose gateways do not all seal with the same key.
	ErrIntegrityKeyDiffers = &Error{Code: "integrity_key_differs", Message: "Not all gateways of the fleet seal with the same integrity key."}
	// ErrRekeyNoSpace is ErrNoSpace for a fleet whose records are to be sealed again.
	ErrRekeyNoSpace = &Error{Code: "no_space", Message: "The fleet's etcd is too full for more records to be sealed again. Compact and defragment it, or raise its quota, and try again: what has been sealed stays so."}
)

// AlreadyRotated returns [ErrAlreadyRotated] naming the replacement.
func AlreadyRotated(replacement string) *Error {
	return ErrAlreadyRotated.because("This key already has an active replacement, " + replacement + ". Rotate or revoke that one.")
}

// InDoubt returns [ErrInDoubt] naming the key that may have been created, whose
// token nobody has received.
func InDoubt(keyID string) *Error {
	if keyID == "" {
		return ErrInDoubt
	}
	return ErrInDoubt.because(ErrInDoubt.Message + " If the key " + keyID + " exists then, it is active and nobody has its token: revoke it.")
}

// IntegrityKeyDiffers returns [ErrIntegrityKeyDiffers] naming the gateways that seal with
// another key than the one that was asked.
func IntegrityKeyDiffers(gateways []string) *Error {
	return ErrIntegrityKeyDiffers.because("Other gateways seal with another integrity key: " + strings.Join(gateways, ", ") + ". Give all of them the same one in first place, and try again. If a gateway is gone, delete its registration.")
}

// RecoverStore is deferred where the key store is read, and turns a panic in it into an
// error: a damaged record must fail one request or scrape, and not end the process.
func RecoverStore(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("panic in the key store: %v\n%s", p, debug.Stack())
	}
}
