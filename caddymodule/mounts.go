package caddymodule

import (
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
)

// adminEndpoint serves the admin API on Caddy's own admin endpoint, which says
// itself who may reach it.
type adminEndpoint struct{}

// CaddyModule returns the Caddy module information.
func (adminEndpoint) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.api_keys", New: func() caddy.Module { return new(adminEndpoint) }}
}

// Provision adds the metrics to the registry of a configuration before any app
// does. A configuration that is rejected has already replaced the admin
// endpoint, and its /metrics shows this registry from then on.
func (adminEndpoint) Provision(ctx caddy.Context) error {
	return collectors.Register(ctx.GetMetricsRegistry())
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

// withoutApp answers where no configuration uses keys.
var withoutApp = newAPI(admin.Config{
	Keys:  func() admin.Keys { return nil },
	Clock: machineClock,
	Actor: func(*http.Request) string { return endpointActor },
	Log:   zap.NewNop(),
	Idle:  true,
})

// machineClock tells the machine's time where there is no store that knows better.
func machineClock() apikey.ClockReading {
	now := time.Now()
	return apikey.ClockReading{Machine: now, Confirmed: now, Judged: now}
}

// Who the audit trail says made a change, besides [apikey.CommandLine]: whoever
// reached Caddy's endpoint, or the gateway by itself.
const (
	endpointActor = "admin_endpoint"
	gatewayActor  = "gateway"
)

// newAPI completes a configuration with what all mounts have in common.
func newAPI(config admin.Config) *admin.Handler {
	config.RemoteIP = remoteIP
	config.Observe = collectors.CountOperation
	return admin.New(config)
}

// remoteIP returns the address that a request comes from: the client's, where
// the site trusts a proxy before it to tell, and the peer's elsewhere.
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

// withoutPrefix returns r as seen from below a prefix of its path. A path that
// spells the prefix with percent-encoding stays as it is, and so names no call:
// without it, an encoded slash further on would become one that separates.
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
