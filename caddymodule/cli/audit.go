package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/agiled/caddy-api-keys/admin/client"
)

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
			return usagef("unexpected argument %q", args[0])
		}
		options, err := pageOptions()
		if err != nil {
			return err
		}
		ws, _ := flags.GetString("workspace")
		if ws == "" && flags.Changed("workspace") {
			return usagef("--workspace is empty: leave it out to see the events of all")
		}
		events, next, err := filled(cmd.ErrOrStderr(), options, func(page client.PageOptions) ([]client.Event, *string, error) {
			found, err := t.client.Events(ctx, ws, page)
			return found.Events, found.NextCursor, err
		})
		if err != nil {
			return err
		}
		return t.events(client.EventPage{Events: events, NextCursor: next})
	})
}

// events prints a page of the audit trail.
func (t *terminal) events(page client.EventPage) error {
	if t.form == "json" {
		return t.json(page)
	}
	if len(page.Events) == 0 {
		return say(t.out, "No events.\n")
	}
	list := table{fit: t.width, shorten: []int{1, 6}}
	list.row("AT", "WHO", "FROM", "WHAT", "WORKSPACE", "KEY", "REASON")
	for _, event := range page.Events {
		what := event.Operation
		if refused, ok := event.Details["refused"].(string); ok {
			what += " (refused: " + refused + ")"
		}
		reason, _ := event.Details["reason"].(string)
		list.row(event.At.UTC().Format("2006-01-02 15:04:05"), event.Actor, event.RemoteIP, what, event.WorkspaceID, event.KeyID, reason)
	}
	return t.more(list, page.NextCursor)
}
