package caddymodule

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/agiled/caddy-api-keys/admin"
)

func revokeAllCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "revoke-all --workspace WORKSPACE --reason REASON",
		Short:   "Revokes every active key of a workspace",
		Example: `  caddy api-keys revoke-all --workspace acme --reason "the customer left"`,
	}
	workspaceFlag(cmd)
	reason := cmd.Flags().String("reason", "", "Why, for the audit trail")
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		ws, err := onlyWorkspace(cmd, args)
		if err != nil {
			return err
		}
		if *reason == "" {
			return usagef("--reason is wanted")
		}
		answer, err := t.client.RevokeAll(ctx, ws, *reason)
		if err != nil {
			return err
		}
		return t.revokedAll(answer, ws)
	})
}

func showWorkspaceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "workspace --workspace WORKSPACE",
		Short: "Says whether a workspace is suspended, and how many keys it has",
	}
	workspaceFlag(cmd)
	return workspaceCommand(cmd, func(ctx context.Context, t *terminal, ws string) (admin.WorkspaceAnswer, error) {
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
	return workspaceCommand(cmd, func(ctx context.Context, t *terminal, ws string) (admin.WorkspaceAnswer, error) {
		return t.client.Suspend(ctx, ws, *reason)
	})
}

func resumeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "resume --workspace WORKSPACE",
		Short: "Ends the suspension of a workspace",
	}
	workspaceFlag(cmd)
	return workspaceCommand(cmd, func(ctx context.Context, t *terminal, ws string) (admin.WorkspaceAnswer, error) {
		return t.client.Resume(ctx, ws)
	})
}

func suspensionsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "suspensions",
		Short:   "Lists the workspaces that are suspended, and why",
		Example: `  caddy api-keys suspensions --limit 200`,
	}
	page := pageFlags(cmd, "workspaces")
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		if len(args) > 0 {
			return usagef("%q is not wanted", args[0])
		}
		limit, cursor, err := page()
		if err != nil {
			return err
		}
		answer, err := t.client.Suspensions(ctx, limit, cursor)
		if err != nil {
			return err
		}
		return t.suspensions(answer)
	})
}

// workspaceCommand prepares a command about one workspace as a whole.
func workspaceCommand(cmd *cobra.Command, call func(context.Context, *terminal, string) (admin.WorkspaceAnswer, error)) *cobra.Command {
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		ws, err := onlyWorkspace(cmd, args)
		if err != nil {
			return err
		}
		answer, err := call(ctx, t, ws)
		if err != nil {
			return err
		}
		return t.workspace(answer)
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
	page := pageFlags(cmd, "events")
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		if len(args) > 0 {
			return usagef("%q is not wanted", args[0])
		}
		limit, cursor, err := page()
		if err != nil {
			return err
		}
		ws, _ := flags.GetString("workspace")
		if ws == "" && flags.Changed("workspace") {
			return usagef("--workspace is empty: leave it out to see the events of all")
		}
		answer, err := t.client.Events(ctx, ws, limit, cursor)
		if err != nil {
			return err
		}
		return t.events(answer)
	})
}

// onlyWorkspace returns what a command about a workspace needs.
func onlyWorkspace(cmd *cobra.Command, args []string) (string, error) {
	if len(args) > 0 {
		return "", usagef("%q is not wanted", args[0])
	}
	return requiredWorkspace(cmd)
}
