package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-json-experiment/json"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// configFindings returns what is unsafe in a configuration.
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
			Message: fmt.Sprintf("The server %q writes credentials, including whole tokens, to its access log.", name),
			Advice:  "Remove log_credentials, and revoke the keys that are in the log.",
		})
	}
	listen := cmp.Or(parsed.Admin.Listen, caddy.DefaultAdminListen)
	if reach := reachable(listen); reach != "" && !parsed.Admin.Disabled {
		found = append(found, client.Finding{Check: check, Severity: client.SeverityWarning,
			Message: "The admin endpoint listens on " + listen + ", " + reach + ": anybody who can connect can create keys.",
			Advice:  "Let it listen on a Unix socket that only its owner can open.",
		})
	}
	if parsed.Apps.HTTP.GracePeriod == 0 {
		found = append(found, client.Finding{Check: check, Severity: client.SeverityWarning,
			Message: "There is no grace_period: a stop waits for the last request, however long that takes.",
			Advice:  "Set grace_period in the global options, for instance to 30s.",
		})
	}
	if len(found) == 0 {
		found = append(found, client.Finding{Check: check, Severity: client.SeverityOK, Message: "Nothing in the configuration is known to be unsafe."})
	}
	return found
}

// safetyConfig is the part of a configuration that configFindings checks.
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

// reachable says who else can connect to an admin endpoint, and is empty if nobody can.
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
		Message: "The configuration has its store in " + named + ": the findings above are not about the store that its server uses.",
		Advice:  "Check that one too, with --store " + named + ".",
	}}
}

// sameDirectory reports whether two paths lead to the same directory.
func sameDirectory(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// runningConfig returns the configuration of the running server.
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
