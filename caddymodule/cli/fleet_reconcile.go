package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/agiled/caddy-api-keys/admin/client"
)

func fleetReconcileCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reconcile [--yes]",
		Short: "Puts back what etcd has lost, after it was restored from an old snapshot",
		Long: `Has the gateway put back all records that it has and etcd has lost, as after etcd was
restored from an old snapshot. A gateway does so by itself if there are at most a hundred;
if there are more, it serves nobody until this command is run. The command waits until
everything is back. On a terminal, it asks for confirmation, unless --yes is given.

Make sure that it is the right etcd: if it belongs to another environment, correct the
endpoints of the gateway instead.`,
		Example: `  caddy api-keys fleet reconcile`,
		Args:    cobra.ArbitraryArgs,
	}
	yes := cmd.Flags().BoolP("yes", "y", false, "Do not ask for confirmation")
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		if len(args) > 0 {
			return usagef("unexpected argument %q", args[0])
		}
		fleet, err := t.client.Fleet(ctx)
		if err != nil {
			return err
		}
		if fleet.Lost == nil {
			if fleet.Problem != "" {
				_ = say(cmd.ErrOrStderr(), "This gateway has another problem: %s\n", fleet.Problem)
			}
			return t.reconciled(0)
		}
		lost := *fleet.Lost
		if !*yes && term.IsTerminal(int(os.Stdin.Fd())) {
			question := fmt.Sprintf("Put %s of this gateway back into the fleet below %s? This cannot be undone.", plural(lost.Records, "record"), fleet.Prefix)
			if err := agree(cmd, question, "nothing was put back"); err != nil {
				return err
			}
		}
		if _, err := t.client.ReconcileFleet(ctx); err != nil {
			return err
		}
		if err := awaitReconciled(ctx, cmd, t.client); err != nil {
			return err
		}
		return t.reconciled(lost.Records)
	})
}

// reconcilePoll is how often the progress is asked for.
const reconcilePoll = 500 * time.Millisecond

// awaitReconciled shows the progress until the gateway has put everything back.
func awaitReconciled(ctx context.Context, cmd *cobra.Command, c *client.Client) error {
	s := &steps{out: cmd.ErrOrStderr(), terminal: term.IsTerminal(int(os.Stderr.Fd()))}
	defer s.end()
	for {
		fleet, err := c.Fleet(ctx)
		switch {
		case err != nil:
			return err
		case fleet.Lost == nil:
			return nil
		case fleet.Lost.Waiting:
			return errors.New("the gateway is waiting to be asked again: " + fleet.Problem)
		}
		s.progress("Putting back", fleet.Lost.Records-fleet.Lost.Left, fleet.Lost.Records)
		select {
		case <-time.After(reconcilePoll):
		case <-ctx.Done():
			return fmt.Errorf("the gateway continues: %w", ctx.Err())
		}
	}
}

// reconciled prints how many records were put back.
func (t *terminal) reconciled(records int) error {
	switch {
	case t.form == "json":
		return t.json(map[string]any{"reconciled": map[string]any{"records": records}})
	case records == 0:
		return say(t.out, "This gateway has nothing to put back into etcd.\n")
	}
	return say(t.out, "%s put back into etcd.\n", plural(records, "record"))
}
