package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/store"
)

func doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor [--store PATH [--new-journal]]",
		Short: "Checks the store and its server, and says what is wrong and what to do",
		Long: `Reads everything in the store and holds it against itself: the journal, the tables,
records, indexes and counts; and checks permissions, room on the disk, the clock, and
what in the configuration is not safe. The exit status is 1 if something is wrong.
It changes nothing, and the server goes on.

Without --store, the running server does it. With it, the store of a server that is
stopped is checked, and the configuration that --config names.

--new-journal begins a new journal from what is in the store, and keeps the old one
aside. It is for a journal that is damaged beyond what it says, where the store is
known to have every change, or where nothing better is left: restoring a backup is
better than a revocation that is missing.`,
		Example: `  caddy api-keys doctor
  caddy api-keys doctor --store /var/lib/caddy/api_keys`,
	}
	path := cmd.Flags().String("store", "", "Directory of the store of a server that is stopped")
	newJournal := cmd.Flags().Bool("new-journal", false, "Begin a new journal from what is in the store")
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		switch {
		case len(args) > 0:
			return usagef("no argument is wanted")
		case *newJournal && *path == "":
			return usagef("--new-journal is for the store of a server that is stopped: --store PATH is missing")
		case *newJournal:
			return t.newJournal(*path)
		}
		p := newProgress(cmd.ErrOrStderr(), "Reading everything in the store", unknownLength)
		found, err := examine(ctx, t, *path)
		p.end()
		if err != nil {
			return err
		}
		if err := t.findings(found); err != nil {
			return err
		}
		return verdict(found)
	})
}

// examine returns what the server finds, or what is found in a closed store, and
// what is found in the configuration.
func examine(ctx context.Context, t *terminal, path string) ([]client.Finding, error) {
	if path == "" {
		found, err := t.client.Doctor(ctx)
		if err != nil {
			return nil, err
		}
		config, err := runningConfig(ctx, t.client)
		return append(found, configFindings(config, err)...), nil
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	inStore, err := store.Examine(ctx, path, t.now)
	if err != nil {
		return nil, err
	}
	var found []client.Finding
	for _, f := range inStore {
		found = append(found, client.Finding{Check: f.Check, Severity: string(f.Severity), Message: f.Message, Advice: f.Advice})
	}
	if t.config != nil {
		found = append(found, configFindings(t.config, nil)...)
		found = append(found, elsewhere(t.config, path)...)
	}
	return found, nil
}

func (t *terminal) newJournal(path string) error {
	kept, err := store.NewJournal(path, time.Now().UTC())
	if err != nil {
		return err
	}
	if t.form == "json" {
		return t.json(map[string]string{"kept": kept})
	}
	old := "There was none before."
	if kept != "" {
		old = "The old one is kept in " + kept + "."
	}
	return say(t.out, "A new journal was begun. %s\nTake a backup, and revoke again what was revoked since the last one.\n", old)
}

// findings prints what was found.
func (t *terminal) findings(found []client.Finding) error {
	if t.form == "json" {
		return t.json(map[string]any{"findings": found})
	}
	for _, f := range found {
		if err := say(t.out, "%-8s %-12s %s\n", f.Severity, f.Check, f.Message); err != nil {
			return err
		}
		if f.Advice != "" {
			if err := say(t.out, "%-8s %-12s → %s\n", "", "", f.Advice); err != nil {
				return err
			}
		}
	}
	return nil
}

// verdict is an error if something is wrong.
func verdict(found []client.Finding) error {
	wrong := 0
	for _, f := range found {
		if f.Severity == client.SeverityError {
			wrong++
		}
	}
	switch wrong {
	case 0:
		return nil
	case 1:
		return errors.New("one thing is wrong")
	}
	return fmt.Errorf("%d things are wrong", wrong)
}
