package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/agiled/caddy-api-keys/admin/client"
)

func revokeAllCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "revoke-all --workspace WORKSPACE --reason REASON [--yes]",
		Short: "Revokes every active key of a workspace",
		Long: `Revokes every active key of a workspace. That cannot be undone, so on a terminal it
asks first. In a script, or with --yes, it does not.`,
		Example: `  caddy api-keys revoke-all --workspace acme --reason "the customer left"`,
	}
	workspaceFlag(cmd)
	yes := cmd.Flags().BoolP("yes", "y", false, "Do not ask")
	reason := cmd.Flags().String("reason", "", "Why, for the audit trail")
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		ws, err := onlyWorkspace(cmd, args)
		if err != nil {
			return err
		}
		if *reason == "" {
			return usagef("--reason is wanted")
		}
		if !*yes && term.IsTerminal(int(os.Stdin.Fd())) {
			if err := confirm(ctx, cmd, t.client, ws); err != nil {
				return err
			}
		}
		revoked, err := t.client.RevokeAll(ctx, ws, *reason)
		if err != nil {
			return err
		}
		if revoked == 0 {
			if now, err := t.client.ShowWorkspace(ctx, ws); err == nil {
				warnOfNoKeys(cmd, now)
			}
		}
		return t.revokedAll(revoked, ws)
	})
}

// confirm asks whether all keys of a workspace are to be revoked.
func confirm(ctx context.Context, cmd *cobra.Command, c *client.Client, ws string) error {
	now, err := c.ShowWorkspace(ctx, ws)
	if err != nil {
		return err
	}
	_ = say(cmd.ErrOrStderr(), "Revoke %s of %s? This cannot be undone. [y/N] ", plural(now.Keys.Active, "active key"), ws)
	answer, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if err != nil && err != io.EOF {
		return fmt.Errorf("reading the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errors.New("nothing was revoked")
}

// warnOfNoKeys says that a workspace has no keys, where it may be a mistyped one.
// A key that has ended is kept for audit_retention, so what the store does not
// know has either never been or ended that long ago.
func warnOfNoKeys(cmd *cobra.Command, ws client.Workspace) {
	if ws.Keys == (client.KeyCounts{}) {
		_ = say(cmd.ErrOrStderr(), "%s never had a key, or none since audit_retention ago: is this the workspace that you mean?\n", ws.ID)
	}
}

func showWorkspaceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "workspace --workspace WORKSPACE",
		Short: "Says whether a workspace is suspended, and how many keys it has",
	}
	workspaceFlag(cmd)
	return workspaceCommand(cmd, func(ctx context.Context, t *terminal, ws string) (client.Workspace, error) {
		return t.client.ShowWorkspace(ctx, ws)
	})
}

func suspendCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "suspend --workspace WORKSPACE",
		Short:   "Refuses every key of a workspace until it is resumed",
		Example: `  caddy api-keys suspend --workspace acme --reason "invoice 4711 is not paid"`,
	}
	workspaceFlag(cmd)
	reason := cmd.Flags().String("reason", "", "Why, for the audit trail")
	return workspaceCommand(cmd, func(ctx context.Context, t *terminal, ws string) (client.Workspace, error) {
		suspended, err := t.client.Suspend(ctx, ws, *reason)
		if err == nil {
			warnOfNoKeys(cmd, suspended)
		}
		return suspended, err
	})
}

func resumeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "resume --workspace WORKSPACE",
		Short: "Ends the suspension of a workspace",
	}
	workspaceFlag(cmd)
	return workspaceCommand(cmd, func(ctx context.Context, t *terminal, ws string) (client.Workspace, error) {
		return t.client.Resume(ctx, ws)
	})
}

func suspensionsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "suspensions",
		Short:   "Lists the workspaces that are suspended, and why",
		Example: `  caddy api-keys suspensions --limit 200`,
	}
	pageOptions := pageFlags(cmd, "workspaces")
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		if len(args) > 0 {
			return usagef("%q is not wanted", args[0])
		}
		options, err := pageOptions()
		if err != nil {
			return err
		}
		page, err := t.client.Suspensions(ctx, options)
		if err != nil {
			return err
		}
		return t.suspensions(page)
	})
}

// workspaceCommand prepares a command about one workspace as a whole.
func workspaceCommand(cmd *cobra.Command, call func(context.Context, *terminal, string) (client.Workspace, error)) *cobra.Command {
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		ws, err := onlyWorkspace(cmd, args)
		if err != nil {
			return err
		}
		found, err := call(ctx, t, ws)
		if err != nil {
			return err
		}
		return t.workspace(found)
	})
}

func auditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "audit [--workspace WORKSPACE]",
		Short:   "Lists who changed what, newest first",
		Example: "  caddy api-keys audit --workspace acme --limit 20",
	}
	workspaceFlag(cmd)
	flags := cmd.Flags()
	pageOptions := pageFlags(cmd, "events")
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		if len(args) > 0 {
			return usagef("%q is not wanted", args[0])
		}
		options, err := pageOptions()
		if err != nil {
			return err
		}
		ws, _ := flags.GetString("workspace")
		if ws == "" && flags.Changed("workspace") {
			return usagef("--workspace is empty: leave it out to see the events of all")
		}
		page, err := t.client.Events(ctx, ws, options)
		if err != nil {
			return err
		}
		return t.events(page)
	})
}

// onlyWorkspace returns what a command about a workspace needs.
func onlyWorkspace(cmd *cobra.Command, args []string) (string, error) {
	if len(args) > 0 {
		return "", usagef("%q is not wanted", args[0])
	}
	return requiredWorkspace(cmd)
}
