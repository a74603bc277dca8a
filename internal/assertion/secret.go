package assertion

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// Secret is what the seeds of signing keys are encrypted with. It redacts itself wherever
// it is printed.
type Secret struct{ key [32]byte }

// NewSecret derives a secret from another one, which may have other uses.
func NewSecret(from [32]byte) Secret {
	key, err := hkdf.Key(sha256.New, from[:], nil, "caddy-api-keys signing keys", 32)
	if err != nil {
		panic(err) // only for far longer keys
	}
	return Secret{[32]byte(key)}
}

// ParseSecret reads a secret from 64 hexadecimal digits. Its error does not contain them.
func ParseSecret(digits string) (Secret, error) {
	from, err := hex.DecodeString(digits)
	if err != nil || len(from) != 32 {
		return Secret{}, errors.New("an encryption key is 64 hexadecimal digits: make one with openssl rand -hex 32")
	}
	return NewSecret([32]byte(from)), nil
}

// Format never reveals the secret, whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "(secret)") }

// MarshalText never reveals the secret.
func (Secret) MarshalText() ([]byte, error) { return []byte("(secret)"), nil }

// Secrets are those that seeds may be encrypted with. The first one encrypts.
type Secrets []Secret

// ErrSecret is why signing keys cannot be used: none of the given secrets is the one that
// they are encrypted with.
var ErrSecret = errors.New("the signing keys are encrypted with another key")

// aead encrypts with a random nonce of 96 bits, which is safe for far more seeds than a
// gateway ever makes.
func (s Secret) aead() cipher.AEAD {
	block, err := aes.NewCipher(s.key[:])
	if err == nil {
		var aead cipher.AEAD
		if aead, err = cipher.NewGCMWithRandomNonce(block); err == nil {
			return aead
		}
	}
	panic(err) // only for keys of another length
}

// keep sets the seed of a key, encrypted if there is a secret.
func (k *storedKey) keep(seed []byte, secrets Secrets) {
	if len(secrets) == 0 {
		k.Seed = seed
		return
	}
	k.Seed, k.EncryptedSeed = nil, secrets[0].aead().Seal(nil, nil, seed, []byte(k.ID))
}

// private returns the private key, and which of the secrets its seed is encrypted with: -1
// if it is not.
func (k *storedKey) private(secrets Secrets) (key ed25519.PrivateKey, with int, err error) {
	seed, with := k.Seed, -1
	if k.EncryptedSeed != nil {
		if seed, with = k.decrypt(secrets); seed == nil {
			return nil, 0, ErrSecret
		}
	}
	if len(seed) != ed25519.SeedSize {
		return nil, 0, errDamaged
	}
	key = ed25519.NewKeyFromSeed(seed)
	if !bytes.Equal(key.Public().(ed25519.PublicKey), k.Public) {
		return nil, 0, errDamaged
	}
	return key, with, nil
}

func (k *storedKey) decrypt(secrets Secrets) (seed []byte, with int) {
	for i, secret := range secrets {
		if seed, err := secret.aead().Open(nil, nil, k.EncryptedSeed, []byte(k.ID)); err == nil {
			return seed, i
		}
	}
	return nil, 0
}

// encrypt encrypts the seed with the first of the secrets, unless it is already, and
// reports whether that was necessary.
func (k *storedKey) encrypt(secrets Secrets) (bool, error) {
	if k.State == previous {
		return false, nil
	}
	private, with, err := k.private(secrets)
	if err != nil || with == 0 || len(secrets) == 0 {
		return false, err
	}
	k.keep(private.Seed(), secrets)
	return true, nil
}
