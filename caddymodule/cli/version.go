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
		Long: `Prints the version of the gateway in this binary. "caddy version" prints the version
of Caddy. A running server may be another binary: it logs its version when it starts.`,
	}
	return prepare(cmd, func(_ context.Context, t *terminal, args []string) error {
		if len(args) > 0 {
			return usagef("unexpected argument %q", args[0])
		}
		if cmd.Flag("output").Value.String() == "json" {
			return t.json(map[string]string{"version": version.Get()})
		}
		_, err := fmt.Fprintln(t.out, version.Get())
		return err
	})
}
