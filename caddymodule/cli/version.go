package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/agiled/caddy-api-keys/internal/version"
)

func versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Prints the version of the gateway in this binary",
		Long: `Prints the version of the gateway in this binary, and the commit and the versions of Go
and Caddy that it was built from. "caddy version" prints only the version of Caddy. A
running server may be another binary: it logs its version when it starts.`,
	}
	return prepareOffline(cmd, func(_ context.Context, t *terminal, args []string) error {
		if len(args) > 0 {
			return usagef("unexpected argument %q", args[0])
		}
		built := version.Read()
		if t.asked == "json" {
			return t.json(built)
		}
		// Alone on its line, for scripts.
		if _, err := fmt.Fprintln(t.out, built.Version); err != nil {
			return err
		}
		var rest table
		for _, row := range [][2]string{{"Commit", built.Commit}, {"Go", built.Go}, {"Caddy", built.Caddy}} {
			if row[1] != "" {
				rest.row(row[0], row[1])
			}
		}
		return rest.write(t.out)
	})
}
