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

// nameFor returns a name for a key of a derived format: the export's, or one from its
// workspace; with a number if a person could take another key's for it.
func (s *source) nameFor(line client.ImportLine) string {
	name := strings.TrimSpace(line.Name)
	switch {
	case name == "" && line.WorkspaceID != "":
		name = line.WorkspaceID + " key"
	case name == "":
		name = "Imported key"
	case utf8.RuneCountInString(name) < minName:
		name += " key"
	}
	for n := 1; ; n++ {
		numbered := shorten(name, "")
		if n > 1 {
			numbered = shorten(name, fmt.Sprintf(" %d", n))
		}
		taken := line.WorkspaceID + "\n" + apikey.FoldName(numbered)
		if !s.names[taken] {
			s.names[taken] = true
			return numbered
		}
	}
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
