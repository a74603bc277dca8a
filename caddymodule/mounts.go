package caddymodule

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/admin"
	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// adminEndpoint serves the admin API on Caddy's own admin endpoint, which decides who
// may reach it.
type adminEndpoint struct{}

// CaddyModule returns the Caddy module information.
func (adminEndpoint) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.api_keys", New: func() caddy.Module { return new(adminEndpoint) }}
}

// Provision registers the metrics of a configuration before any app does. A
// configuration that is rejected later has already replaced the admin endpoint, whose
// /metrics shows this registry from then on.
//
// It also refuses to start next to a server with the same store. Caddy calls it before it
// takes the address of the admin endpoint: once it has taken a Unix socket, the other
// server's endpoint is lost, and on a TCP port each of the two gets some of the
// connections.
func (adminEndpoint) Provision(ctx caddy.Context) error {
	if err := collectors.Register(ctx.GetMetricsRegistry()); err != nil {
		return err
	}
	app, err := ctx.AppIfConfigured(appName)
	if errors.Is(err, caddy.ErrNotConfigured) {
		return refuseImplied(ctx)
	}
	if err != nil {
		return nil // Caddy will say so
	}
	return refuseLocked(app.(*App).path)
}

// refuseImplied is refuseLocked for a configuration that uses the app without configuring
// it. Its handlers load the app, after the admin endpoint was replaced: they are loaded
// before if another server has the store that the app would use.
func refuseImplied(ctx caddy.Context) error {
	path, err := realPath(defaultStorePath())
	if err != nil || refuseLocked(path) == nil {
		return nil // the app will say so
	}
	if _, err := ctx.AppIfConfigured("http"); err != nil {
		if errors.Is(err, caddy.ErrNotConfigured) {
			return nil
		}
		return err
	}
	if _, err := ctx.AppIfConfigured(appName); err != nil {
		return nil // no handler uses it
	}
	return refuseLocked(path)
}

// refuseLocked returns an error if another process has the store at path open.
func refuseLocked(path string) error {
	if opened(path) != nil {
		return nil // by this process
	}
	if err := store.Locked(path); err != nil {
		return fmt.Errorf("%w. If it is the server, it is not affected: apply a changed configuration with caddy reload", err)
	}
	return nil
}

// Routes returns the one route of the API.
func (adminEndpoint) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: client.EndpointPath + "/", Handler: caddy.AdminHandlerFunc(serveEndpoint)}}
}

func serveEndpoint(w http.ResponseWriter, r *http.Request) error {
	api := withoutApp
	if app := runningApp(); app != nil {
		api = app.endpoint
	}
	api.ServeHTTP(w, withoutPrefix(r, client.EndpointPath))
	return nil
}

// withoutApp answers while the configuration does not use API keys.
var withoutApp = newAPI(admin.Config{
	Keys:  func() admin.Keys { return nil },
	Clock: machineClock,
	Actor: func(*http.Request) string { return endpointActor },
	Log:   zap.NewNop(),
	Idle:  true,
})

// machineClock reads the machine's clock, if there is no store to compare it with.
func machineClock() apikey.ClockReading {
	now := time.Now()
	return apikey.ClockReading{Machine: now, Confirmed: now, Judged: now}
}

// Actors in the audit trail besides [apikey.CommandLine]: callers of Caddy's admin
// endpoint, and the gateway itself.
const (
	endpointActor = "admin_endpoint"
	gatewayActor  = "gateway"
)

// newAPI adds what all mounts have in common to a configuration.
func newAPI(config admin.Config) *admin.Handler {
	config.RemoteIP = remoteIP
	config.Observe = collectors.CountOperation
	return admin.New(config)
}

// remoteIP returns the address that a request comes from: the client's if the site
// trusts the proxy in front of it, otherwise the peer's.
func remoteIP(r *http.Request) string {
	if _, vars := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any); vars {
		if ip, ok := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string); ok {
			return ip
		}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return host
}

// withoutPrefix returns r with a path relative to a prefix. A path that has the prefix
// percent-encoded is left as it is, and so matches no call: otherwise, an encoded slash
// after the prefix would become a separator.
func withoutPrefix(r *http.Request, prefix string) *http.Request {
	below := r.Clone(r.Context())
	if raw, ok := strings.CutPrefix(r.URL.RawPath, prefix); ok || r.URL.RawPath == "" {
		below.URL.Path, below.URL.RawPath = strings.TrimPrefix(r.URL.Path, prefix), raw
	}
	return below
}

// Interface guards
var (
	_ caddy.Provisioner = (*adminEndpoint)(nil)
	_ caddy.AdminRouter = (*adminEndpoint)(nil)
)
