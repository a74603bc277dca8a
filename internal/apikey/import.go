package apikey

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
)

// OpImport is recorded for [Import].
const OpImport Operation = "import"

// maxImportedHint is how long the hint of an imported token can be, in characters.
const maxImportedHint = 40

// Import adds a key whose token was issued elsewhere. It does not count the workspace's
// keys. If the workspace has the same key already, active and under the same name, nothing
// is changed. It fails with [ErrTokenTaken] if the token is any other key's, even an ended
// one's, and with [ErrNameTaken].
type Import struct{ Key Key }

func (Import) Operation() Operation        { return OpImport }
func (a Import) Subject() (string, string) { return a.Key.WorkspaceID, "" }

// Refusals of a key to import.
var (
	ErrInvalidDigest    = &Error{Code: "invalid_token_sha256", Field: "token_sha256", Message: "token_sha256 must be the SHA-256 of the whole token, as 64 hexadecimal digits."}
	ErrInvalidHint      = &Error{Code: "invalid_token_hint", Field: "token_hint", Message: "A token hint can have at most 40 characters."}
	ErrInvalidCreatedAt = &Error{Code: "invalid_created_at", Field: "created_at", Message: `created_at must be a time in the past, such as "2026-01-31T12:00:00Z".`}
	ErrInvalidExpiresAt = &Error{Code: "invalid_expires_at", Field: "expires_at", Message: `expires_at must be a time in the future, such as "2026-12-31T12:00:00Z".`}
	ErrTokenTaken       = &Error{Code: "token_taken", Field: "token_sha256", Message: "Another key has this token, or had it: one of another workspace, under another name, with another preset, or one that has ended."}
)

// ParseDigest reads the digest of a token.
func ParseDigest(s string) (digest Digest, err error) {
	if len(s) != hex.EncodedLen(len(digest)) {
		return digest, ErrInvalidDigest
	}
	if _, err := hex.Decode(digest[:], []byte(s)); err != nil {
		return digest, ErrInvalidDigest
	}
	return digest, nil
}

// ParseHint trims what people recognise an imported token by, and checks it. No hint is a
// valid hint.
func ParseHint(s string) (string, error) {
	return optionalText(s, maxImportedHint, ErrInvalidHint, "A token hint")
}

// ParseCreatedAt reads when a key to import was created: at a time until now.
func ParseCreatedAt(s string, now time.Time) (time.Time, error) {
	at, err := parseTime(s)
	if err != nil || at.After(now) || !InRange(at) {
		return time.Time{}, ErrInvalidCreatedAt
	}
	return at, nil
}

// ParseExpiresAt reads when a key to import expires: at a time after now.
func ParseExpiresAt(s string, now time.Time) (time.Time, error) {
	at, err := parseTime(s)
	if err != nil || !at.After(now) {
		return time.Time{}, ErrInvalidExpiresAt
	}
	return at, nil
}

// parseTime reads a time of RFC 3339, to the millisecond.
func parseTime(s string) (at time.Time, err error) {
	err = at.UnmarshalText([]byte(s))
	return at.UTC().Truncate(time.Millisecond), err
}

// RevealsToken returns a refusal of the text about a key that has its whole token in it, as
// where the columns of a table were mixed up, or a script named keys after their tokens; nil
// if none has.
func (k *Key) RevealsToken() error {
	for _, text := range []struct {
		is      string
		refusal *Error
	}{
		{k.WorkspaceID, &Error{Code: ErrInvalidWorkspace.Code, Field: "workspace_id"}},
		{k.Name, ErrInvalidName},
		{k.Owner, ErrInvalidOwner},
		{k.TokenHint, ErrInvalidHint},
	} {
		if k.Digest.isOfPart(text.is) {
			return text.refusal.because("The token itself is in it: it is stored, and shown to others.")
		}
	}
	return nil
}

// isOfPart reports whether the digest is that of a text, or of a part of it that can be a
// token and has something else around it: a space or a sign that is in no token, or the end
// of a sentence.
func (d Digest) isOfPart(text string) bool {
	if sha256.Sum256([]byte(text)) == d {
		return true
	}
	for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return !inToken(r) }) {
		if len(part) < minForeignLength {
			continue
		}
		if sha256.Sum256([]byte(part)) == d || sha256.Sum256([]byte(strings.TrimRight(part, "."))) == d {
			return true
		}
	}
	return false
}

// flawOfImport says what is wrong with a key that was imported.
func (k *Key) flawOfImport() string {
	switch {
	case !k.Imported:
		return ""
	case !text(k.TokenHint, 0, maxImportedHint):
		return "its token hint is not valid"
	case k.Replaces != "":
		return "it was imported, and replaces another key"
	case k.RevealsToken() != nil:
		return "it has its token in it"
	}
	return ""
}
