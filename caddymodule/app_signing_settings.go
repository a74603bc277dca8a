package caddymodule

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/agiled/caddy-api-keys/internal/assertion"
)

const (
	defaultRotateEvery = 30 * 24 * time.Hour
	minRotateEvery     = time.Minute
	maxRotateEvery     = 400 * 24 * time.Hour

	maxEncryptionKeys = 2 // the new one and the old one, during a rotation
)

// signingSettings are what the keys need that sign assertions.
type signingSettings struct {
	every   time.Duration
	secrets assertion.Secrets
}

// needSigning is called by each handler that signs assertions, with how often its keys are
// to be rotated, 0 for the default. All of them sign with the same keys.
func (a *App) needSigning(every time.Duration) error {
	if a.signing == nil {
		a.signing = new(signingSettings)
	}
	if every == 0 {
		return nil
	}
	if a.signing.every != 0 && a.signing.every != every {
		return fmt.Errorf("rotate_every is %s here and %s in another api_key_auth: all sign with the same keys, so write the same in both, or in one of them only", every, a.signing.every)
	}
	a.signing.every = every
	return nil
}

// signingSettings returns the settings of the signing keys, nil if no handler needs any.
func (a *App) signingSettings() *signingSettings {
	if a.signing == nil {
		return nil
	}
	s := *a.signing
	setDefault(&s.every, defaultRotateEvery)
	s.secrets = a.encryptionKeys
	if a.fleet != nil {
		s.secrets = a.fleet.secrets()
	}
	return &s
}

// readEncryptionKeys reads the secrets that signing keys are encrypted with, if any.
func (a *App) readEncryptionKeys() error {
	if len(a.EncryptionKeys) > 0 && a.fleet != nil {
		return errors.New("remove it: in a store in etcd, signing keys are encrypted with the integrity_key")
	}
	if len(a.EncryptionKeys) > maxEncryptionKeys {
		return errors.New("write one secret, or the new one and the old one")
	}
	for _, written := range a.EncryptionKeys {
		digits, err := evaluated(written)
		if err != nil {
			return err
		}
		secret, err := assertion.ParseSecret(strings.TrimSpace(digits))
		if err != nil {
			return err
		}
		a.encryptionKeys = append(a.encryptionKeys, secret)
	}
	return nil
}
