package caddymodule

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/agiled/caddy-api-keys/admin"
)

func createCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "create --workspace WORKSPACE --name NAME --preset full-access|read-only",
		Short:   "Makes a key and shows its token, once",
		Example: `  caddy api-keys create --workspace acme --name "Zapier production" --preset read-only --owner Ops`,
	}
	workspaceFlag(cmd)
	flags := cmd.Flags()
	name := flags.String("name", "", "Name of the system that uses the key, and its environment")
	preset := flags.String("preset", "", "What the key may do: full-access or read-only")
	owner := flags.String("owner", "", "Who knows where the key is kept and when to rotate it")
	expiresIn := flags.String("expires-in", "", "How long the key lives, such as 30d (default: as long as it may)")
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		ws, err := requiredWorkspace(cmd)
		if err != nil {
			return err
		}
		switch {
		case len(args) > 0:
			return usagef("%q is not wanted: put a value with spaces in quotes", args[0])
		case *name == "":
			return usagef("--name is missing")
		case *preset != "full-access" && *preset != "read-only" && *preset != "full_access" && *preset != "read_only":
			return usagef("--preset is full-access or read-only")
		}
		request := admin.CreateRequest{Name: *name, Owner: *owner, Preset: strings.ReplaceAll(*preset, "-", "_")}
		if flags.Changed("expires-in") {
			request.ExpiresIn = expiresIn
		}
		answer, err := t.client.CreateKey(ctx, ws, request)
		if err != nil {
			return err
		}
		return t.created(answer)
	})
}

func listCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list --workspace WORKSPACE",
		Short:   "Lists a workspace's keys, newest first",
		Example: "  caddy api-keys list --workspace acme --status active",
	}
	workspaceFlag(cmd)
	flags := cmd.Flags()
	status := flags.String("status", "", "Only keys that are active, expired or revoked")
	query := flags.StringP("query", "q", "", "Only keys with this text in name, owner, id or hint")
	limit := flags.Int("limit", 0, "At most so many keys, 1 to 200 (default 50)")
	cursor := flags.String("cursor", "", "Go on where a list ended: its next_cursor")
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		ws, err := requiredWorkspace(cmd)
		if err != nil {
			return err
		}
		if len(args) > 0 {
			return usagef("%q is not wanted", args[0])
		}
		if flags.Changed("limit") && (*limit < 1 || *limit > 200) {
			return usagef("--limit is a number from 1 to 200")
		}
		if err := refuseToken(*query); err != nil {
			return err
		}
		answer, err := t.client.ListKeys(ctx, ws, admin.ListOptions{Status: *status, Query: *query, Limit: *limit, Cursor: *cursor})
		if err != nil {
			return err
		}
		return t.listed(answer)
	})
}

func showCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show --workspace WORKSPACE KEY_ID",
		Short: "Shows one key",
	}
	workspaceFlag(cmd)
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		ws, id, err := workspaceAndKey(cmd, args)
		if err != nil {
			return err
		}
		answer, err := t.client.ShowKey(ctx, ws, id)
		if err != nil {
			return err
		}
		return t.shown(answer)
	})
}

func revokeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "revoke --workspace WORKSPACE KEY_ID",
		Short:   "Revokes a key: no request that starts later passes",
		Example: `  caddy api-keys revoke --workspace acme --reason "left in a public repository" key_01JD…`,
	}
	workspaceFlag(cmd)
	reason := cmd.Flags().String("reason", "", "Why, for the audit trail")
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		ws, id, err := workspaceAndKey(cmd, args)
		if err != nil {
			return err
		}
		answer, err := t.client.RevokeKey(ctx, ws, id, *reason)
		if err != nil {
			return err
		}
		return t.shown(answer)
	})
}
