package apikey

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"strings"
	"unicode/utf8"
)

// A token is PREFIX "_" SECRET CHECKSUM:
//
//	agk_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg3a2L9p
//	    └────────── 43 random characters ────────┘└─ 6 ─┘
//
// The secret holds 43·log2(62) = 256.03 random bits. The checksum is the
// CRC-32 (IEEE) of everything before it, so that a mistyped or truncated token
// is refused without a look-up, and so that secret scanners report few false
// positives.
const (
	// DefaultPrefix is the token prefix if none is configured.
	DefaultPrefix = "agk"

	alphabet       = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	secretLength   = 43
	checksumLength = 6
	minPrefix      = 2
	maxPrefix      = 20
	minTokenLength = minPrefix + 1 + secretLength + checksumLength
	maxTokenLength = maxPrefix + 1 + secretLength + checksumLength
	hintLength     = 4
)

// Digest is the SHA-256 of a whole token: all that is ever stored of one.
type Digest [sha256.Size]byte

// Token is a well-formed token, ours or a foreign one. It redacts itself wherever it is
// printed, logged or encoded; see [Token.Reveal]. The zero Token is not a token.
//
// It holds a pointer because package fmt calls no method of a value that it
// finds in an unexported field: there it prints what the value is made of, and
// of a string behind a pointer that is an address.
type Token struct{ secret *string }

// NewToken generates a token from the operating system's random source. The prefix
// must be valid; see [ValidatePrefix].
func NewToken(prefix string) Token {
	return newToken(prefix, rand.Reader)
}

func newToken(prefix string, random io.Reader) Token {
	body := make([]byte, 0, maxTokenLength)
	body = append(append(body, prefix...), '_')
	body = appendSecret(body, random)
	sum := checksum(body)
	secret := string(append(body, sum[:]...))
	return Token{&secret}
}

// appendSecret appends the random characters of a token.
func appendSecret(body []byte, random io.Reader) []byte {
	// 248 is the largest multiple of 62 in a byte: bytes above it are dropped,
	// so that every character is equally likely.
	const fair = 248
	var buf [secretLength]byte
	for need := secretLength; need > 0; {
		if _, err := io.ReadFull(random, buf[:need]); err != nil {
			panic("apikey: reading random bytes: " + err.Error())
		}
		for _, b := range buf[:need] {
			if b < fair {
				body = append(body, alphabet[b%62])
				need--
			}
		}
	}
	return body
}

// ParseToken accepts a well-formed token of any prefix: tokens stay valid when
// the configured prefix changes. It says no more than whether s is one, and
// looks nothing up. It is small enough to be inlined: a caller that keeps only
// the [Token.Digest] does not allocate.
func ParseToken(s string) (Token, bool) {
	if !wellFormed(s) {
		return Token{}, false
	}
	return Token{&s}, true
}

func wellFormed(s string) bool {
	split := len(s) - checksumLength - secretLength - 1
	if split < minPrefix || s[split] != '_' || !validPrefix(s[:split]) {
		return false
	}
	for i := split + 1; i < len(s); i++ {
		if !isAlphanumeric(s[i]) {
			return false
		}
	}
	sum := checksum(s[:len(s)-checksumLength])
	return string(sum[:]) == s[len(s)-checksumLength:]
}

// checksum returns the checksum of a token's body. It computes the CRC-32 by
// itself, because crc32.ChecksumIEEE would have the body moved to the heap.
func checksum[T string | []byte](body T) (sum [checksumLength]byte) {
	crc := ^uint32(0)
	for i := range len(body) {
		crc = crc32.IEEETable[byte(crc)^body[i]] ^ crc>>8
	}
	crc = ^crc
	for i := checksumLength - 1; i >= 0; i-- {
		sum[i] = alphabet[crc%62]
		crc /= 62
	}
	return sum
}

// Digest returns the digest under which the store finds the token's key.
func (t Token) Digest() Digest {
	s := t.Reveal()
	if len(s) > maxTokenLength {
		return longDigest(s)
	}
	var whole [maxTokenLength]byte
	return sha256.Sum256(whole[:copy(whole[:], s)])
}

// DigestOf returns the digest of a text that is as long as a token can be, whether or not
// it is one. It is for finding a key whose token is known to be well-formed: a caller that
// finds none still has to parse the text.
func DigestOf(s string) (digest Digest, ok bool) {
	if len(s) < minTokenLength || len(s) > maxTokenLength {
		return Digest{}, false
	}
	return Token{&s}.Digest(), true
}

// longDigest is for foreign tokens: clearing its larger array takes a while.
func longDigest(s string) Digest {
	var whole [maxForeignLength]byte
	return sha256.Sum256(whole[:copy(whole[:], s)])
}

// Hint returns enough of the token to recognise it by, and too little to use
// it: its prefix and its last four characters, which belong to the checksum. Of a
// foreign token it shows the last four characters if there are many, or nothing.
func (t Token) Hint() string {
	if t.secret == nil {
		return ""
	}
	s := *t.secret
	if !wellFormed(s) {
		return foreignHint(s)
	}
	return s[:len(s)-checksumLength-secretLength] + "…" + s[len(s)-hintLength:]
}

// validHint reports whether a text is the hint of a token.
func validHint(s string) bool {
	prefix, end, found := strings.Cut(s, "_…")
	return found && validPrefix(prefix) && len(end) == hintLength && !strings.ContainsFunc(end, func(r rune) bool {
		return r >= utf8.RuneSelf || !isAlphanumeric(byte(r))
	})
}

// Reveal returns the token itself. It is for the one answer that shows it.
func (t Token) Reveal() string {
	if t.secret == nil {
		return ""
	}
	return *t.secret
}

// String returns the hint, never the token.
func (t Token) String() string { return t.Hint() }

// Format writes the hint for every verb, so that %x and %#v give nothing away.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.Hint()) }

// MarshalText encodes the hint, never the token.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.Hint()), nil }

// LogValue logs the hint, never the token.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.Hint()) }

// ValidatePrefix returns an error if a token prefix is invalid.
func ValidatePrefix(prefix string) error {
	if validPrefix(prefix) {
		return nil
	}
	return fmt.Errorf("token prefix %q: want %d to %d of a-z, 0-9 and _, beginning with a letter and not ending in _", prefix, minPrefix, maxPrefix)
}

func validPrefix(prefix string) bool {
	if len(prefix) < minPrefix || len(prefix) > maxPrefix {
		return false
	}
	if !isLower(prefix[0]) || prefix[len(prefix)-1] == '_' {
		return false
	}
	for i := range len(prefix) {
		if c := prefix[i]; !isLower(c) && !isDigit(c) && c != '_' {
			return false
		}
	}
	return true
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isAlphanumeric(c byte) bool { return alphanumeric[c] }

// alphanumeric spares the check of a token its mispredicted branches.
var alphanumeric = func() (is [256]bool) {
	for i := range len(alphabet) {
		is[alphabet[i]] = true
	}
	return is
}()
