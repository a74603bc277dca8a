package leaks

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
)

// Signers are the public keys that may sign a report, by GitHub's identifiers of them.
type Signers map[string]*ecdsa.PublicKey

// ParseSigners reads public keys in the form in which GitHub publishes its own, at
// https://api.github.com/meta/public_keys/secret_scanning. Keys that are no longer current
// are read too: reports that they signed may be on their way. It refuses what has no key, or
// a key that is not of ECDSA with P-256.
func ParseSigners(published []byte) (Signers, error) {
	var file struct {
		PublicKeys []struct {
			Identifier string `json:"key_identifier"`
			Key        string `json:"key"`
		} `json:"public_keys"`
	}
	if err := json.Unmarshal(published, &file); err != nil {
		return nil, fmt.Errorf("it is not the JSON that GitHub publishes: %w", err)
	}
	if len(file.PublicKeys) == 0 {
		return nil, errors.New(`it has no key in "public_keys"`)
	}
	signers := make(Signers)
	for i, one := range file.PublicKeys {
		if one.Identifier == "" || signers[one.Identifier] != nil {
			return nil, fmt.Errorf("key %d: its key_identifier is missing, or is that of another key", i+1)
		}
		key, err := parsePublicKey(one.Key)
		if err != nil {
			return nil, fmt.Errorf("key %d, %q: %w", i+1, one.Identifier, err)
		}
		signers[one.Identifier] = key
	}
	return signers, nil
}

func parsePublicKey(encoded string) (*ecdsa.PublicKey, error) {
	block, _ := pem.Decode([]byte(encoded))
	if block == nil {
		return nil, errors.New("it is not in PEM")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("it is not a public key: %w", err)
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("it is not a key of ECDSA with P-256")
	}
	return key, nil
}

// maxSignature is the length of the longest signature with P-256, in ASN.1 and base64.
const maxSignature = 96

// decodeSignature decodes the header that has the signature. Whether it is one shows only
// when it is verified.
func decodeSignature(header string) ([]byte, bool) {
	if len(header) > maxSignature {
		return nil, false
	}
	signature, err := base64.StdEncoding.DecodeString(header)
	return signature, err == nil && len(signature) > 0
}

func signed(by *ecdsa.PublicKey, body, signature []byte) bool {
	digest := sha256.Sum256(body)
	return ecdsa.VerifyASN1(by, digest[:], signature)
}
