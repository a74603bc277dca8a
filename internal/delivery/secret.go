package delivery

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const (
	secretPrefix = "whsec_"
	// minSecret is how many bytes Standard Webhooks requires of a secret.
	minSecret = 24
)

// Secret is what messages to a receiver are signed with. It redacts itself wherever it is
// printed.
type Secret struct{ signer *standardwebhooks.Webhook }

// ParseSecret reads a secret in the form of Standard Webhooks: whsec_, and at least 24 bytes
// in base64. Its error does not contain them.
func ParseSecret(text string) (Secret, error) {
	encoded, found := strings.CutPrefix(text, secretPrefix)
	secret, err := base64.StdEncoding.DecodeString(encoded)
	switch {
	case !found || err != nil:
		return Secret{}, errors.New(`a webhook secret is whsec_ and base64: make one with echo "whsec_$(openssl rand -base64 32)"`)
	case len(secret) < minSecret:
		return Secret{}, fmt.Errorf(`a webhook secret has at least %d bytes after whsec_, before base64, and this one has %d: make one with echo "whsec_$(openssl rand -base64 32)"`, minSecret, len(secret))
	}
	signer, err := standardwebhooks.NewWebhookRaw(secret)
	return Secret{signer}, err
}

// Format never reveals the secret, whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "(secret)") }

// MarshalText never reveals the secret.
func (Secret) MarshalText() ([]byte, error) { return []byte("(secret)"), nil }

// sign returns the header webhook-signature of a message: a signature for each secret, so
// that a receiver can go from one to the other at any time.
func sign(secrets []Secret, id string, at time.Time, body []byte) (string, error) {
	signatures := make([]string, len(secrets))
	for i, secret := range secrets {
		var err error
		if signatures[i], err = secret.signer.Sign(id, at, body); err != nil {
			return "", err
		}
	}
	return strings.Join(signatures, " "), nil
}
