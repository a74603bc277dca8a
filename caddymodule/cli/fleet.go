package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/agiled/caddy-api-keys/admin/client"
)

func fleetCommand(mover Mover) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fleet",
		Short: "Shows and repairs a fleet of gateways, and moves keys into a fleet or out of it",
		Long: `Shows the gateways that serve the same keys, puts back what etcd has lost, and moves the
keys of a single gateway into a fleet or out of it.`,
	}
	cmd.AddCommand(fleetStatusCommand(), fleetReconcileCommand(), fleetRekeyCommand(), fleetImportCommand(mover), fleetDetachCommand(mover))
	prepareGroup(cmd)
	return cmd
}

func fleetStatusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Shows the gateways that serve the same keys",
		Long: `Shows the gateways that serve the same keys, as the server sees them: which of them
serve, and whether one has yet to acknowledge a revocation or suspension.`,
		Example: `  caddy api-keys fleet status`,
		Args:    cobra.ArbitraryArgs,
	}
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		if len(args) > 0 {
			return usagef("unexpected argument %q", args[0])
		}
		fleet, err := t.client.Fleet(ctx)
		if err != nil {
			return err
		}
		if t.form == "json" {
			return t.json(map[string]any{"fleet": fleet})
		}
		return t.fleet(fleet)
	})
}

// fleet prints the state of a fleet: first the gateway that answered, then all of them.
func (t *terminal) fleet(fleet client.Fleet) error {
	var lines table
	lines.row("Fleet", fleet.Prefix)
	lines.row("Asked", answerer(fleet))
	lines.row("Changes", fmt.Sprintf("%d of %d applied", fleet.Applied, fleet.Committed))
	if fleet.LeaseMS > 0 {
		lines.row("Serving", "for "+span(fleet.LeaseMS)+" without further contact")
	} else {
		lines.row("Serving", "no")
	}
	if fleet.Problem != "" {
		lines.row("Problem", fleet.Problem)
	}
	if lost := fleet.Lost; lost != nil {
		lines.row("Lost by etcd", fmt.Sprintf("%s, %d to be put back", plural(lost.Records, "record"), lost.Left))
	}
	if heard := fleet.GatewaysHeardAt; heard != nil {
		lines.row("Gateways", fmt.Sprintf("as of %s (%s)", stamp(*heard), t.ago(heard)))
	}
	if err := lines.write(t.out); err != nil || len(fleet.Gateways) == 0 {
		return err
	}
	if err := say(t.out, "\n"); err != nil {
		return err
	}
	list := table{fit: t.width, shorten: []int{0}, optional: []int{4, 5, 6}}
	list.row("NAME", "STATE", "MODE", "BEHIND", "MAX LEASE", "STARTED", "VERSION")
	for _, g := range fleet.Gateways {
		if g.State == client.GatewayUnreadable {
			list.row(g.ID, g.State, "", "unknown", "", "", "")
			continue
		}
		list.row(g.Name, g.State, g.Mode, behind(g, fleet.LastEnd), span(g.LeaseMS), g.StartedAt.UTC().Format("2006-01-02 15:04"), g.Version)
	}
	return list.write(t.out)
}

// answerer describes the gateway that answered.
func answerer(fleet client.Fleet) string {
	text := fleet.Name + ", " + fleet.Mode
	if !slices.ContainsFunc(fleet.Gateways, func(g client.FleetGateway) bool { return g.ID == fleet.Gateway }) {
		text += ", not registered"
	}
	return text
}

// behind says whether a gateway has yet to acknowledge a change that takes access away.
func behind(g client.FleetGateway, lastEnd uint64) string {
	if g.State == client.GatewayLoading {
		return ""
	}
	if g.Acknowledged >= lastEnd {
		return "no"
	}
	return fmt.Sprintf("at %d of %d", g.Acknowledged, lastEnd)
}

// span formats milliseconds, to the second.
func span(ms int64) string {
	return (time.Duration(ms) * time.Millisecond).Round(time.Second).String()
}

// warnOfPending warns that gateways may still allow what was taken away. Without it, who
// revokes a leaked key would believe that it is over.
func warnOfPending(cmd *cobra.Command, p client.Propagation) {
	if p.State == client.Confirmed {
		return
	}
	who, stop := "some gateways", "those gateways"
	if len(p.Behind) > 0 {
		who = strings.Join(p.Behind, ", ")
	}
	if len(p.Behind) == 1 {
		stop = "that gateway"
	}
	_ = say(cmd.ErrOrStderr(), "This is not confirmed: %s may not know of it yet, and let requests through. Stop %s, or wait until caddy api-keys fleet status shows that none is behind. "+
		"If one is gone for good, docs/fleet.md says how to remove what it has left.\n", who, stop)
}
