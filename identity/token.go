package identity

import (
	"encoding/base64"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
)

// maxToken bounds an assertion, in bytes. Without a path it has about 500.
const maxToken = 16 << 10

// header is the whole header of an assertion. One with any other member is refused: none
// is needed, and those that exist name a key (jku, jwk, x5u, x5c) or change what is
// signed (b64, crit) or how it is read (cty, zip).
type header struct {
	Algorithm jose.SignatureAlgorithm `json:"alg"`
	Type      string                  `json:"typ"`
	KeyID     string                  `json:"kid"`
}

// keyIDOf returns the id of the key that an assertion claims to be signed with. It
// accepts a token only in its one canonical form: each part has one encoding, and no
// member of the header occurs twice.
func keyIDOf(token string) (string, error) {
	if len(token) > maxToken {
		return "", errTooLong
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", errEncoding
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		if decoded[i], err = decodeBase64(part); err != nil {
			return "", errEncoding
		}
	}
	var h header
	if err := json.Unmarshal(decoded[0], &h, json.RejectUnknownMembers(true)); err != nil {
		return "", errHeader
	}
	if h.Algorithm != jose.EdDSA || h.Type != TokenType || !isName(h.KeyID) {
		return "", errHeader
	}
	return h.KeyID, nil
}

// decodeBase64 accepts one encoding of each value.
func decodeBase64(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") { // which Go's decoder skips
		return nil, errEncoding
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

// open verifies the signature of a token that keyIDOf has accepted, and returns what the
// token says.
func open(token string, key jose.JSONWebKey) (Claims, error) {
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return Claims{}, errEncoding
	}
	payload, err := signed.Verify(key)
	if err != nil {
		return Claims{}, errSignature
	}
	var claims Claims
	if err := json.Unmarshal(payload, &claims); err != nil {
		return Claims{}, errClaims
	}
	return claims, nil
}
