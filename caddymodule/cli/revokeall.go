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
		Use:   "revoke-all --workspace WORKSPACE --reason REASON [--yes] | revoke-all --workspace WORKSPACE --dry-run",
		Short: "Revokes every active key of a workspace",
		Long: `Revokes every active key of a workspace. This cannot be undone. On a terminal, the
command asks for confirmation, unless --yes is given. --dry-run lists the keys that would
be revoked, and changes nothing.`,
		Example: `  caddy api-keys revoke-all --workspace acme --reason "the customer left"`,
	}
	workspaceFlag(cmd)
	yes := cmd.Flags().BoolP("yes", "y", false, "Do not ask for confirmation")
	reason := cmd.Flags().String("reason", "", "Reason, for the audit trail")
	dryRun := cmd.Flags().Bool("dry-run", false, "List the keys that would be revoked, and change nothing")
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		ws, err := onlyWorkspace(cmd, args)
		if err != nil {
			return err
		}
		if *dryRun {
			return t.wouldRevoke(ctx, cmd, ws)
		}
		if *reason == "" {
			return usagef("--reason is required")
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
		if revoked.Revoked == 0 {
			t.warnOfUnknown(ctx, cmd, ws)
		}
		warnOfPending(cmd, revoked.Propagation)
		return t.revokedAll(revoked, ws)
	})
}

// confirm asks whether to revoke all keys of a workspace.
func confirm(ctx context.Context, cmd *cobra.Command, c *client.Client, ws string) error {
	now, err := c.ShowWorkspace(ctx, ws)
	if err != nil {
		return err
	}
	return agree(cmd, fmt.Sprintf("Revoke %s of %s? This cannot be undone.", plural(now.Keys.Active, "active key"), ws), "nothing was revoked")
}

// agree asks a question, and fails with otherwise unless the answer is yes.
func agree(cmd *cobra.Command, question, otherwise string) error {
	_ = say(cmd.ErrOrStderr(), "%s [y/N] ", question)
	answer, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if err != nil && err != io.EOF {
		return fmt.Errorf("reading the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errors.New(otherwise)
}

// revokedAll prints how many keys were revoked.
func (t *terminal) revokedAll(revoked client.RevokedKeys, ws string) error {
	if t.form == "json" {
		return t.json(revoked)
	}
	return say(t.out, "%s of %s revoked.\n", plural(revoked.Revoked, "key"), ws)
}

// warnOfUnknown warns if a workspace has no keys.
func (t *terminal) warnOfUnknown(ctx context.Context, cmd *cobra.Command, ws string) {
	if now, err := t.client.ShowWorkspace(ctx, ws); err == nil {
		warnOfNoKeys(cmd, now)
	}
}

// wouldRevoke prints the keys that revoke-all would revoke.
func (t *terminal) wouldRevoke(ctx context.Context, cmd *cobra.Command, ws string) error {
	keys := []client.Key{}
	for key, err := range t.client.AllKeys(ctx, ws, client.Active) {
		if err != nil {
			return err
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		t.warnOfUnknown(ctx, cmd, ws)
	}
	if t.form == "json" {
		return t.json(map[string]any{"dry_run": true, "revoked": len(keys), "keys": keys})
	}
	if len(keys) > 0 {
		if err := t.listed(client.KeyPage{Keys: keys}, ws, false); err != nil {
			return err
		}
	}
	return say(t.out, "%s of %s would be revoked.\n", plural(len(keys), "key"), ws)
}
