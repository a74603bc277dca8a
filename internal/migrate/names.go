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
// so few that they say no more about the token than a hint does.
const markLength = 6

// namesFor returns two names for a key of a derived format: the export's, or one from its
// workspace; and the same with the beginning of its digest. The first one is the plain one,
// unless another key before it in the export has that. So a key has one of the same two names
// whatever is before it, in whichever order a system exports its keys.
func (s *source) namesFor(line client.ImportLine) (name, other string) {
	name = strings.TrimSpace(line.Name)
	switch {
	case name == "" && line.WorkspaceID != "":
		name = line.WorkspaceID + " key"
	case name == "":
		name = "Imported key"
	case utf8.RuneCountInString(name) < minName:
		name += " key"
	}
	plain, marked := shorten(name, ""), shorten(name, " "+strings.ToLower(line.TokenSHA256[:markLength]))
	where := line.WorkspaceID + "\n" + apikey.FoldName(plain)
	if of, taken := s.names[where]; taken && of != line.TokenSHA256 {
		return marked, plain
	}
	s.names[where] = line.TokenSHA256
	return plain, marked
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
