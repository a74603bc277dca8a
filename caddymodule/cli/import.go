package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/migrate"
)

func importCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import FILE|- [--from FORMAT] [--workspace WORKSPACE] [--preset PRESET] [--dry-run]",
		Short: "Imports keys whose tokens were issued elsewhere",
		Long: `Imports keys whose tokens were issued elsewhere, so that their users need not change
them. FILE may be - for standard input. Tokens in it are hashed on this machine, and
sent nowhere. Running the same import again is harmless: keys that exist are unchanged.

Formats:

    jsonl  one JSON object per line, with the members that POST /import takes, or with a
           token in place of token_sha256
    csv    comma-separated values with these members as header
    kong   the YAML of "deck gateway dump": a consumer's custom_id, or else its username,
           is the workspace
    unkey  JSON with Unkey's keys and their hashes: the externalId is the workspace
    tyk    JSON with Tyk's keys, hashed with sha256: the org_id is the workspace

Keys from Kong, Unkey and Tyk keep their names, with eight digits of their SHA-256
appended where a name is taken; those without a name are named after their workspace.
Disabled and expired ones are left out. With --workspace, they all go into that
workspace. In jsonl and csv, --workspace and --preset are for keys that have none.

The gateway accepts tokens of a form other than its own only with foreign_tokens accept.`,
		Example: `  caddy api-keys import keys.csv --dry-run
  deck gateway dump -o - | caddy api-keys import - --from kong --preset read-only`,
	}
	workspaceFlag(cmd)
	from := cmd.Flags().String("from", "", "Format of FILE: jsonl, csv, kong, unkey or tyk (default: from the file's name or its beginning)")
	preset := cmd.Flags().String("preset", "", "Preset of keys that have none: full-access or read-only")
	dryRun := cmd.Flags().Bool("dry-run", false, "Say what would be imported, and change nothing")
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		if len(args) != 1 {
			return usagef("give one FILE, or - for standard input")
		}
		options := migrate.Options{Now: t.now, Written: t.now}
		var err error
		if options.Workspace, options.Preset, err = importDefaults(cmd, *preset); err != nil {
			return err
		}
		file, err := openExport(cmd, args[0], &options.Written)
		if err != nil {
			return err
		}
		defer file.Close()
		in, format, err := formatOf(args[0], *from, file)
		if err != nil {
			return err
		}
		if format.Derived() && options.Preset == "" {
			return usagef("--preset is missing: full-access or read-only, which %s does not say", format)
		}
		ctx, stop := interruptible(ctx)
		defer stop()
		server := t.tokenOptions(ctx)
		options.TokenPrefix = server.TokenPrefix
		run := &importRun{file: nameOf(args[0]), format: format, dryRun: *dryRun, expected: expectedKeys(args[0], format)}
		err = run.do(ctx, t, cmd.ErrOrStderr(), migrate.Read(in, format, options))
		if server.refuseForeign() && run.sentForeign() {
			_ = say(cmd.ErrOrStderr(), "This gateway refuses all tokens except those of its own form: add foreign_tokens accept to api_keys in its configuration, and reload it\n")
		}
		return err
	})
}

// tokenOptions are the options of a server that say which tokens it accepts.
type tokenOptions struct {
	TokenPrefix   string `json:"token_prefix"`
	ForeignTokens string `json:"foreign_tokens"`
	known         bool
}

// tokenOptions asks the server for its options. A server that does not say has none: they
// only make for better messages.
func (t *terminal) tokenOptions(ctx context.Context) (options tokenOptions) {
	var parsed struct {
		Apps struct {
			Keys tokenOptions `json:"api_keys"`
		} `json:"apps"`
	}
	config, err := runningConfig(ctx, t.client)
	if err != nil || json.Unmarshal(config, &parsed) != nil {
		return tokenOptions{}
	}
	options = parsed.Apps.Keys
	options.TokenPrefix, options.known = cmp.Or(options.TokenPrefix, apikey.DefaultPrefix), true
	return options
}

func (o tokenOptions) refuseForeign() bool { return o.known && o.ForeignTokens != "accept" }

// importDefaults returns the workspace and the preset from the flags.
func importDefaults(cmd *cobra.Command, preset string) (ws, parsed string, err error) {
	if ws, _ = cmd.Flags().GetString("workspace"); ws == "" && cmd.Flags().Changed("workspace") {
		return "", "", usagef("--workspace is empty")
	}
	if !cmd.Flags().Changed("preset") {
		return ws, "", nil
	}
	parsed, err = parsePreset(preset)
	return ws, parsed, err
}

// openExport opens a file, or standard input. It puts into written when the file was
// written.
func openExport(cmd *cobra.Command, path string, written *time.Time) (io.ReadCloser, error) {
	if path == onStdin {
		in, err := stdin(cmd)
		return io.NopCloser(in), err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && info.IsDir() {
		err = usagef("%q is a directory: name a FILE in it", path)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if info.Mode().IsRegular() {
		*written = info.ModTime()
	}
	return file, nil
}

// expectedKeys returns how many keys a file is likely to have, by its lines; unknownLength
// if they do not tell.
func expectedKeys(path string, format migrate.Format) int64 {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || format.Derived() {
		return unknownLength
	}
	file, err := os.Open(path)
	if err != nil {
		return unknownLength
	}
	defer file.Close()
	var lines int64
	for part := make([]byte, 64<<10); ; {
		n, err := file.Read(part)
		lines += int64(bytes.Count(part[:n], []byte("\n")))
		if err != nil {
			break
		}
	}
	if format == migrate.CSV {
		lines-- // the header
	}
	return max(lines, 1)
}

// formatOf returns the format of an export: the one that is given, or the only one that
// fits its name or its beginning.
func formatOf(path, from string, in io.Reader) (io.Reader, migrate.Format, error) {
	if from != "" {
		if format := migrate.Format(from); slices.Contains(migrate.Formats(), format) {
			return in, format, nil
		}
		return nil, "", usagef("--from %s is none of %s", from, formatList())
	}
	if format, ok := migrate.FormatOfName(path); ok {
		return in, format, nil
	}
	in, format, ok, err := migrate.FormatOfContent(in)
	if err != nil {
		return nil, "", err
	}
	if !ok {
		return nil, "", usagef("--from is missing: %s, which %s does not show", formatList(), nameOf(path))
	}
	return in, format, nil
}

func formatList() string {
	var names []string
	for _, format := range migrate.Formats() {
		names = append(names, string(format))
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}
