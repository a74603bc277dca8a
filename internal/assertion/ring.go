package assertion

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/go-jose/go-jose/v4"

	"github.com/agiled/caddy-api-keys/identity"
)

// Ring is the signing keys of a gateway: the one that signs, the next one, and those that
// have signed until lately. It never changes, and is safe for concurrent use. It contains
// secrets, which none of its methods return, and which formatting it does not show.
type Ring struct {
	id     string // of the key that signs
	signer jose.Signer
	set    []byte // the public keys, as a JWK set
	tag    string
}

// Open returns the signing keys that [Renew] has recorded. Its errors contain no secret.
func Open(recorded []byte, secrets Secrets) (*Ring, error) {
	r, err := decode(recorded)
	if err != nil {
		return nil, err
	}
	ring := new(Ring)
	var set jose.JSONWebKeySet
	for _, key := range r.Keys {
		set.Keys = append(set.Keys, publicKey(key.ID, key.Public))
		if key.State == previous {
			continue
		}
		private, _, err := key.private(secrets)
		if err != nil {
			return nil, err
		}
		if key.State != current {
			continue
		}
		ring.id = key.ID
		if ring.signer, err = newSigner(key.ID, private); err != nil {
			return nil, err
		}
	}
	if ring.signer == nil {
		return nil, errors.New("no signing key is the current one: the record is damaged")
	}
	if ring.set, err = json.Marshal(set); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(ring.set)
	ring.tag = `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
	return ring, nil
}

func publicKey(id string, key ed25519.PublicKey) jose.JSONWebKey {
	return jose.JSONWebKey{Key: key, KeyID: id, Algorithm: string(jose.EdDSA), Use: "sig"}
}

// idOf returns the id of a signing key: its thumbprint (RFC 7638), which no other key has.
func idOf(key ed25519.PublicKey) (string, error) {
	jwk := jose.JSONWebKey{Key: key}
	print, err := jwk.Thumbprint(crypto.SHA256)
	return base64.RawURLEncoding.EncodeToString(print), err
}

func newSigner(id string, key ed25519.PrivateKey) (jose.Signer, error) {
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: key, KeyID: id}},
		new(jose.SignerOptions).WithType(identity.TokenType),
	)
	if err != nil {
		return nil, fmt.Errorf("using the signing key %s: %w", id, err)
	}
	return signer, nil
}

// sign cannot fail: the key was accepted when the ring was opened, and the claims are
// strings and numbers.
func (r *Ring) sign(claims *identity.Claims) string {
	payload, err := json.Marshal(claims)
	if err == nil {
		var signed *jose.JSONWebSignature
		if signed, err = r.signer.Sign(payload); err == nil {
			var token string
			if token, err = signed.CompactSerialize(); err == nil {
				return token
			}
		}
	}
	panic(fmt.Sprintf("signing an assertion with %s: %v", r.id, err))
}

// PublicKeys returns the public keys as a JWK set (RFC 7517), and its entity tag. Do not
// change what it returns.
func (r *Ring) PublicKeys() (set []byte, tag string) { return r.set, r.tag }

// Format writes the id of the key that signs, whatever the verb.
func (r Ring) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "signing key "+r.id) }
