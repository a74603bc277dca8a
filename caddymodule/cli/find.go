package cli

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/agiled/caddy-api-keys/admin/client"
)

func findCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:        "find [TEXT]",
		SuggestFor: []string{"search", "grep"},
		Short:      "Finds keys in all workspaces",
		Long: `Finds keys in all workspaces: those with a text in their name, owner, id or hint, in
the order of the workspaces, newest first within each. To find the key of a whole
token, use "lookup".`,
		Example: `  caddy api-keys find x7Qz
  caddy api-keys find --expires-within 14d`,
	}
	flags := cmd.Flags()
	status := flags.String("status", "", "Only keys that are active, expired or revoked")
	within := flags.String("expires-within", "", "Only active keys that will end within this time, such as 14d, by expiry or scheduled revocation")
	pageOptions := pageFlags(cmd, "keys")
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		query, err := searchText(cmd, args)
		if err != nil {
			return err
		}
		if err := validStatus(*status); err != nil {
			return err
		}
		page, err := pageOptions()
		if err != nil {
			return err
		}
		keys, next, err := filled(cmd.ErrOrStderr(), page, func(page client.PageOptions) ([]client.Key, *string, error) {
			found, err := t.client.FindKeys(ctx, client.FindOptions{Query: query, Status: *status, ExpiresWithin: *within, Limit: page.Limit, Cursor: page.Cursor})
			return meant(found.Keys, strings.Join(args, ""), query), found.NextCursor, err
		})
		if err != nil {
			return err
		}
		return t.found(client.KeyPage{Keys: keys, NextCursor: next}, query+*status+*within+page.Cursor == "")
	})
}

func workspacesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "workspaces [TEXT]",
		Short: "Lists the workspaces that have keys or are suspended",
		Long: `Lists the workspaces that have keys, including expired and revoked ones, or are
suspended, in the order of their ids: all, or those with a text in their id.`,
		Example: `  caddy api-keys workspaces
  caddy api-keys workspaces acme`,
	}
	pageOptions := pageFlags(cmd, "workspaces")
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		query, err := searchText(cmd, args)
		if err != nil {
			return err
		}
		whole := strings.ToLower(strings.TrimSpace(strings.Join(args, ""))) // of which query may be a part
		page, err := pageOptions()
		if err != nil {
			return err
		}
		workspaces, next, err := filled(cmd.ErrOrStderr(), page, func(page client.PageOptions) ([]client.Workspace, *string, error) {
			found, err := t.client.ListWorkspaces(ctx, client.WorkspaceOptions{Query: query, Limit: page.Limit, Cursor: page.Cursor})
			others := func(ws client.Workspace) bool { return !strings.Contains(strings.ToLower(ws.ID), whole) }
			return slices.DeleteFunc(found.Workspaces, others), found.NextCursor, err
		})
		if err != nil {
			return err
		}
		return t.workspaces(client.WorkspacePage{Workspaces: workspaces, NextCursor: next}, query+page.Cursor == "")
	})
}

// searchText returns the text that a command searches for; "" if none is given.
func searchText(cmd *cobra.Command, args []string) (string, error) {
	if len(args) > 1 {
		return "", usagef("unexpected argument %q: put a text with spaces in quotes", args[1])
	}
	return soughtText(cmd, strings.Join(args, ""))
}

// found prints a table of keys of any workspaces.
func (t *terminal) found(page client.KeyPage, all bool) error {
	if t.form == "json" {
		return t.json(page)
	}
	if len(page.Keys) == 0 {
		words := "No key matches."
		if all {
			words = "There are no keys."
		}
		return say(t.out, "%s\n", words)
	}
	list := table{fit: t.width, shorten: []int{2}, optional: []int{5, 6, 7}}
	list.row("WORKSPACE", "ID", "NAME", "STATUS", "ENDS", "TOKEN", "OWNER", "PRESET")
	for _, key := range page.Keys {
		list.row(key.WorkspaceID, key.ID, key.Name, statusWords(key), t.end(key), key.TokenHint, key.Owner, presetWords(key.Preset))
	}
	return t.more(list, page.NextCursor)
}

// workspaces prints a table of workspaces.
func (t *terminal) workspaces(page client.WorkspacePage, all bool) error {
	if t.form == "json" {
		return t.json(page)
	}
	if len(page.Workspaces) == 0 {
		words := "No workspace matches."
		if all {
			words = "No workspace has keys or is suspended."
		}
		return say(t.out, "%s\n", words)
	}
	list := table{fit: t.width, shorten: []int{5}, optional: []int{4, 5}}
	list.row("WORKSPACE", "ACTIVE", "EXPIRED", "REVOKED", "SUSPENDED SINCE", "REASON")
	for _, ws := range page.Workspaces {
		since := ""
		if ws.SuspendedAt != nil {
			since = ws.SuspendedAt.UTC().Format("2006-01-02 15:04:05")
		}
		list.row(ws.ID, strconv.Itoa(ws.Keys.Active), strconv.Itoa(ws.Keys.Expired), strconv.Itoa(ws.Keys.Revoked), since, value(ws.Reason))
	}
	return t.more(list, page.NextCursor)
}
