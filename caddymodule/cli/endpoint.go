package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// newClient returns a client of the admin endpoint that the flags point at.
func newClient(cmd *cobra.Command, config []byte) (*client.Client, error) {
	flag := func(name string) string { return cmd.Flag(name).Value.String() }
	given, from := setting(cmd, "address", addressVariable)
	if from == addressVariable && flag("config") != "" {
		given = "" // what was typed is nearer
	}
	if given == "" && flag("config") == "" && installed(installedSocket, installedConfig) {
		given = "unix/" + installedSocket
	}
	if given == "" && adminOff(config) {
		return nil, fmt.Errorf("the admin endpoint is switched off in %s: without it, keys can only be managed through an api_key_admin", flag("config"))
	}
	address, err := caddycmd.DetermineAdminAPIAddress(given, config, flag("config"), flag("adapter"))
	if err != nil {
		return nil, fmt.Errorf("finding the admin endpoint: %w", err)
	}
	if scheme, rest, ok := strings.Cut(address, "://"); ok && (scheme == "http" || scheme == "https") {
		host, path, _ := strings.Cut(rest, "/")
		if path != "" {
			return nil, usagef("%s %q: this is a URL, perhaps that of an api_key_admin. The command line uses Caddy's admin endpoint, such as %s", from, address, caddy.DefaultAdminListen)
		}
		return nil, usagef("%s %q: write host:port, such as %s", from, address, host)
	}
	endpoint, err := caddy.ParseNetworkAddressWithDefaults(address, "tcp", defaultPort)
	if err != nil || !dialable(endpoint) || strings.Contains(address, "://") {
		return nil, usagef("%s %q: write host:port, or unix//path of a socket", from, address)
	}
	return clientFor(address, endpoint), nil
}

// The admin endpoint and the configuration of a gateway that was installed as
// docs/install.md says. The commands find the endpoint by themselves. While the gateway is
// stopped there is none: then they fail, and do not try Caddy's default address, where any
// user of the machine could listen and be sent tokens.
const (
	installedSocket = "/run/caddy-api-keys/admin.sock"
	installedConfig = "/etc/caddy-api-keys/Caddyfile" // other files may be there without a gateway
)

// installed reports whether one of the paths of a gateway exists, or may: others than its
// group cannot see its socket or its Caddyfile, and are told so when they open the socket.
func installed(paths ...string) bool {
	return slices.ContainsFunc(paths, func(path string) bool {
		_, err := os.Stat(path)
		return !errors.Is(err, fs.ErrNotExist)
	})
}

// defaultPort is that of Caddy's admin endpoint.
const defaultPort = 2019

// dialable reports whether an address is one that a client can connect to.
func dialable(endpoint caddy.NetworkAddress) bool {
	return endpoint.Network == "unix" || strings.HasPrefix(endpoint.Network, "tcp") && endpoint.PortRangeSize() == 1 && !strings.Contains(endpoint.Host, "/")
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

func clientFor(address string, endpoint caddy.NetworkAddress) *client.Client {
	origin := "http://" + endpoint.JoinHostPort(0)
	if endpoint.IsUnixNetwork() {
		// The path may be followed by the socket's permissions. The host in the origin
		// is a placeholder.
		endpoint.Host, _, _ = strings.Cut(endpoint.Host, "|")
		origin = "http://127.0.0.1"
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, endpoint.Network, endpoint.JoinHostPort(0))
		if err != nil {
			return nil, unreachable(address, endpoint, err)
		}
		return conn, nil
	}
	var transport http.RoundTripper = &http.Transport{DialContext: dial}
	if !endpoint.IsUnixNetwork() { // on which Caddy takes every origin for a browser's
		transport = ownOrigin{transport, origin}
	}
	return &client.Client{BaseURL: origin + client.EndpointPath, HTTP: &http.Client{Transport: transport, Timeout: client.DefaultTimeout}}
}

// unreachable explains why an admin endpoint could not be connected to.
func unreachable(address string, endpoint caddy.NetworkAddress, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("permission to open the admin endpoint %s was denied: run this as its owner, or as a member of its group (%w)", address, err)
	case endpoint.Host == installedSocket && errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the gateway is not running: start it with systemctl start caddy-api-keys, or say with --address where another server's admin endpoint is (%w)", err)
	case endpoint.IsUnixNetwork() && errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing listens on the admin endpoint %s any more: another server may have replaced its socket. Restart the server (%w)", address, err)
	}
	return fmt.Errorf("no server answers at the admin endpoint %s: is it running? --address or --config say where it is (%w)", address, err)
}

// ownOrigin adds the endpoint's own origin to requests, as caddy reload does: an
// endpoint with enforce_origin requires one.
type ownOrigin struct {
	http.RoundTripper
	origin string
}

// RoundTrip adds the origin to a request and sends it.
func (t ownOrigin) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Origin", t.origin)
	return t.RoundTripper.RoundTrip(r)
}
