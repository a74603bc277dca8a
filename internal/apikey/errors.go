package apikey

// Error is a refusal that a person can act on. Errors are compared by their
// Code: errors.Is(err, ErrNameTaken) holds for every name_taken, whatever its
// message says.
type Error struct {
	// Code is a stable word, part of the API.
	Code string
	// Field is the name of the request's field at fault, if it is one.
	Field string
	// Message is a sentence for a person. It never holds a token.
	Message string
}

// Error returns the sentence for a person.
func (e *Error) Error() string { return e.Message }

// Is reports whether target is a refusal with the same code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// because returns a copy of e with another sentence.
func (e *Error) because(message string) *Error {
	return &Error{Code: e.Code, Field: e.Field, Message: message}
}

// What can be refused about keys, wherever it is found out.
var (
	ErrNotFound         = &Error{Code: "not_found", Message: "There is no such key in this workspace."}
	ErrNameTaken        = &Error{Code: "name_taken", Field: "name", Message: "An active key of this workspace has this name already. Give the new one a name that tells them apart."}
	ErrTooManyKeys      = &Error{Code: "too_many_keys", Message: "This workspace has as many active keys as it may have. Revoke one that is not used any more."}
	ErrAlreadyRotated   = &Error{Code: "already_rotated", Message: "This key has a live replacement already. Rotate or revoke the replacement."}
	ErrNotActive        = &Error{Code: "not_active", Message: "This key is not active any more. Create a new one."}
	ErrClockAgrees      = &Error{Code: "clock_agrees", Message: "The machine's clock agrees with the time of the key store: there is nothing to set."}
	ErrInvalidName      = &Error{Code: "invalid_name", Field: "name", Message: "A name has 3 to 80 characters."}
	ErrVagueName        = &Error{Code: "vague_name", Field: "name", Message: `This name says nothing about what uses the key. Name the system and its environment, such as "Zapier production".`}
	ErrInvalidOwner     = &Error{Code: "invalid_owner", Field: "owner", Message: "An owner has at most 80 characters."}
	ErrInvalidReason    = &Error{Code: "invalid_reason", Field: "reason", Message: "A reason has at most 500 characters."}
	ErrInvalidPreset    = &Error{Code: "invalid_preset", Field: "preset", Message: `The preset is "full_access" or "read_only".`}
	ErrInvalidWorkspace = &Error{Code: "invalid_workspace", Field: "workspace", Message: "A workspace id has 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-', and does not begin with '.'."}
	ErrInvalidDuration  = &Error{Code: "invalid_duration", Message: `A duration looks like "90d", "36h" or "1d12h".`}
	ErrInvalidCursor    = &Error{Code: "invalid_cursor", Field: "cursor", Message: "This cursor does not belong to this list. Start again without one."}
	ErrStoreUnavailable = &Error{Code: "store_unavailable", Message: "The key store cannot answer now. Try again in a moment."}
	// ErrNoChanges is ErrStoreUnavailable where it can be read, and will not be
	// changed before somebody has seen to it.
	ErrNoChanges = &Error{Code: "store_unavailable", Message: "This was not done: the key store makes no changes before its operator has seen to it, and the server's log says why. Keys are judged as before."}
	// ErrInDoubt is ErrStoreUnavailable for the one change of which it is not known
	// whether it was made. See [InDoubt].
	ErrInDoubt = &Error{Code: "store_unavailable", Message: "It is not known whether this was done: the disk of the key store failed meanwhile. The server makes no more changes before it is restarted. Restart it, and see whether this was done; if not, ask again."}
	ErrNoSpace = &Error{Code: "no_space", Message: "The disk of the key store is full. Nothing was changed."}
)

// InDoubt is [ErrInDoubt]. It names the key that may have been made, whose token
// is in no answer.
func InDoubt(keyID string) *Error {
	if keyID == "" {
		return ErrInDoubt
	}
	return ErrInDoubt.because(ErrInDoubt.Message + " The key " + keyID + " may be there then, active, and nobody has its token: revoke it.")
}
