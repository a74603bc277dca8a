// Package cli is the command `caddy api-keys`, with which operators manage keys. It
// calls the admin API of a running server through package client; backups and checks
// of a stopped server's store are made on the store itself.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// Command is `caddy api-keys …`. It talks to the admin endpoint of a running
// server, and finds that as `caddy reload` does.
var Command = caddycmd.Command{
	Name:  "api-keys",
	Short: "Makes, shows and revokes API keys of a running server",
	Long: `
Makes, shows and revokes API keys, through the admin endpoint of a running
server. --address says where that is, or --config which configuration states
it; without either, the default address is asked.

The exit status is 0 if it was done, 1 if it was refused or failed, and 2 if
the command was not understood.`,
	CobraFunc: func(cmd *cobra.Command) {
		cmd.PersistentFlags().String("address", "", "Address of the admin endpoint")
		cmd.PersistentFlags().StringP("config", "c", "", "Configuration file that states the admin endpoint, or - for standard input")
		cmd.PersistentFlags().StringP("adapter", "a", "", "Name of the adapter for the configuration file")
		cmd.PersistentFlags().StringP("output", "o", "", "Output: table or json, and token where a token was made (default: table on a terminal, json elsewhere)")
		cmd.AddCommand(
			createCommand(), listCommand(), showCommand(), renameCommand(), rotateCommand(), revokeCommand(),
			showWorkspaceCommand(), revokeAllCommand(), suspendCommand(), resumeCommand(), suspensionsCommand(), lookupCommand(), auditCommand(),
			backupCommand(), restoreCommand(), doctorCommand(), clockCommand(), versionCommand(),
		)
		cmd.Args = cobra.ArbitraryArgs
		prepare(cmd, func(_ context.Context, _ *terminal, args []string) error { return noCommand(cmd, args) })
		cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
			if args := cmd.Flags().Args(); len(args) > 0 { // the flag would be that of a command
				return finish(cmd, noCommand(cmd, args))
			}
			return finish(cmd, usagef("%v", err))
		})
		for _, sub := range cmd.Commands() {
			sub.Args = cobra.ArbitraryArgs
		}
	},
}

// noCommand says that the first argument is no command, and which may be meant.
func noCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usagef("which command?")
	}
	cmd.SuggestionsMinimumDistance = 2
	if near := slices.Compact(cmd.SuggestionsFor(args[0])); len(near) > 0 {
		return usagef("there is no command %q: did you mean %s?", args[0], strings.Join(near, " or "))
	}
	return usagef("there is no command %q", args[0])
}

// prepare gives a command its function, and its errors their form: one line,
// and a status that tells misuse from failure.
func prepare(cmd *cobra.Command, run func(context.Context, *terminal, []string) error) *cobra.Command {
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return finish(cmd, usagef("%v", err)) })
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		t, err := newTerminal(cmd)
		if err != nil {
			return finish(cmd, err)
		}
		return finish(cmd, run(cmd.Context(), t, args))
	}
	return cmd
}

// usageError says that a command was not understood.
type usageError string

func (e usageError) Error() string { return string(e) }

func usagef(format string, args ...any) error { return usageError(fmt.Sprintf(format, args...)) }

// finish prints an error, and returns what makes Caddy exit with its status.
func finish(cmd *cobra.Command, err error) error {
	if err == nil {
		return nil
	}
	if misuse, ok := errors.AsType[usageError](err); ok {
		_ = say(cmd.ErrOrStderr(), "%s: %s (try %s --help)\n", cmd.CommandPath(), apikey.RedactTokens(misuse.Error()), cmd.CommandPath())
		return exitWith(cmd, 2)
	}
	_ = say(cmd.ErrOrStderr(), "%s: %s\n", cmd.CommandPath(), apikey.RedactTokens(sentence(err)))
	return exitWith(cmd, 1)
}

// pageFlags adds the flags of a command that lists things in pages, and returns
// what reads them.
func pageFlags(cmd *cobra.Command, things string) func() (client.PageOptions, error) {
	flags := cmd.Flags()
	limit := flags.Int("limit", 0, "At most so many "+things+", 1 to 200 (default 50)")
	cursor := flags.String("cursor", "", "Go on where a list ended: its next_cursor")
	return func() (client.PageOptions, error) {
		if flags.Changed("limit") && (*limit < 1 || *limit > 200) {
			return client.PageOptions{}, usagef("--limit is a number from 1 to 200")
		}
		return client.PageOptions{Limit: *limit, Cursor: *cursor}, nil
	}
}

// exitWith returns the error that makes Caddy exit with a status. Caddy makes
// that error for statuses above 1 alone; any other error is status 1.
func exitWith(cmd *cobra.Command, status int) error {
	exit := caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return status, nil })
	if err := exit(cmd, nil); err != nil {
		return err
	}
	return errors.New("failed")
}

