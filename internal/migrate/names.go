package migrate

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// minName is the length of the shortest name that the gateway takes, in characters.
const minName = 3

// markLength is how many digits of a key's digest tell its name from that of another key:
// so few that they say no more about the token than a hint does, and so many that two keys
// hardly ever have the same.
const markLength = 8

// namesFor returns two names for a key of a derived format: the export's, or one from its
// workspace; and the same with the beginning of its digest. The first one is the plain one,
// unless another key before it in the export has that. So a key has one of the same two names
// whatever is before it, in whichever order a system exports its keys.
func (s *source) namesFor(line client.ImportLine) (name, other string) {
	whole := strings.TrimSpace(line.Name)
	switch {
	case whole == "" && line.WorkspaceID != "":
		whole = line.WorkspaceID + " key"
	case whole == "":
		whole = "Imported key"
	case utf8.RuneCountInString(whole) < minName:
		whole += " key"
	}
	digest := strings.ToLower(line.TokenSHA256)
	marked := func(digits int) string { return shorten(whole, " "+digest[:min(digits, len(digest))]) }
	plain := shorten(whole, "")
	if s.take(line.WorkspaceID, plain, digest) {
		return plain, marked(markLength)
	}
	digits := markLength
	for !s.take(line.WorkspaceID, marked(digits), digest) && digits < len(digest) { // then the order matters
		digits *= 2
	}
	return marked(digits), plain
}

// take reports whether no other key of the export has a name in a workspace.
func (s *source) take(ws, name, digest string) bool {
	where := ws + "\n" + apikey.FoldName(name)
	if of, taken := s.names[where]; taken && of != digest {
		return false
	}
	s.names[where] = digest
	return true
}

// shorten cuts a name, so that it has room for an end.
func shorten(name, end string) string {
	characters := []rune(name)
	if most := apikey.MaxName - utf8.RuneCountInString(end); len(characters) > most {
		name = strings.TrimSpace(string(characters[:most]))
	}
	return name + end
}

// workspaceFlaw returns why the name of a consumer, or of whatever else stands for a
// workspace, cannot be its id.
func workspaceFlaw(ws string) *client.Error {
	if ws == "" {
		return refuse(client.CodeInvalidWorkspace, "workspace_id", "The export does not say whose key this is: give --workspace.")
	}
	if apikey.ValidateWorkspaceID(ws) != nil {
		return refuse(client.CodeInvalidWorkspace, "workspace_id", fmt.Sprintf("%q cannot be the id of a workspace, which has 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-': change it in the export, or give --workspace.", shorten(ws, "")))
	}
	return nil
}
