package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/agiled/caddy-api-keys/admin/client"
)

func createCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:        "create --workspace WORKSPACE --name NAME --preset full-access|read-only | create --from-file FILE",
		SuggestFor: []string{"new", "add", "make", "generate"},
		Short:      "Creates a key and shows its token, once",
		Long: `Creates a key and shows its token, once.

With --from-file, it creates a key for each line of FILE: either JSON, one object per
line with the members workspace_id, name, owner, preset and expires_in, or CSV with
these as header. Flags are for what a line leaves out. Each key is printed as soon as it
is created, with -o json as one object per line. FILE may be - for standard input.`,
		Example: `  caddy api-keys create --workspace acme --name "Zapier production" --preset read-only --owner Ops
  caddy api-keys create --from-file keys.csv --preset read-only -o json > tokens.jsonl`,
	}
	workspaceFlag(cmd)
	flags := cmd.Flags()
	name := flags.String("name", "", "Name of the system that uses the key, and its environment")
	preset := flags.String("preset", "", "What the key may do: full-access or read-only")
	owner := flags.String("owner", "", "Who knows where the key is stored and when to rotate it")
	expiresIn := flags.String("expires-in", "", "Lifetime of the key, such as 30d (default: the longest allowed)")
	fromFile := flags.String("from-file", "", "File with many keys to create, or - for standard input")
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		if flags.Changed("from-file") {
			switch {
			case len(args) > 0:
				return usagef("unexpected argument %q", args[0])
			case *fromFile == "":
				return usagef("--from-file is empty")
			case flags.Changed("name"):
				return usagef("--name is for one key: with --from-file, each line has a name")
			}
			ws, _ := flags.GetString("workspace")
			return t.createFrom(ctx, cmd, *fromFile, wanted{WorkspaceID: ws, Owner: *owner, Preset: *preset, ExpiresIn: *expiresIn})
		}
		ws, err := requiredWorkspace(cmd, args)
		if err != nil {
			return err
		}
		switch {
		case len(args) > 0:
			return usagef("unexpected argument %q: put a value with spaces in quotes", args[0])
		case *name == "":
			return usagef("--name is missing")
		}
		parsed, err := parsePreset(*preset)
		if err != nil {
			return err
		}
		request := client.CreateRequest{Name: *name, Owner: *owner, Preset: parsed}
		if flags.Changed("expires-in") {
			request.ExpiresIn = expiresIn
		}
		created, err := t.client.CreateKey(ctx, ws, request)
		if err != nil {
			return err
		}
		return unwritten(created.Key, t.created(created))
	})
}

func listCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:        "list --workspace WORKSPACE",
		SuggestFor: []string{"ls"},
		Short:      "Lists a workspace's keys, newest first",
		Example:    "  caddy api-keys list --workspace acme --status active",
	}
	workspaceFlag(cmd)
	flags := cmd.Flags()
	status := flags.String("status", "", "Only keys that are active, expired or revoked")
	query := flags.StringP("query", "q", "", "Only keys with this text in their name, owner, id or hint")
	pageOptions := pageFlags(cmd, "keys")
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		ws, err := requiredWorkspace(cmd, args)
		if err != nil {
			return err
		}
		if len(args) > 0 {
			return usagef("unexpected argument %q", args[0])
		}
		if err := validStatus(*status); err != nil {
			return err
		}
		page, err := pageOptions()
		if err != nil {
			return err
		}
		sought, err := soughtText(cmd, *query)
		if err != nil {
			return err
		}
		keys, next, err := filled(cmd.ErrOrStderr(), page, func(page client.PageOptions) ([]client.Key, *string, error) {
			found, err := t.client.ListKeys(ctx, ws, client.ListOptions{Status: *status, Query: sought, Limit: page.Limit, Cursor: page.Cursor})
			return meant(found.Keys, *query, sought), found.NextCursor, err
		})
		if err != nil {
			return err
		}
		return t.listed(client.KeyPage{Keys: keys, NextCursor: next}, ws, *status == "" && *query == "" && page.Cursor == "")
	})
}

func showCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:        "show [--workspace WORKSPACE] KEY_ID",
		SuggestFor: []string{"get", "describe"},
		Short:      "Shows one key",
	}
	keyFlags(cmd)
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		ws, id, err := t.workspaceAndKey(ctx, cmd, args)
		if err != nil {
			return err
		}
		key, err := t.client.ShowKey(ctx, ws, id)
		if err != nil {
			return t.unknownKey(ctx, ws, id, err)
		}
		return t.inspected(key)
	})
}

func renameCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:        "rename [--workspace WORKSPACE] [--name NAME] [--owner OWNER] KEY_ID",
		SuggestFor: []string{"update", "edit"},
		Short:      "Changes the name or the owner of a key",
		Example:    `  caddy api-keys rename --name "Zapier production - Ops" key_01JD…`,
	}
	keyFlags(cmd)
	flags := cmd.Flags()
	name := flags.String("name", "", "The new name")
	owner := flags.String("owner", "", "The new owner")
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		ws, id, err := t.workspaceAndKey(ctx, cmd, args)
		if err != nil {
			return err
		}
		request := client.UpdateRequest{Name: given(cmd, "name", name), Owner: given(cmd, "owner", owner)}
		if request.Name == nil && request.Owner == nil {
			return usagef("give --name, --owner or both")
		}
		key, err := t.client.UpdateKey(ctx, ws, id, request)
		if err != nil {
			return t.unknownKey(ctx, ws, id, err)
		}
		return t.shown(key)
	})
}

func rotateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:        "rotate [--workspace WORKSPACE] [--revoke-old-in DURATION] KEY_ID",
		SuggestFor: []string{"replace", "renew", "regenerate"},
		Short:      "Creates a replacement for a key and shows its token, once",
		Long: `Creates a replacement for a key and shows its token, once. The old key stays active
until it expires, or for as long as --revoke-old-in says, so that there is time to put
the new token in place. "show" says when the old key was last used.`,
		Example: "  caddy api-keys rotate --revoke-old-in 24h key_01JD…",
	}
	keyFlags(cmd)
	flags := cmd.Flags()
	name := flags.String("name", "", "Name of the replacement (default: the old key's)")
	owner := flags.String("owner", "", "Owner of the replacement (default: the old key's)")
	revokeOldIn := flags.String("revoke-old-in", "", "Revoke the old key after this long, such as 24h; 0s means immediately")
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		ws, id, err := t.workspaceAndKey(ctx, cmd, args)
		if err != nil {
			return err
		}
		rotation, err := t.client.RotateKey(ctx, ws, id, client.RotateRequest{
			Name: given(cmd, "name", name), Owner: given(cmd, "owner", owner), RevokeOldIn: given(cmd, "revoke-old-in", revokeOldIn),
		})
		if err != nil {
			return t.unknownKey(ctx, ws, id, err)
		}
		err = unwritten(rotation.Key, t.rotated(rotation))
		warnOfPending(cmd, rotation.Propagation)
		return err
	})
}

func revokeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:        "revoke [--workspace WORKSPACE] KEY_ID | revoke --token-stdin",
		SuggestFor: []string{"delete", "remove", "rm", "del"},
		Short:      "Revokes a key: requests with it are refused from then on",
		Example: `  caddy api-keys revoke --reason "left in a public repository" key_01JD…
  pbpaste | caddy api-keys revoke --token-stdin --reason "seen in a chat"`,
	}
	keyFlags(cmd)
	flags := cmd.Flags()
	reason := flags.String("reason", "", "Reason, for the audit trail")
	fromStdin := flags.Bool("token-stdin", false, "Read the token of the key from standard input")
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		if *fromStdin {
			if len(args) > 0 || flags.Changed("workspace") {
				return usagef("--token-stdin takes no KEY_ID and no --workspace: the token says whose it is")
			}
			token, err := readToken(cmd)
			if err != nil {
				return err
			}
			revocation, err := t.client.RevokeToken(ctx, token, *reason)
			if err != nil {
				return err
			}
			warnOfPending(cmd, revocation.Propagation)
			return errors.Join(t.revoked(revocation), sameToken(token, revocation.Key))
		}
		if len(args) == 0 {
			return usagef("give one KEY_ID, or --token-stdin and a token on standard input")
		}
		ws, id, err := t.workspaceAndKey(ctx, cmd, args)
		if err != nil {
			return err
		}
		revocation, err := t.client.RevokeKey(ctx, ws, id, *reason)
		if err != nil {
			return t.unknownKey(ctx, ws, id, err)
		}
		warnOfPending(cmd, revocation.Propagation)
		return t.revoked(revocation)
	})
}

func lookupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:        "lookup",
		SuggestFor: []string{"whose"},
		Short:      "Reads a token from standard input and says whose it is",
		Example:    "  pbpaste | caddy api-keys lookup",
	}
	cmd.Flags().Bool("token-stdin", false, "Read the token from standard input, as this command always does")
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		if len(args) > 0 {
			return usagef("a token on the command line would be in the shell's history and in the list of processes: pass it on standard input")
		}
		token, err := readToken(cmd)
		if err != nil {
			return err
		}
		key, err := t.client.LookUpToken(ctx, token)
		if err != nil {
			return err
		}
		return errors.Join(t.inspected(key), sameToken(token, key))
	})
}
