package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/agiled/caddy-api-keys/admin/client"
)

func showWorkspaceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "workspace --workspace WORKSPACE",
		Short: "Shows whether a workspace is suspended, and how many keys it has",
	}
	workspaceFlag(cmd)
	return workspaceCommand(cmd, func(ctx context.Context, t *terminal, ws string) (client.Workspace, error) {
		return t.client.ShowWorkspace(ctx, ws)
	})
}

func suspendCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "suspend --workspace WORKSPACE",
		Short:   "Refuses all keys of a workspace until it is resumed",
		Example: `  caddy api-keys suspend --workspace acme --reason "invoice 4711 is not paid"`,
	}
	workspaceFlag(cmd)
	reason := cmd.Flags().String("reason", "", "Reason, for the audit trail")
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		ws, err := onlyWorkspace(cmd, args)
		if err != nil {
			return err
		}
		suspended, err := t.client.Suspend(ctx, ws, *reason)
		if err != nil {
			return err
		}
		warnOfNoKeys(cmd, suspended.Workspace)
		warnOfPending(cmd, suspended.Propagation)
		if t.form == "json" {
			return t.json(suspended)
		}
		return t.workspace(suspended.Workspace)
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

// workspaceCommand prepares a command about a whole workspace.
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

func suspensionsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "suspensions",
		Short:   "Lists the workspaces that are suspended, and why",
		Example: `  caddy api-keys suspensions --all`,
	}
	pageOptions := pageFlags(cmd, "workspaces")
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		if len(args) > 0 {
			return usagef("unexpected argument %q", args[0])
		}
		options, err := pageOptions()
		if err != nil {
			return err
		}
		suspensions, next, err := filled(cmd.ErrOrStderr(), options, func(page client.PageOptions) ([]client.Suspension, *string, error) {
			found, err := t.client.Suspensions(ctx, page)
			return found.Suspensions, found.NextCursor, err
		})
		if err != nil {
			return err
		}
		return t.suspensions(client.SuspensionPage{Suspensions: suspensions, NextCursor: next})
	})
}

// warnOfNoKeys warns that a workspace has no keys, because its id may be mistyped. Ended
// keys are kept for audit_retention, so the workspace had none within that time.
func warnOfNoKeys(cmd *cobra.Command, ws client.Workspace) {
	if ws.Keys == (client.KeyCounts{}) {
		_ = say(cmd.ErrOrStderr(), "%s has never had a key, or none within audit_retention: is this the workspace that you mean?\n", ws.ID)
	}
}

// workspace prints one workspace.
func (t *terminal) workspace(ws client.Workspace) error {
	if t.form == "json" {
		return t.json(map[string]any{"workspace": ws})
	}
	var lines table
	lines.row("Workspace", ws.ID)
	if ws.Suspended {
		lines.row("Suspended", "since "+t.moment(ws.SuspendedAt))
	} else {
		lines.row("Suspended", "no")
	}
	if ws.Reason != nil {
		lines.row("Reason", *ws.Reason)
	}
	lines.row("Keys", fmt.Sprintf("%d active, %d expired, %d revoked", ws.Keys.Active, ws.Keys.Expired, ws.Keys.Revoked))
	return lines.write(t.out)
}

func (t *terminal) suspensions(page client.SuspensionPage) error {
	if t.form == "json" {
		return t.json(page)
	}
	if len(page.Suspensions) == 0 {
		return say(t.out, "No workspace is suspended.\n")
	}
	list := table{fit: t.width, shorten: []int{2}}
	list.row("WORKSPACE", "SINCE", "REASON")
	for _, s := range page.Suspensions {
		list.row(s.WorkspaceID, s.SuspendedAt.UTC().Format("2006-01-02 15:04:05"), s.Reason)
	}
	return t.more(list, page.NextCursor)
}
