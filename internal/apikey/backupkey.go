package apikey

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
)

// minBackupKey is the minimum length of a backup key, in bytes.
const minBackupKey = 32

// BackupKey is the secret with which a gateway signs its backups and verifies
// them. The zero BackupKey means that there is none. Like [Token] it redacts itself wherever it is
// printed.
type BackupKey struct{ secret string }

// ParseBackupKey reads a key from its hexadecimal digits. Its errors do not quote
// them.
func ParseBackupKey(digits string) (BackupKey, error) {
	secret, err := hex.DecodeString(digits)
	if err != nil || len(secret) < minBackupKey {
		return BackupKey{}, errors.New("a backup key is 64 hexadecimal digits or more: make one with openssl rand -hex 32")
	}
	return BackupKey{string(secret)}, nil
}

// IsZero reports whether there is no key.
func (k BackupKey) IsZero() bool { return k.secret == "" }

// MAC returns an HMAC-SHA-256 of what is written to it.
func (k BackupKey) MAC() hash.Hash { return hmac.New(sha256.New, []byte(k.secret)) }

// Format never reveals the key, whatever the verb.
func (k BackupKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "(backup key)") }

// MarshalText never reveals the key.
func (k BackupKey) MarshalText() ([]byte, error) { return []byte("(backup key)"), nil }
