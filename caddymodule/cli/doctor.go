package cli

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/present"
	"github.com/agiled/caddy-api-keys/internal/store"
)

func doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor [--store PATH [--new-journal]]",
		Short: "Checks the store and its server, and says what is wrong and what to do",
		Long: `Reads everything in the store and checks that it is consistent: the journal, tables,
records, indexes and counts. It also checks permissions, disk space and the clock, and
looks for what is unsafe in the configuration. The exit status is 1 if something is
wrong. It changes nothing, and the server keeps running.

Without --store, the running server checks its own store. With --store, this command
checks the store of a stopped server, and the configuration that --config names.

--new-journal starts a new journal from what is in the store, and keeps the old one. Use
it if the journal is damaged beyond repair and the store is known to have every change,
or if nothing better is left: restoring a backup is better than missing a revocation.`,
		Example: `  caddy api-keys doctor
  caddy api-keys doctor --store /var/lib/caddy-api-keys/api_keys`,
	}
	path := cmd.Flags().String("store", "", "Store directory of a stopped server")
	newJournal := cmd.Flags().Bool("new-journal", false, "Start a new journal from what is in the store")
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		switch {
		case len(args) > 0:
			return usagef("unexpected argument %q", args[0])
		case *newJournal && *path == "":
			return usagef("--new-journal is for the store of a stopped server: --store PATH is missing")
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

// examine returns findings about the store, by the server or in the directory of a
// stopped one, and about the configuration.
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
		return nil, orAskServer(err)
	}
	found := present.Findings(inStore)
	if t.config != nil {
		found = append(found, configFindings(t.config, nil)...)
		found = append(found, elsewhere(t.config, path)...)
	}
	return found, nil
}

// orAskServer adds to the error of a store that another process has open how to have
// that process do it, if it is the server.
func orAskServer(err error) error {
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("%w. If that process is the server, leave out --store and let the server do it: --address or --config say where it is", err)
	}
	return err
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
	return say(t.out, "Created a new journal. %s\nTake a backup, and repeat every revocation since the last one.\n", old)
}

// findings prints findings.
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

// verdict returns an error if a finding is one.
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
		return errors.New("1 problem was found")
	}
	return fmt.Errorf("%d problems were found", wrong)
}
