package migrate

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// bearerToken is what a client can send as one: RFC 6750's b64token.
var bearerToken = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)

const (
	minToken = 16
	maxToken = 512
	// minHinted is the length of the shortest token of which the end is kept as a hint.
	minHinted = 24
	hintEnd   = 4
)

// hash puts a token's digest into a key, and a hint at the token if there is none. A token
// that no request could pass with is refused.
func (e *Entry) hash(token string, options Options) *client.Error {
	const field = "token"
	line := &e.Key
	ours, ok := apikey.ParseToken(token)
	switch {
	case ok:
		line.TokenHint, e.Native = ours.Hint(), true
	case options.TokenPrefix != "" && strings.HasPrefix(token, options.TokenPrefix+"_"):
		return refuse("invalid_token", field, "The token begins with the gateway's token_prefix, but is not one of its tokens, so it would be refused: give the gateway another token_prefix before the import, or the key's user a new key.")
	case len(token) < minToken || len(token) > maxToken:
		return refuse("invalid_token", field, fmt.Sprintf("The token has %d characters, and one of %d to %d is accepted: give its user a new key.", len(token), minToken, maxToken))
	case !bearerToken.MatchString(token):
		return refuse("invalid_token", field, "The token has characters that a bearer token cannot have: give its user a new key.")
	case line.TokenHint == "" && len(token) >= minHinted:
		line.TokenHint = "…" + token[len(token)-hintEnd:]
	}
	sum := sha256.Sum256([]byte(token))
	line.TokenSHA256 = hex.EncodeToString(sum[:])
	return nil
}

// fromBase64 returns a SHA-256 in hexadecimal digits, with or without padding, in either
// alphabet.
func fromBase64(encoded string) (string, bool) {
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if sum, err := encoding.Strict().DecodeString(encoded); err == nil && len(sum) == sha256.Size {
			return hex.EncodeToString(sum), true
		}
	}
	return "", false
}

var sha256Digits = regexp.MustCompile(`^[0-9A-Fa-f]{64}$`)
