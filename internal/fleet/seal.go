package fleet

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// A sealed value is, in this order: the format's version in one byte, the first four
// bytes of the SHA-256 of the integrity key, an HMAC-SHA-256, the number of the change
// that wrote the value in eight bytes, and the value itself.
const (
	sealVersion = 1
	keyIDSize   = 4
	sealSize    = 1 + keyIDSize + sha256.Size + 8
)

// IntegrityKey is a secret that the values of a fleet are sealed with.
type IntegrityKey [32]byte

// keyring seals values with its first key, and opens values that any of its keys sealed.
// Without keys, a seal proves only that a value is undamaged.
type keyring []IntegrityKey

func (k IntegrityKey) id() [keyIDSize]byte {
	sum := sha256.Sum256(k[:])
	return [keyIDSize]byte(sum[:])
}

func (k keyring) sealing() IntegrityKey {
	if len(k) == 0 {
		return IntegrityKey{}
	}
	return k[0]
}

// seal seals the value that a change writes to a key of etcd.
func (k keyring) seal(name string, seq uint64, value []byte) []byte {
	key := k.sealing()
	id := key.id()
	sealed := make([]byte, 0, sealSize+len(value))
	sealed = append(sealed, sealVersion)
	sealed = append(sealed, id[:]...)
	sealed = append(sealed, key.mac(name, seq, value)...)
	sealed = binary.BigEndian.AppendUint64(sealed, seq)
	return append(sealed, value...)
}

// open returns the value that was sealed for a key of etcd, and the number of the change
// that wrote it.
func (k keyring) open(name string, sealed []byte) (value []byte, seq uint64, err error) {
	if len(sealed) < sealSize {
		return nil, 0, fmt.Errorf("%s: %w", name, errUnsealed)
	}
	if sealed[0] != sealVersion {
		return nil, 0, fmt.Errorf("%s has the format %d, which a newer version wrote", name, sealed[0])
	}
	key, known := k.find(keyIDIn(sealed))
	if !known {
		return nil, 0, &otherKeyError{name, keyIDIn(sealed)}
	}
	mac, rest := sealed[1+keyIDSize:sealSize-8], sealed[sealSize-8:]
	seq, value = binary.BigEndian.Uint64(rest), rest[8:]
	if !hmac.Equal(mac, key.mac(name, seq, value)) {
		return nil, 0, fmt.Errorf("%s: %w", name, errUnsealed)
	}
	return value, seq, nil
}

// isCurrent reports whether a value was sealed with the key that seals.
func (k keyring) isCurrent(sealed []byte) bool {
	id := k.sealing().id()
	return len(sealed) >= sealSize && bytes.Equal(keyIDIn(sealed), id[:])
}

// keyIDIn returns the id of the key that a value was sealed with.
func keyIDIn(sealed []byte) []byte { return sealed[1 : 1+keyIDSize] }

// otherKeyError is why a value cannot be read that was sealed with a key that this gateway
// does not have.
type otherKeyError struct {
	name string
	id   []byte // of the key
}

func (e *otherKeyError) Error() string {
	return fmt.Sprintf("%s is sealed with another integrity_key, whose id is %x: if that is the former one, add it in second place, and keep it until caddy api-keys fleet rekey has sealed everything again", e.name, e.id)
}

var errUnsealed = errors.New("no gateway of this fleet wrote this value, or it is damaged")

func (k keyring) find(id []byte) (IntegrityKey, bool) {
	for _, key := range k {
		if keyID := key.id(); bytes.Equal(keyID[:], id) {
			return key, true
		}
	}
	none := IntegrityKey{}
	noneID := none.id()
	return none, len(k) == 0 && bytes.Equal(noneID[:], id)
}

func (k IntegrityKey) mac(name string, seq uint64, value []byte) []byte {
	mac := hmac.New(sha256.New, k[:])
	mac.Write([]byte("caddy-api-keys fleet\x00"))
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(name))))
	mac.Write([]byte(name))
	mac.Write(binary.BigEndian.AppendUint64(nil, seq))
	mac.Write(value)
	return mac.Sum(nil)
}
