package cli

import (
	"errors"
	"io"
	"os"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

// onStdin is the file name that means standard input.
const onStdin = "-"

// readConfig returns a configuration as JSON, or nil if no file is given. Caddy's own
// function for this also logs.
func readConfig(file, adapter string, stdin io.Reader) ([]byte, error) {
	var config []byte
	var err error
	switch file {
	case "":
		return nil, nil
	case onStdin:
		config, err = io.ReadAll(stdin)
	default:
		config, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, err
	}
	if file == onStdin && len(config) == 0 {
		return nil, errors.New("there is nothing on standard input")
	}
	if adapter == "" {
		if strings.HasSuffix(file, ".json") || file == onStdin && jsontext.Value(config).IsValid() {
			return config, nil
		}
		adapter = "caddyfile"
	}
	using := caddyconfig.GetAdapter(adapter)
	if using == nil {
		return nil, usagef("there is no adapter %q", adapter)
	}
	config, _, err = using.Adapt(config, map[string]any{"filename": file})
	return config, err
}

// stdin returns standard input, unless the configuration was read from it.
func stdin(cmd *cobra.Command) (io.Reader, error) {
	if cmd.Flag("config").Value.String() == onStdin {
		return nil, usagef("standard input can be read only once, and --config - reads it")
	}
	return cmd.InOrStdin(), nil
}

// nameOf returns a file's name for people.
func nameOf(path string) string {
	if path == onStdin {
		return "standard input"
	}
	return path
}
