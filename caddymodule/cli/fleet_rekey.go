package cli

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/agiled/caddy-api-keys/admin/client"
)

func fleetRekeyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rekey",
		Short: "Seals everything in etcd again with the first integrity key",
		Long: `Seals everything in etcd again that is not sealed with the first integrity_key of the
server, so that the other one can be removed from the configuration. No key is changed,
and all gateways keep serving. All of them must have the same integrity_key first. If
the command is interrupted, run it again.`,
		Example: `  caddy api-keys fleet rekey`,
		Args:    cobra.ArbitraryArgs,
	}
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		if len(args) > 0 {
			return usagef("unexpected argument %q", args[0])
		}
		shown := &steps{out: cmd.ErrOrStderr(), terminal: term.IsTerminal(int(os.Stderr.Fd()))}
		done, err := rekey(ctx, t.client, shown.progress)
		shown.end()
		if err != nil {
			return err
		}
		if t.form == "json" {
			return t.json(map[string]any{"rekey": done})
		}
		return say(t.out, "Sealed %d of %d records again. None now needs a key other than the first integrity_key.\n", done.Sealed, done.Checked)
	})
}

// rekeyRuns is how often all records are checked, at most: once more after some of them
// were sealed, unless a gateway keeps writing with another key.
const rekeyRuns = 3

// rekeyed is what all calls have done together.
type rekeyed struct {
	Checked int `json:"checked"`
	Sealed  int `json:"sealed"`
}

// rekey seals records until a run over all of them has found none to seal.
func rekey(ctx context.Context, c *client.Client, progress Progress) (all rekeyed, err error) {
	step := "Sealing the records again"
	for range rekeyRuns {
		run, err := rekeyOnce(ctx, c, func(done, total int) { progress(step, done, total) })
		all.Checked, all.Sealed = run.Checked, all.Sealed+run.Sealed
		if err != nil || run.Sealed == 0 {
			return all, err
		}
		step = "Checking them"
	}
	return all, errors.New("something keeps writing records that are sealed with another key: check the integrity_key of all gateways, and run this again")
}

// rekeyOnce makes one run over all records.
func rekeyOnce(ctx context.Context, c *client.Client, progress func(done, total int)) (run rekeyed, err error) {
	for cursor := ""; ; {
		part, err := c.RekeyFleet(ctx, cursor)
		if err != nil {
			return run, err
		}
		run.Checked, run.Sealed = run.Checked+part.Checked, run.Sealed+part.Sealed
		progress(run.Checked, run.Checked+part.Remaining)
		if part.NextCursor == nil {
			return run, nil
		}
		cursor = *part.NextCursor
	}
}
