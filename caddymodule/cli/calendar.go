package cli

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/agiled/caddy-api-keys/admin/client"
)

func calendarCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "calendar --workspace WORKSPACE [FILE] [--feed | --revoke-feed]",
		Short: "Prints when a workspace's keys expire, as a calendar with reminders",
		Long: `Prints when a workspace's active keys expire, as an iCalendar file with reminders 14 and
3 days before, or writes it to FILE.

--feed creates a feed that a calendar application can subscribe to, and prints its path.
Append that to the address of an api_key_admin, such as
https://app.example.com/settings/api. Anybody who has the address can read the names and
expiries of the keys; it is shown only once. The workspace's previous feed is revoked.`,
		Example: `  caddy api-keys calendar --workspace acme keys.ics
  caddy api-keys calendar --workspace acme --feed`,
	}
	workspaceFlag(cmd)
	feed := cmd.Flags().Bool("feed", false, "Create a feed, and revoke the previous one")
	revoke := cmd.Flags().Bool("revoke-feed", false, "Revoke the feed")
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		ws, err := requiredWorkspace(cmd, args)
		switch {
		case err != nil:
			return err
		case *feed && *revoke:
			return usagef("give --feed or --revoke-feed")
		case len(args) > 1, len(args) > 0 && (*feed || *revoke):
			return usagef("unexpected argument %q", args[len(args)-1])
		case *feed:
			t.warnOfUnknown(ctx, cmd, ws)
			return t.createFeed(ctx, ws)
		case *revoke:
			return t.revokeFeed(ctx, ws)
		}
		calendar, err := t.client.Calendar(ctx, ws, client.CalendarOptions{})
		if err != nil {
			return err
		}
		t.warnOfUnknown(ctx, cmd, ws)
		if len(args) == 1 && args[0] != "-" {
			return os.WriteFile(args[0], calendar.Data, 0o600)
		}
		_, err = t.out.Write(calendar.Data)
		return err
	})
}

func (t *terminal) createFeed(ctx context.Context, ws string) error {
	path, err := t.client.CreateFeed(ctx, ws)
	if err != nil {
		return err
	}
	if t.form == "json" {
		err = t.json(map[string]string{"path": path})
	} else {
		err = say(t.out, "%s\n\nAppend this path to the address of an api_key_admin. It is shown only once.\n", path)
	}
	if err != nil {
		return errors.Join(errors.New("the feed was created, but its path could not be written: create it again"), err)
	}
	return nil
}

func (t *terminal) revokeFeed(ctx context.Context, ws string) error {
	revoked, err := t.client.RevokeFeed(ctx, ws)
	switch {
	case err != nil:
		return err
	case t.form == "json":
		return t.json(map[string]bool{"revoked": revoked})
	case revoked:
		return say(t.out, "The feed of %s is revoked.\n", ws)
	}
	return say(t.out, "%s had no feed.\n", ws)
}
