package identity

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// parseKeys returns the Ed25519 keys of a JWK set by their ids. It ignores keys of other
// types, as RFC 7517 wants (section 5), and refuses a set with an Ed25519 key that no
// gateway publishes.
func parseKeys(set []byte) (map[string]ed25519.PublicKey, error) {
	var body struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := json.Unmarshal(set, &body); err != nil {
		return nil, errors.New("it is not a JWK set")
	}
	if body.Keys == nil {
		return nil, errors.New(`it has no "keys"`)
	}
	keys := make(map[string]ed25519.PublicKey, len(body.Keys))
	for i, value := range body.Keys {
		var kind struct {
			Type  string `json:"kty"`
			Curve string `json:"crv"`
		}
		if err := json.Unmarshal(value, &kind); err != nil || kind.Type == "" {
			return nil, fmt.Errorf("key %d is not a JWK", i+1)
		}
		if kind.Type != "OKP" || kind.Curve != "Ed25519" {
			continue
		}
		id, key, err := parseKey(value)
		if err != nil {
			return nil, fmt.Errorf("key %d %w", i+1, err)
		}
		if _, taken := keys[id]; taken {
			return nil, fmt.Errorf("key %d has the id of another", i+1)
		}
		keys[id] = key
	}
	return keys, nil
}

// parseKey reads an Ed25519 key. Its errors do not contain it: it may be a private one.
func parseKey(value []byte) (id string, key ed25519.PublicKey, err error) {
	var parsed jose.JSONWebKey
	if err := parsed.UnmarshalJSON(value); err != nil { // a point of small order, for one
		return "", nil, errors.New("is not a valid Ed25519 key")
	}
	key, public := parsed.Key.(ed25519.PublicKey)
	switch {
	case !public:
		return "", nil, errors.New("is a private key: whoever can read the set can sign with it")
	case !isName(parsed.KeyID):
		return "", nil, errors.New("has no id that could be used")
	case parsed.Algorithm != string(jose.EdDSA) || parsed.Use != "sig":
		return "", nil, errors.New("is not for signing with EdDSA")
	}
	return parsed.KeyID, key, nil
}
