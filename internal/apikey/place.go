package apikey

import "strings"

// Place is where a page ends in the list of the keys of all workspaces, as
// [Page.After] has it: a workspace, and the last of its keys that was looked at, ""
// if all were.
type Place struct{ WorkspaceID, KeyID string }

const placeSeparator = "/" // no workspace id contains it

func (p Place) String() string {
	if p.KeyID == "" {
		return p.WorkspaceID
	}
	return p.WorkspaceID + placeSeparator + p.KeyID
}

// ParsePlace parses a [Place], or returns [ErrInvalidCursor].
func ParsePlace(s string) (Place, error) {
	ws, id, within := strings.Cut(s, placeSeparator)
	if ValidateWorkspaceID(ws) != nil || within && !ValidKeyID(id) {
		return Place{}, ErrInvalidCursor
	}
	return Place{ws, id}, nil
}
