package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

const (
	// completionTimeout is how long a shell waits for what only the server knows.
	completionTimeout = time.Second
	// maxCompletions is how much a shell is offered.
	maxCompletions = 100
)

// values are what a flag may be, by its name. Those of other flags are free, or files.
var values = map[string][]cobra.Completion{
	"from":   {"jsonl", "csv", "kong", "unkey", "tyk"},
	"preset": {"full-access", "read-only"},
	"status": {client.Active, client.Expired, client.Revoked},
}

// files are the flags whose values are files or directories.
var files = []string{"config", "store", "from-file"}

// completeAll sets what shells complete, for a command and those below it.
func completeAll(cmd *cobra.Command) {
	complete := func(flag *pflag.Flag) {
		if slices.Contains(files, flag.Name) || flag.Value.Type() == "bool" {
			return
		}
		_ = cmd.RegisterFlagCompletionFunc(flag.Name, completionOf(flag.Name))
	}
	cmd.LocalFlags().VisitAll(complete)
	cmd.PersistentFlags().VisitAll(complete)
	switch {
	case strings.Contains(cmd.Use, "KEY_ID"):
		cmd.ValidArgsFunction = keyIDs
	case !strings.Contains(cmd.Use, "FILE"):
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, sub := range cmd.Commands() {
		completeAll(sub)
	}
}

// completionOf returns what completes the values of a flag.
func completionOf(flag string) cobra.CompletionFunc {
	switch flag {
	case "workspace":
		return workspaceIDs
	case "output":
		return forms
	}
	return cobra.FixedCompletions(values[flag], cobra.ShellCompDirectiveNoFileComp)
}

// forms completes the forms of output of a command.
func forms(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	forms := []cobra.Completion{"table", "json"}
	if makesToken(cmd) {
		forms = append(forms, "token")
	}
	return forms, cobra.ShellCompDirectiveNoFileComp
}

// makesToken reports whether a command makes a token.
func makesToken(cmd *cobra.Command) bool { return cmd.Name() == "create" || cmd.Name() == "rotate" }

// workspaceIDs completes the ids of workspaces.
func workspaceIDs(cmd *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return asked(cmd, func(ctx context.Context, t *terminal) (found []cobra.Completion, err error) {
		page, err := t.client.ListWorkspaces(ctx, client.WorkspaceOptions{Query: begun, Limit: maxCompletions})
		for _, ws := range page.Workspaces {
			if strings.HasPrefix(ws.ID, begun) {
				found = append(found, ws.ID)
			}
		}
		return found, err
	})
}

// keyIDs completes the ids of keys, with their names: those of active ones, except for a
// command that only shows something of a key.
func keyIDs(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 || refuseToken(begun) != nil || inAddress(begun) != begun {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	options := client.FindOptions{Query: begun, Status: client.Active, Limit: maxCompletions}
	if cmd.Name() == "show" || cmd.Name() == "usage" {
		options.Status = ""
	}
	ws := cmd.Flag("workspace").Value.String()
	return asked(cmd, func(ctx context.Context, t *terminal) (found []cobra.Completion, err error) {
		page, err := t.search(ctx, ws, options)
		for _, key := range page.Keys {
			if strings.HasPrefix(key.ID, begun) {
				found = append(found, cobra.CompletionWithDesc(apikey.Visible(key.ID), apikey.Visible(key.Name)))
			}
		}
		return found, err
	})
}

// asked returns what the server offers, or nothing: a shell can show no error.
func asked(cmd *cobra.Command, ask func(context.Context, *terminal) ([]cobra.Completion, error)) ([]cobra.Completion, cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoFileComp
	if cmd.Flag("config").Value.String() == onStdin { // which is the terminal
		return nil, directive
	}
	t, err := newTerminal(cmd)
	if err != nil {
		return nil, directive
	}
	if t.client, err = newClient(cmd, t.config); err != nil {
		return nil, directive
	}
	ctx, cancel := context.WithTimeout(context.Background(), completionTimeout)
	defer cancel()
	found, err := ask(ctx, t)
	if err != nil {
		return nil, directive
	}
	return found, directive
}
