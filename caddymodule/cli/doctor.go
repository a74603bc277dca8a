package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-json-experiment/json"
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

// elsewhere warns if a configuration names another store than the one at a path.
func elsewhere(config []byte, path string) []client.Finding {
	var parsed struct {
		Apps struct {
			Keys struct {
				Store struct {
					Path string `json:"path"`
				} `json:"store"`
			} `json:"api_keys"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(config, &parsed); err != nil || parsed.Apps.Keys.Store.Path == "" {
		return nil
	}
	named, err := filepath.Abs(caddy.NewReplacer().ReplaceKnown(parsed.Apps.Keys.Store.Path, ""))
	if err != nil || sameDirectory(named, path) {
		return nil
	}
	return []client.Finding{{Check: "config", Severity: client.SeverityWarning,
		Message: "The configuration has its store in " + named + ": what was found above is not of the store that its server uses.",
		Advice:  "Check that one too, with --store " + named + ".",
	}}
}

// sameDirectory reports whether two paths lead to one directory. One that does not
// exist is not the one that was examined.
func sameDirectory(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// runningConfig returns the configuration that the server has.
func runningConfig(ctx context.Context, c *client.Client) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.BaseURL, client.EndpointPath)+"/config/", nil)
	if err != nil {
		return nil, err
	}
	response, err := c.HTTP.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the admin endpoint answers with status %d", response.StatusCode)
	}
	return io.ReadAll(response.Body)
}

// configFindings says what in a configuration is not safe.
func configFindings(config []byte, err error) []client.Finding {
	const check = "config"
	var parsed safetyConfig
	if err == nil {
		err = json.Unmarshal(config, &parsed)
	}
	if err != nil {
		return []client.Finding{{Check: check, Severity: client.SeverityWarning, Message: fmt.Sprintf("The configuration cannot be read: %v.", err)}}
	}
	var found []client.Finding
	for _, name := range parsed.loggingCredentials() {
		found = append(found, client.Finding{Check: check, Severity: client.SeverityError,
			Message: fmt.Sprintf("The server %q writes credentials, whole tokens among them, into its access log.", name),
			Advice:  "Remove log_credentials, and revoke the keys that are in the log.",
		})
	}
	listen := cmp.Or(parsed.Admin.Listen, caddy.DefaultAdminListen)
	if reach := reachable(listen); reach != "" && !parsed.Admin.Disabled {
		found = append(found, client.Finding{Check: check, Severity: client.SeverityWarning,
			Message: "The admin endpoint listens on " + listen + ", " + reach + ": whoever can connect can make keys.",
			Advice:  "Let it listen on a unix socket that its owner alone may open.",
		})
	}
	if parsed.Apps.HTTP.GracePeriod == 0 {
		found = append(found, client.Finding{Check: check, Severity: client.SeverityWarning,
			Message: "There is no grace_period: a stop waits for the last request, however long that takes.",
			Advice:  "Set grace_period, 30s for instance, in the global options.",
		})
	}
	if len(found) == 0 {
		found = append(found, client.Finding{Check: check, Severity: client.SeverityOK, Message: "Nothing in the configuration is known to be unsafe."})
	}
	return found
}

// safetyConfig is the part of a configuration that is looked at.
type safetyConfig struct {
	Admin struct {
		Disabled bool   `json:"disabled"`
		Listen   string `json:"listen"`
	} `json:"admin"`
	Apps struct {
		HTTP struct {
			GracePeriod caddy.Duration `json:"grace_period"`
			Servers     map[string]struct {
				Logs struct {
					ShouldLogCredentials bool `json:"should_log_credentials"`
				} `json:"logs"`
			} `json:"servers"`
		} `json:"http"`
	} `json:"apps"`
}

func (c *safetyConfig) loggingCredentials() (names []string) {
	for name, server := range c.Apps.HTTP.Servers {
		if server.Logs.ShouldLogCredentials {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// reachable says who else can connect to an address of the admin endpoint, or "".
func reachable(listen string) string {
	address, err := caddy.ParseNetworkAddress(listen)
	switch {
	case err != nil:
		return ""
	case address.IsUnixNetwork():
		_, mode, _ := strings.Cut(address.Host, "|")
		if mode != "" && strings.ContainsAny(mode[len(mode)-1:], "2367") {
			return "a socket that every user may open"
		}
		return ""
	case address.IsFdNetwork():
		return ""
	case address.Host == "localhost" || net.ParseIP(address.Host).IsLoopback():
		return "which every user of this machine may reach"
	}
	return "which other machines may reach"
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
