package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/agiled/caddy-api-keys/internal/leaks"
)

// What happens to a key whose token was found in public.
const (
	revokeLeaked = "revoke"
	notifyOfLeak = "notify"
)

// Leaks takes reports of tokens that were found in public, as GitHub's secret scanning
// partner program sends them. It answers every request that reaches it, and needs no
// credentials: it believes what is signed.
type Leaks struct {
	// The file with the public keys that may sign reports, as GitHub publishes its own at
	// https://api.github.com/meta/public_keys/secret_scanning. May hold placeholders. It
	// is read when the configuration is loaded.
	GitHubKeys string `json:"github_keys,omitempty"`

	// What to do with the key of a reported token: `revoke` it, or only `notify`, which marks
	// it and sends the event `key.leaked`. Default: `revoke`.
	Action string `json:"action,omitempty"`

	handler *leaks.Handler
}

// CaddyModule returns the Caddy module information.
func (Leaks) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.api_key_leaks", New: func() caddy.Module { return new(Leaks) }}
}

// Provision reads the public keys.
func (h *Leaks) Provision(ctx caddy.Context) error {
	setDefault(&h.Action, revokeLeaked)
	if err := errors.Join(h.check(), oneOf("action", h.Action, revokeLeaked, notifyOfLeak)); err != nil {
		return err
	}
	signers, err := readSigners(h.GitHubKeys)
	if err != nil {
		return fmt.Errorf("the github_keys of api_key_leaks: %w", err)
	}
	loaded, err := ctx.App(appName)
	if err != nil {
		return fmt.Errorf("loading the api_keys app: %w", err)
	}
	app := loaded.(*App)
	if err := app.refuseAppendedBodies(ctx, "api_key_leaks"); err != nil {
		return err
	}
	app.reserveDescriptors(ctx)
	h.handler = &leaks.Handler{
		Keys: func() leaks.Keys {
			if i := app.instance(context.Background()); i != nil {
				return i.store
			}
			return nil
		},
		TokenPrefix: app.TokenPrefix, Signers: signers, Revoke: h.Action == revokeLeaked,
		Now:      func() time.Time { return app.readClock().Judged.UTC().Truncate(time.Millisecond) },
		RemoteIP: remoteIP, Log: sampledLogger(),
		Observe: collectors.CountReport,
	}
	return nil
}

var errNoGitHubKeys = errors.New("api_key_leaks needs github_keys, a file with the public keys of those who may report tokens: curl -o github-keys.json https://api.github.com/meta/public_keys/secret_scanning")

func (h *Leaks) check() error {
	if h.GitHubKeys == "" {
		return errNoGitHubKeys
	}
	return nil
}

func readSigners(file string) (leaks.Signers, error) {
	path, err := evaluated(file)
	if err != nil {
		return nil, err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	signers, err := leaks.ParseSigners(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return signers, nil
}

// ServeHTTP answers a report.
func (h *Leaks) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	h.handler.ServeHTTP(w, r)
	return nil
}

// parseLeaks parses the directive api_key_leaks. Syntax:
//
//	api_key_leaks [<matcher>] {
//	    github_keys  <file>
//	    action       revoke|notify
//	}
func parseLeaks(helper httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	d, h := helper.Dispenser, new(Leaks)
	d.Next() // consume the directive's name
	if err := onlyBlock(d); err != nil {
		return nil, err
	}
	start := *d
	err := parseBlock(d, "api_key_leaks", options{
		"github_keys": text(d, &h.GitHubKeys, "<file>", nil),
		"action":      choice(d, &h.Action, revokeLeaked, notifyOfLeak),
	})
	if err != nil {
		return nil, err
	}
	if err := h.check(); err != nil {
		return nil, start.WrapErr(err)
	}
	return h, nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Leaks)(nil)
	_ caddyhttp.MiddlewareHandler = (*Leaks)(nil)
)
