package caddymodule

import (
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// Validate refuses invalid values.
func (a *App) Validate() error {
	var errs []error
	if err := a.Store.check(); err != nil {
		errs = append(errs, err)
	}
	if err := apikey.ValidatePrefix(a.TokenPrefix); err != nil {
		errs = append(errs, err)
	}
	for _, option := range []struct {
		name  string
		value caddy.Duration
	}{
		{"expires_in", a.ExpiresIn}, {"audit_retention", a.AuditRetention}, {"last_used_resolution", a.LastUsedResolution},
	} {
		if option.value < 0 {
			errs = append(errs, fmt.Errorf("%s must be more than zero", option.name))
		}
	}
	if err := oneOf("vague_names", a.VagueNames, refuse, allow); err != nil {
		errs = append(errs, err)
	}
	if err := oneOf("foreign_tokens", a.ForeignTokens, refuse, accept); err != nil {
		errs = append(errs, err)
	}
	if a.MaxActiveKeys < 1 {
		errs = append(errs, errors.New("max_active_keys must be 1 or more"))
	}
	if err := a.MaxChanges.validate(); err != nil {
		errs = append(errs, fmt.Errorf("max_changes: %w", err))
	}
	return errors.Join(errs...)
}
