package caddymodule

import (
	"context"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/assertion"
	"github.com/agiled/caddy-api-keys/internal/fleet"
)

// signingFleet is the fleet of an instance, as the admin API needs it.
type signingFleet struct {
	*fleet.Fleet
	instance *instance
}

// Rekey also encrypts the signing keys again, with its last step.
func (f signingFleet) Rekey(ctx context.Context, after string) (apikey.Rekeyed, error) {
	done, err := f.Fleet.Rekey(ctx, after)
	if err != nil || done.Next != "" {
		return done, err
	}
	encrypted, err := f.instance.encryptSigningKeys(ctx)
	if encrypted {
		done.Sealed++
	}
	return done, err
}

// encryptSigningKeys encrypts the signing keys of a fleet with the key that this gateway
// seals with, whether or not it signs assertions itself, and reports whether that was
// necessary.
func (i *instance) encryptSigningKeys(ctx context.Context) (encrypted bool, err error) {
	secrets := i.settings.Load().fleet.secrets()
	err = i.store.RenewSigningKeys(ctx, i.clock.Confirmed(), func(record []byte) (renewed []byte, err error) {
		if record == nil {
			return nil, nil
		}
		var done assertion.Renewed
		renewed, done, err = assertion.Renew(record, assertion.Schedule{Encrypt: true}, secrets)
		encrypted = done.Encrypted
		return renewed, err
	})
	return encrypted && err == nil, err
}

// secrets returns what signing keys are encrypted with in a fleet.
func (o *fleetOptions) secrets() (secrets assertion.Secrets) {
	for _, key := range o.integrityKeys {
		secrets = append(secrets, assertion.NewSecret(key))
	}
	return secrets
}
