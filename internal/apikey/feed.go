package apikey

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
)

// A feed token opens the calendar of one workspace for reading, and nothing
// else. It stands in a URL, because a calendar that subscribes to one can send
// nothing but that; so it looks different from the token of a key: it has no
// checksum, and is shorter than any of those, whatever their prefix.
//
//	cal_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg
const feedPrefix = "cal_"

// FeedToken is a well-formed feed token. Like [Token] it redacts itself
// wherever it is printed, logged or encoded. The zero FeedToken is none.
type FeedToken struct{ secret *string }

// NewFeedToken generates a feed token from the operating system's random source.
func NewFeedToken() FeedToken {
	secret := string(appendSecret([]byte(feedPrefix), rand.Reader))
	return FeedToken{&secret}
}

// ParseFeedToken accepts a well-formed feed token. It looks nothing up.
func ParseFeedToken(s string) (FeedToken, bool) {
	secret, ok := strings.CutPrefix(s, feedPrefix)
	if !ok || len(secret) != secretLength {
		return FeedToken{}, false
	}
	for i := range len(secret) {
		if !isAlphanumeric(secret[i]) {
			return FeedToken{}, false
		}
	}
	return FeedToken{&s}, true
}

// Digest returns the digest under which the store finds the feed.
func (t FeedToken) Digest() Digest { return sha256.Sum256([]byte(t.Reveal())) }

// Reveal returns the token itself. It is for the one answer that shows it.
func (t FeedToken) Reveal() string {
	if t.secret == nil {
		return ""
	}
	return *t.secret
}

// String returns only the prefix that all feed tokens have.
func (t FeedToken) String() string { return feedPrefix + "…" }

// Format writes the same for every verb.
func (t FeedToken) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }

// MarshalText encodes only the prefix that all feed tokens have.
func (t FeedToken) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

const (
	OpCalendarFeed       Operation = "calendar_feed"
	OpCalendarFeedRevoke Operation = "calendar_feed_revoke"
)

// OpenFeed creates a workspace's calendar feed, replacing its previous one, if any:
// a workspace has at most one.
type OpenFeed struct {
	WorkspaceID string
	Digest      Digest // of its token
}

// CloseFeed revokes the calendar feed of a workspace. If there is none, it changes
// nothing.
type CloseFeed struct{ WorkspaceID string }

func (OpenFeed) Operation() Operation  { return OpCalendarFeed }
func (CloseFeed) Operation() Operation { return OpCalendarFeedRevoke }

func (a OpenFeed) Subject() (string, string)  { return a.WorkspaceID, "" }
func (a CloseFeed) Subject() (string, string) { return a.WorkspaceID, "" }
