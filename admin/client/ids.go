package client

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// Invalid ids are refused before they are sent: a server that cleans paths would
// take ".." for a call about something else, and a token in a URL would be logged.
var (
	workspaceID = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$`)
	keyID       = regexp.MustCompile(`^key_[0-7][0-9A-HJKMNP-TV-Z]{25}$`)
	feedPath    = regexp.MustCompile(`^/calendar/cal_[0-9A-Za-z]{43}\.ics$`)
	tokenLike   = regexp.MustCompile(`[a-z][a-z0-9_]{0,18}[a-z0-9]_([0-9A-Za-z]{43,})\w*`) // as the gateway finds them
)

var (
	errWorkspaceID = &Error{Code: CodeInvalidWorkspace, Field: "workspace", Message: "A workspace id has 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-', and does not begin with '.'."}
	errFeedPath    = &Error{Code: CodeNotFound, Message: "This is not the path of a calendar feed."}
)

// workspacePath returns the path of a call about a workspace.
func workspacePath(ws, below string) (string, error) {
	if !workspaceID.MatchString(ws) || tokenLike.MatchString(ws) {
		return "", errWorkspaceID
	}
	return "/workspaces/" + ws + below, nil
}

// keyPath returns the path of a call about a key.
func keyPath(ws, id, below string) (string, error) {
	path, err := workspacePath(ws, "/keys/"+id+below)
	if err == nil && !keyID.MatchString(id) {
		err = errKeyID(id)
	}
	return path, err
}

// errKeyID says how a text differs from a key's id, without repeating it: it may be
// something secret.
func errKeyID(id string) *Error {
	const prefix, length = "key_", 26
	flaw := "This one has a character that is none of those."
	random, ok := strings.CutPrefix(id, prefix)
	switch {
	case !ok:
		flaw = `This one does not begin with "key_".`
	case len(random) != length:
		flaw = fmt.Sprintf(`This one has %d after "key_".`, len(random))
	case keyID.MatchString(prefix + strings.ToUpper(random)):
		flaw = "This one has small letters."
	}
	return &Error{Code: CodeNotFound, Message: `A key's id is "key_", and 26 digits and capital letters without I, L, O and U. ` + flaw}
}

// withQuery returns a path with those parameters that are not empty.
func withQuery(path string, parameters map[string]string) string {
	query := url.Values{}
	for name, value := range parameters {
		if value != "" {
			query.Set(name, value)
		}
	}
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}