// sentence returns an error as one line that says what to do.
func sentence(err error) string {
	if refusal, ok := errors.AsType[*client.Error](err); ok && refusal.Code != "" {
		return refusal.Message
	}
	if refusal, ok := errors.AsType[*apikey.Error](err); ok { // of the store of a stopped server
		return refusal.Message
	}
	// The transport's error begins with a method and an address that say less
	// than what follows.
	if transport, ok := errors.AsType[*url.Error](err); ok {
		err = transport.Err
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

// newClient returns a client of the admin endpoint that the flags point at.
func newClient(cmd *cobra.Command, config []byte) (*client.Client, error) {
	flag := func(name string) string { return cmd.Flag(name).Value.String() }
	if flag("address") == "" && adminOff(config) {
		return nil, fmt.Errorf("the admin endpoint is switched off in %s: without it, keys can only be managed through an api_key_admin", flag("config"))
	}
	address, err := caddycmd.DetermineAdminAPIAddress(flag("address"), config, flag("config"), flag("adapter"))
	if err != nil {
		return nil, fmt.Errorf("finding the admin endpoint: %w", err)
	}
	endpoint, err := caddy.ParseNetworkAddress(address)
	if strings.HasPrefix(address, "/") || strings.Contains(address, "://") || err != nil || endpoint.PortRangeSize() > 1 {
		return nil, usagef("--address %q: write host:port, or unix//path of a socket", address)
	}
	return clientFor(address, endpoint), nil
}

// adminOff reports whether a configuration has no admin endpoint.
func adminOff(config []byte) bool {
	var parsed struct {
		Admin struct {
			Disabled bool `json:"disabled"`
		} `json:"admin"`
	}
	return json.Unmarshal(config, &parsed) == nil && parsed.Admin.Disabled
}

// onStdin is the name of standard input, in place of a file's.
const onStdin = "-"

// readConfig returns a configuration as JSON, or nil if none is named. Caddy's
// own way to read one also logs that it did.
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

// stdin returns standard input for what a command reads, unless its configuration
// was read from there.
func stdin(cmd *cobra.Command) (io.Reader, error) {
	if cmd.Flag("config").Value.String() == onStdin {
		return nil, usagef("standard input is read once: --config - has it already")
	}
	return cmd.InOrStdin(), nil
}

func clientFor(address string, endpoint caddy.NetworkAddress) *client.Client {
	origin := "http://" + endpoint.JoinHostPort(0)
	if endpoint.IsUnixNetwork() {
		// The path may be followed by the permissions that the server gives the
		// socket. The host in the origin is only a form.
		endpoint.Host, _, _ = strings.Cut(endpoint.Host, "|")
		origin = "http://127.0.0.1"
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, endpoint.Network, endpoint.JoinHostPort(0))
		switch {
		case err == nil:
			return conn, nil
		case errors.Is(err, fs.ErrPermission):
			return nil, fmt.Errorf("you may not open the admin endpoint %s: become a member of its group, or its owner (%w)", address, err)
		case endpoint.IsUnixNetwork() && errors.Is(err, syscall.ECONNREFUSED):
			return nil, fmt.Errorf("nobody listens at the admin endpoint %s any more: another start may have replaced it. Restart the server (%w)", address, err)
		}
		return nil, fmt.Errorf("no server answers at the admin endpoint %s: is it running? --address or --config say where it is (%w)", address, err)
	}
	var transport http.RoundTripper = &http.Transport{DialContext: dial}
	if !endpoint.IsUnixNetwork() { // where Caddy takes any origin for a browser's
		transport = ownOrigin{transport, origin}
	}
	return &client.Client{BaseURL: origin + client.EndpointPath, HTTP: &http.Client{Transport: transport, Timeout: client.DefaultTimeout}}
}

// ownOrigin sends the endpoint's own origin along, as caddy reload does: with
// enforce_origin in its configuration, the endpoint wants to see one.
type ownOrigin struct {
	http.RoundTripper
	origin string
}

// RoundTrip sends a request with the origin.
func (t ownOrigin) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Origin", t.origin)
	return t.RoundTripper.RoundTrip(r)
}

// parameters of a command that more than one takes.

func workspaceFlag(cmd *cobra.Command) { cmd.Flags().StringP("workspace", "w", "", "Workspace id") }

func requiredWorkspace(cmd *cobra.Command) (string, error) {
	ws, _ := cmd.Flags().GetString("workspace")
	if ws == "" {
		return "", usagef("--workspace WORKSPACE is missing")
	}
	return ws, nil
}

// workspaceAndKey returns what a command about one key needs.
func workspaceAndKey(cmd *cobra.Command, args []string) (ws, id string, err error) {
	if ws, err = requiredWorkspace(cmd); err != nil {
		return "", "", err
	}
	if len(args) != 1 {
		return "", "", usagef("one KEY_ID is wanted")
	}
	return ws, args[0], refuseToken(args[0])
}
