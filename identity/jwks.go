package identity

import (
	"crypto/ed25519"
	"encoding/base64"
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
		var m members
		if err := json.Unmarshal(value, &m); err != nil || m.Type == "" {
			return nil, fmt.Errorf("key %d is not a JWK", i+1)
		}
		if m.Type != "OKP" || m.Curve != "Ed25519" {
			continue
		}
		id, key, err := parseKey(value, m)
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

// members are those by which a key is judged before go-jose reads it.
type members struct {
	Type  string         `json:"kty"`
	Curve string         `json:"crv"`
	D     jsontext.Value `json:"d"` // of a private key
	X     jsontext.Value `json:"x"`
}

// parseKey reads an Ed25519 key. Its errors do not contain it: it may be a private one.
func parseKey(value []byte, m members) (id string, key ed25519.PublicKey, err error) {
	if m.D != nil {
		return "", nil, errors.New("is a private key: anyone who can read the set can sign with it")
	}
	var parsed jose.JSONWebKey
	if err := parsed.UnmarshalJSON(value); err != nil { // a point of small order, for one
		return "", nil, errors.New("is not a valid Ed25519 key")
	}
	key, valid := parsed.Key.(ed25519.PublicKey)
	switch {
	case !valid || string(m.X) != `"`+base64.RawURLEncoding.EncodeToString(key)+`"`:
		return "", nil, errors.New("is not a valid Ed25519 key")
	case !isName(parsed.KeyID):
		return "", nil, errors.New("has no usable id")
	case parsed.Algorithm != string(jose.EdDSA) || parsed.Use != "sig":
		return "", nil, errors.New("is not for signing with EdDSA")
	}
	return parsed.KeyID, key, nil
}
