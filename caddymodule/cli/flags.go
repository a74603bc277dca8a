package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/agiled/caddy-api-keys/admin/client"
)

func workspaceFlag(cmd *cobra.Command) { cmd.Flags().StringP("workspace", "w", "", "Workspace id") }

// requiredWorkspace returns the workspace of a command. It is often given as an argument.
func requiredWorkspace(cmd *cobra.Command, args []string) (string, error) {
	ws, _ := cmd.Flags().GetString("workspace")
	switch {
	case ws == "" && len(args) == 1 && refuseToken(args[0]) == nil:
		return "", usagef("--workspace is missing: did you mean --workspace %s?", args[0])
	case ws == "":
		return "", usagef("--workspace WORKSPACE is missing")
	}
	return ws, nil
}

// onlyWorkspace returns the workspace of a command that takes no arguments.
func onlyWorkspace(cmd *cobra.Command, args []string) (string, error) {
	ws, err := requiredWorkspace(cmd, args)
	if err == nil && len(args) > 0 {
		return "", usagef("unexpected argument %q", args[0])
	}
	return ws, err
}

// keyFlags adds the flags of a command about one key.
func keyFlags(cmd *cobra.Command) {
	cmd.Flags().StringP("workspace", "w", "", "Workspace id (default: the one that has the key)")
}

// workspaceAndKey returns the arguments of a command about one key. The server is asked
// for the workspace if it is not given.
func (t *terminal) workspaceAndKey(ctx context.Context, cmd *cobra.Command, args []string) (ws, id string, err error) {
	ws, _ = cmd.Flags().GetString("workspace")
	if ws == "" && cmd.Flags().Changed("workspace") {
		return "", "", usagef("--workspace is empty: leave it out to have the key found")
	}
	if len(args) != 1 {
		return "", "", usagef("give one KEY_ID")
	}
	id = strings.TrimSpace(args[0]) // as it is copied from a table
	if err := refuseToken(id); err != nil || ws != "" {
		return ws, id, err
	}
	key, err := t.client.FindKey(ctx, id)
	if err != nil {
		return "", "", t.unknownKey(ctx, "", id, err)
	}
	return key.WorkspaceID, id, nil
}

// validStatus refuses anything that is not a status of a key.
func validStatus(status string) error {
	if !slices.Contains([]string{"", client.Active, client.Expired, client.Revoked}, status) {
		return usagef("--status is active, expired or revoked")
	}
	return nil
}

// given returns the value of a flag that was set, and nil for one that was not.
func given(cmd *cobra.Command, name string, value *string) *string {
	if !cmd.Flags().Changed(name) {
		return nil
	}
	return value
}

// parsePreset returns a preset as the API has it.
func parsePreset(flag string) (string, error) {
	switch preset := strings.ReplaceAll(flag, "-", "_"); preset {
	case client.FullAccess, client.ReadOnly:
		return preset, nil
	}
	return "", usagef("--preset is full-access or read-only")
}
