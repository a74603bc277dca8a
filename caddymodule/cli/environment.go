package cli

import (
	"os"

	"github.com/spf13/cobra"
)

// Variables that stand for flags which are not given.
const (
	addressVariable = "CADDY_API_KEYS_ADDRESS"
	outputVariable  = "CADDY_API_KEYS_OUTPUT"
)

// setting returns the value of a flag, or of the variable that stands for it, and the name
// of the one that it is from; "" if neither is set.
func setting(cmd *cobra.Command, flag, variable string) (value, from string) {
	if f := cmd.Flag(flag); f.Changed {
		return f.Value.String(), "--" + flag
	}
	if value := os.Getenv(variable); value != "" {
		return value, variable
	}
	return "", "--" + flag
}
