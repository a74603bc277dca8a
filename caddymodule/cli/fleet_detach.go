package cli

import (
	"context"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Detached is the result of [Mover.Detach].
type Detached struct {
	Prefix  string `json:"prefix"` // of the fleet
	Path    string `json:"path"`   // of the store
	Already bool   `json:"already"`
}

func fleetDetachCommand(mover Mover) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "detach --store PATH --config FILE [--yes]",
		Short: "Ends a fleet, and makes the replica of a stopped gateway a store of its own",
		Long: `Ends a fleet, and makes the replica of a stopped gateway a store of its own, to be used
with store badger. All gateways of the fleet must be stopped, and the replica must have
every change. How to reach etcd is taken from the store etcd block in the configuration,
whose placeholders are replaced from this command's environment.

No gateway serves the fleet afterwards. On a terminal, the command asks for confirmation,
unless --yes is given. If it is interrupted, run it again with the same directory.`,
		Example: `  caddy api-keys fleet detach --store /var/lib/caddy-api-keys/api_keys --config /etc/caddy-api-keys/Caddyfile`,
		Args:    cobra.ArbitraryArgs,
	}
	path := cmd.Flags().String("store", "", "Store directory of the stopped gateway")
	yes := cmd.Flags().BoolP("yes", "y", false, "Do not ask for confirmation")
	return prepareOffline(cmd, func(ctx context.Context, t *terminal, args []string) error {
		if err := t.canMove(*path, args); err != nil {
			return err
		}
		if !*yes && term.IsTerminal(int(os.Stdin.Fd())) {
			if err := agree(cmd, "End the fleet? From then on, only the gateway that uses "+*path+" serves its keys.", "nothing was changed"); err != nil {
				return err
			}
		}
		done, err := mover.Detach(ctx, t.config, *path)
		if err != nil {
			return err
		}
		return t.detached(done)
	})
}

// detached prints the result of leaving a fleet.
func (t *terminal) detached(done Detached) error {
	if t.form == "json" {
		return t.json(map[string]any{"detach": done})
	}
	if done.Already {
		return say(t.out, "%s is a store of its own already.\n", done.Path)
	}
	return say(t.out, `The fleet below %s has ended, and %s is a store of its own.
Start its gateway with store badger, and delete the replicas of the others.
`, done.Prefix, done.Path)
}
