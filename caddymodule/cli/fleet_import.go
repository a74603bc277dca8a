package cli

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Imported is the result of [Mover.Import].
type Imported struct {
	Prefix    string `json:"prefix"` // of the fleet
	Path      string `json:"path"`   // of the store
	Already   bool   `json:"already"`
	Discarded int    `json:"discarded"` // records that an interrupted import had left
	Keys      int    `json:"keys"`
	Events    int    `json:"events"`
	Records   int    `json:"records"`
}

func fleetImportCommand(mover Mover) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import --store PATH --config FILE",
		Short: "Moves the keys of a stopped gateway into a new fleet",
		Long: `Moves everything in the store of a stopped gateway into a fleet: keys, suspensions,
calendar feeds and the audit trail. The fleet must be new: nothing is in etcd below its
prefix yet. How to reach etcd is taken from the store etcd block in the configuration,
whose placeholders are replaced from this command's environment.

The directory then is the replica of a gateway of the fleet, and can no longer be used
with store badger. If the command is interrupted, run it again.`,
		Example: `  caddy api-keys fleet import --store /var/lib/caddy-api-keys/api_keys --config /etc/caddy-api-keys/Caddyfile`,
		Args:    cobra.ArbitraryArgs,
	}
	path := cmd.Flags().String("store", "", "Store directory of the stopped gateway")
	return prepareOffline(cmd, func(ctx context.Context, t *terminal, args []string) error {
		if err := t.canMove(*path, args); err != nil {
			return err
		}
		ctx, stop := interruptible(ctx)
		defer stop()
		shown := &steps{out: cmd.ErrOrStderr(), terminal: term.IsTerminal(int(os.Stderr.Fd()))}
		done, err := mover.Import(ctx, t.config, *path, shown.progress)
		shown.end()
		if err != nil && ctx.Err() != nil {
			return errors.New("it was interrupted: run it again")
		}
		if err != nil {
			return err
		}
		return t.imported(done)
	})
}

// imported prints the result of an import.
func (t *terminal) imported(done Imported) error {
	if t.form == "json" {
		return t.json(map[string]any{"import": done})
	}
	if done.Already {
		return say(t.out, "%s belongs to the fleet below %s already.\n", done.Path, done.Prefix)
	}
	return say(t.out, `Moved %s and %s into the fleet below %s.
Start its gateways with store etcd. %s is the replica of one of them now.
`, plural(done.Keys, "key"), plural(done.Events, "event"), done.Prefix, done.Path)
}

// steps shows the progress of work in several steps: on a terminal as bars, otherwise as
// lines, one for each step and each tenth of it.
type steps struct {
	out      io.Writer
	terminal bool

	step  string
	bar   *progress
	tenth int
}

func (s *steps) progress(step string, done, total int) {
	if step != s.step {
		s.end()
		s.step, s.tenth = step, -1
		if s.terminal {
			s.bar = newCount(s.out, step, total)
		}
	}
	if s.terminal {
		_ = s.bar.bar.Set(done)
		return
	}
	if tenth := 10 * done / max(total, 1); tenth > s.tenth {
		s.tenth = tenth
		_ = say(s.out, "%s: %d of %d\n", step, done, total)
	}
}

// end ends the line of a bar.
func (s *steps) end() {
	if s.bar != nil {
		s.bar.end()
		s.bar = nil
	}
}
