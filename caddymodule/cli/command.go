// Package cli is the command `caddy api-keys`, with which operators manage keys. It
// calls the admin API of a running server through package client; backups and checks
// of a stopped server's store are made on the store itself.
package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// Command returns `caddy api-keys …`. It calls the admin endpoint of a running server,
// which it finds as `caddy reload` does.
func Command(mover Mover) caddycmd.Command {
	return caddycmd.Command{
		Name:  "api-keys",
		Short: "Creates, shows and revokes API keys of a running server",
		Long: `
Creates, shows and revokes API keys through the admin endpoint of a running
server. Give its address with --address, or with --config the configuration that
sets it. The default is ` + installedSocket + ` where a gateway is
installed, which ` + installedConfig + ` shows, and elsewhere Caddy's
default address.

The exit status is 0 if it was done, 1 if it was refused or failed, and 2 if
the command was not understood.`,
		CobraFunc: func(cmd *cobra.Command) { addCommands(cmd, mover) },
	}
}

func addCommands(cmd *cobra.Command, mover Mover) {
	cmd.PersistentFlags().String("address", "", "Address of the admin endpoint (default: "+addressVariable+", or that of the configuration)")
	cmd.PersistentFlags().StringP("config", "c", "", "Configuration file that sets the admin endpoint, or - for standard input")
	cmd.PersistentFlags().StringP("adapter", "a", "", "Name of the adapter for the configuration file")
	cmd.PersistentFlags().StringP("output", "o", "", "Output format: table or json, or token for create and rotate (default: "+outputVariable+", or table on a terminal and json otherwise)")
	cmd.AddCommand(
		createCommand(), listCommand(), findCommand(), showCommand(), usageCommand(), renameCommand(), rotateCommand(), revokeCommand(),
		workspacesCommand(), showWorkspaceCommand(), revokeAllCommand(), suspendCommand(), resumeCommand(), suspensionsCommand(), lookupCommand(), auditCommand(), calendarCommand(),
		importCommand(), backupCommand(), restoreCommand(), doctorCommand(), clockCommand(), webhookTestCommand(), fleetCommand(mover), versionCommand(),
	)
	prepareGroup(cmd)
	for _, sub := range cmd.Commands() {
		sub.Args = cobra.ArbitraryArgs
	}
	completeAll(cmd)
}

// prepareGroup sets the function of a command that only has others.
func prepareGroup(cmd *cobra.Command) {
	cmd.Args = cobra.ArbitraryArgs
	prepare(cmd, func(_ context.Context, _ *terminal, args []string) error {
		if len(args) > 0 && args[0] == "help" {
			return help(cmd, args[1:])
		}
		return noCommand(cmd, args)
	})
	cmd.Flags().VarPF(helpFlag{}, "help", "h", "help for "+cmd.Name()).NoOptDefVal = "true"
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if args := cmd.Flags().Args(); len(args) > 0 { // the flag would be that of a command
			return finish(cmd, noCommand(cmd, args))
		}
		if errors.Is(err, errHelp) {
			return cmd.Help()
		}
		return finish(cmd, flagError(cmd, err))
	})
}

// helpFlag is --help of a command that only has others. It fails when it is set, so that
// whether there is such a command is seen before Cobra prints the help, and exits with 0.
type helpFlag struct{}

var errHelp = errors.New("help was asked for")

func (helpFlag) Set(string) error { return errHelp }
func (helpFlag) String() string   { return "false" }
func (helpFlag) Type() string     { return "bool" }

// help prints the help of a command.
func help(cmd *cobra.Command, args []string) error {
	about, unknown, _ := cmd.Find(args)
	if len(unknown) > 0 {
		return noCommand(cmd, unknown)
	}
	return about.Help()
}

// noCommand returns an error about an unknown command, with the nearest known ones.
func noCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usagef("which command?")
	}
	cmd.SuggestionsMinimumDistance = suggestionDistance
	if near := slices.Compact(cmd.SuggestionsFor(args[0])); len(near) > 0 {
		return usagef("there is no command %q: did you mean %s?", args[0], strings.Join(near, " or "))
	}
	return usagef("there is no command %q", args[0])
}

// prepare sets the function of a command. Errors are printed on one line, and the exit
// status distinguishes wrong usage from failure.
func prepare(cmd *cobra.Command, run func(context.Context, *terminal, []string) error) *cobra.Command {
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return finish(cmd, flagError(cmd, err)) })
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		t, err := newTerminal(cmd)
		if err == nil {
			t.client, err = newClient(cmd, t.config)
		}
		if err != nil {
			return finish(cmd, err)
		}
		return finish(cmd, run(cmd.Context(), t, args))
	}
	return cmd
}

// prepareOffline is prepare for a command that asks no server, so that its configuration
// may have no admin endpoint.
func prepareOffline(cmd *cobra.Command, run func(context.Context, *terminal, []string) error) *cobra.Command {
	prepare(cmd, nil)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		t, err := newTerminal(cmd)
		if err != nil {
			return finish(cmd, err)
		}
		return finish(cmd, run(cmd.Context(), t, args))
	}
	return cmd
}

// usageError is an error in how a command was called.
type usageError string

func (e usageError) Error() string { return string(e) }

func usagef(format string, args ...any) error { return usageError(fmt.Sprintf(format, args...)) }

// finish prints an error, and returns the error that makes Caddy exit with its status.
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

// exitWith returns an error that makes Caddy exit with a status. Caddy creates one only
// for a status above 1; any other error is status 1.
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
	if refusal, ok := errors.AsType[*apikey.Error](err); ok { // from the store of a stopped server
		return refusal.Message
	}
	// The transport's error begins with a method and an address that help nobody.
	if transport, ok := errors.AsType[*url.Error](err); ok {
		err = transport.Err
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}
