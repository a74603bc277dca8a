package identity_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"math/big"
	"slices"
	"strings"
)

// withHeader returns an honest token but for one member of its header.
func withHeader(name, value string) string {
	old := map[string]string{"alg": `"EdDSA"`, "typ": `"api-key+jwt"`, "kid": `"` + testKID + `"`}[name]
	return sign(signingKey("a"), strings.ReplaceAll(honestHeader, old, value), claims(nil))
}

// withMember returns an honest token with more in its header.
func withMember(member string) string {
	return sign(signingKey("a"), addTo(honestHeader, member), claims(nil))
}

// addTo adds a member to a JSON object.
func addTo(object, member string) string { return strings.TrimSuffix(object, "}") + "," + member + "}" }

// claimsWith replaces a part of the JSON of honest claims.
func claimsWith(old, replacement string) string {
	text := claims(nil)
	if strings.Count(text, old) != 1 {
		panic(old + " is not in " + text)
	}
	return strings.Replace(text, old, replacement, 1)
}

func hs256(secret []byte) string {
	input := b64(`{"alg":"HS256","typ":"api-key+jwt","kid":"`+testKID+`"}`) + "." + b64(claims(nil))
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + b64(mac.Sum(nil))
}

// unencoded returns a token whose payload is not encoded (RFC 7797).
func unencoded(key ed25519.PrivateKey) string {
	input := b64(addTo(honestHeader, `"b64":false,"crit":["b64"]`)) + "." + claims(nil)
	return input + "." + b64(ed25519.Sign(key, []byte(input)))
}

func sigOf(token string) []byte {
	sig, err := base64.RawURLEncoding.DecodeString(token[strings.LastIndexByte(token, '.')+1:])
	if err != nil {
		panic(err)
	}
	return sig
}

// malleable adds the order of the group to a signature's S: another signature of the same
// message, to who does not check that S is reduced (RFC 8032, section 5.1.7).
func malleable(token string) string {
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	sig := sigOf(token)
	s := slices.Clone(sig[32:])
	slices.Reverse(s)
	more := new(big.Int).Add(new(big.Int).SetBytes(s), order).FillBytes(make([]byte, 32))
	slices.Reverse(more)
	return token[:strings.LastIndexByte(token, '.')+1] + b64(append(sig[:32:32], more...))
}

// smallOrder returns a point of order 8.
func smallOrder() []byte {
	point, err := base64.StdEncoding.DecodeString("xxdqcD1N2E+6PAt2DRBnDyogU/osOczGTsf9d5KsA3o=")
	if err != nil {
		panic(err)
	}
	return point
}

// standard returns the parts in base64 of the other alphabet.
func standard(parts []string) string {
	text := strings.NewReplacer("-", "+", "_", "/").Replace(strings.Join(parts, "."))
	if !strings.ContainsAny(text, "+/") {
		panic("the alphabets do not differ in this token")
	}
	return text
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// otherEnd changes the bits of the last character that mean nothing.
func otherEnd(text string) string {
	last := len(text) - 1
	return text[:last] + string(alphabet[strings.IndexByte(alphabet, text[last])|1])
}

// trailingBits does so in a header, which it makes long enough to have such bits.
func trailingBits(parts []string) string {
	text := honestHeader
	for len(text)%3 != 1 {
		text += " "
	}
	return otherEnd(b64(text)) + "." + parts[1] + "." + parts[2]
}
