package cli

import (
	"github.com/spf13/cobra"

	"github.com/agiled/caddy-api-keys/admin/client"
)

func workspaceFlag(cmd *cobra.Command) { cmd.Flags().StringP("workspace", "w", "", "Workspace id") }

func requiredWorkspace(cmd *cobra.Command) (string, error) {
	ws, _ := cmd.Flags().GetString("workspace")
	if ws == "" {
		return "", usagef("--workspace WORKSPACE is missing")
	}
	return ws, nil
}

// onlyWorkspace returns what a command about a workspace needs.
func onlyWorkspace(cmd *cobra.Command, args []string) (string, error) {
	if len(args) > 0 {
		return "", usagef("%q is not wanted", args[0])
	}
	return requiredWorkspace(cmd)
}

// workspaceAndKey returns what a command about one key needs.
func workspaceAndKey(cmd *cobra.Command, args []string) (ws, id string, err error) {
	if ws, err = requiredWorkspace(cmd); err != nil {
		return "", "", err
	}
	if len(args) != 1 {
		return "", "", usagef("one KEY_ID is wanted")
	}
	return ws, args[0], refuseToken(args[0])
}

// pageFlags adds the flags of a command that lists things in pages, and returns
// what reads them.
func pageFlags(cmd *cobra.Command, things string) func() (client.PageOptions, error) {
	flags := cmd.Flags()
	limit := flags.Int("limit", 0, "At most so many "+things+", 1 to 200 (default 50)")
	cursor := flags.String("cursor", "", "Go on where a list ended: its next_cursor")
	return func() (client.PageOptions, error) {
		if flags.Changed("limit") && (*limit < 1 || *limit > 200) {
			return client.PageOptions{}, usagef("--limit is a number from 1 to 200")
		}
		return client.PageOptions{Limit: *limit, Cursor: *cursor}, nil
	}
}

// given returns the value of a flag if it was stated, and nil if not.
func given(cmd *cobra.Command, name string, value *string) *string {
	if !cmd.Flags().Changed(name) {
		return nil
	}
	return value
}
