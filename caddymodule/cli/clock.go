package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/agiled/caddy-api-keys/admin/client"
)

func clockCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "clock [--trust [--reason REASON]]",
		Short: "Shows whether the server trusts its machine's clock, or makes it trust the clock",
		Long: `Shows the machine's clock, the confirmed time, which is certain to have passed, and the
time by which keys are judged.

--trust makes the time of the machine's clock the confirmed time. Make sure first that
the clock is right. If the clock was ahead before, this sets the confirmed time back:
keys that expired only by the earlier clock become active again, but no revoked key does.
If the clock is ahead because the server was stopped for a long time, this saves waiting
until the gateway confirms it by itself.`,
		Example: `  caddy api-keys clock
  caddy api-keys clock --trust --reason "the clock was three months ahead before NTP set it"`,
	}
	trust := cmd.Flags().Bool("trust", false, "Trust the machine's clock")
	reason := cmd.Flags().String("reason", "", "Reason, for the audit trail")
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		switch {
		case len(args) > 0:
			return usagef("unexpected argument %q", args[0])
		case *reason != "" && !*trust:
			return usagef("--reason is for --trust")
		case *trust:
			trust, err := t.client.TrustClock(ctx, *reason)
			if err != nil {
				return err
			}
			return t.trusted(trust)
		}
		clock, err := t.client.Clock(ctx)
		if err != nil {
			return err
		}
		if t.form == "json" {
			return t.json(map[string]any{"clock": clock})
		}
		return t.clock(clock)
	})
}

func (t *terminal) trusted(trust client.ClockTrust) error {
	if t.form == "json" {
		return t.json(trust)
	}
	if err := t.clock(trust.Clock); err != nil || trust.Revoked == 0 {
		return err
	}
	return say(t.out, "%s revoked: their scheduled revocation was due, or another key now has the name.\n", plural(trust.Revoked, "key"))
}

func (t *terminal) clock(clock client.Clock) error {
	status := "agrees with the confirmed time"
	if clock.Status != client.ClockAgrees {
		status = (time.Duration(clock.OffsetSeconds) * time.Second).Abs().String() + " " + clock.Status
	}
	var lines table
	lines.row("Clock", status)
	lines.row("Machine", t.moment(&clock.Machine))
	lines.row("Confirmed", t.moment(&clock.Confirmed))
	lines.row("Keys are judged by", t.moment(&clock.Judged))
	return lines.write(t.out)
}
