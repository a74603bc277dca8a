package apikey

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"
)

// A record can come from a backup that somebody else wrote, or from a store that
// such a backup was restored into. The functions below check one record against
// what calls of the API can leave behind. They return what is wrong with it, as
// the end of a sentence about the record, or "".
//
// They allow what every configuration and every version has allowed, such as vague
// names. Times are only checked for their range: a clock that was wrong for a while
// leaves correct records with odd times. How odd they may be in a backup is what the
// TimeFlaw functions say.

const (
	// MaxActor is the maximum length of an actor's name, in characters.
	MaxActor   = 200
	maxAddress = 64

	maxDetails     = 32   // members of an event's details
	maxDetailName  = 40   // characters of a member's name
	maxDetailItems = 1000 // strings in a list
)

// latest is the latest time at which anything can have happened: nanoseconds
// since 1970 end there.
var latest = time.Unix(0, math.MaxInt64).UTC().Truncate(time.Millisecond)

// Flaw says what is wrong with a key. Whether the keys that it is linked to agree
// is for the caller to check.
func (k *Key) Flaw() string {
	switch {
	case !ValidKeyID(k.ID) || !InRange(idTime(k.ID)):
		return "its id is not valid"
	case ValidateWorkspaceID(k.WorkspaceID) != nil:
		return "its workspace id is not valid"
	case !text(k.Name, minName, MaxName):
		return "its name is not valid"
	case !text(k.Owner, 0, maxOwner):
		return "its owner is not valid"
	case k.Preset != FullAccess && k.Preset != ReadOnly:
		return "its preset is not valid"
	case !k.Imported && !validHint(k.TokenHint):
		return "its token hint is not valid"
	case !actor(k.CreatedBy):
		return "the name of who created it is not valid"
	case !InRange(k.CreatedAt):
		return "its creation time is out of range"
	case !k.ExpiresAt.After(k.CreatedAt) || k.ExpiresAt.After(k.CreatedAt.Add(math.MaxInt64)):
		return "its expiry is out of range"
	case !k.ExposedAt.IsZero() && !InRange(k.ExposedAt):
		return "the time at which it was exposed is out of range"
	case !k.LeakedAt.IsZero() && !InRange(k.LeakedAt):
		return "the time at which it was leaked is out of range"
	}
	return cmp.Or(k.flawInRevocation(), k.flawInLinks(), k.flawOfImport())
}

func (k *Key) flawInRevocation() string {
	switch {
	case k.RevokedAt.IsZero() && k.RevokedBy+k.RevokeReason != "":
		return "it says who revoked it or why, and not when"
	case !k.RevokedAt.IsZero() && !InRange(k.RevokedAt):
		return "the time of its revocation is out of range"
	case !actor(k.RevokedBy):
		return "the name of who revoked it is not valid"
	case !text(k.RevokeReason, 0, maxReason):
		return "the reason of its revocation is not valid"
	case !k.RevokesAt.IsZero() && (k.ReplacedBy == "" || !InRange(k.RevokesAt) || !k.RevokesAt.Before(k.ExpiresAt)):
		return "the time of its scheduled revocation is not valid"
	}
	return ""
}

// flawInLinks demands that a key is older than its replacement. Ids sort by
// creation, so no chain of replacements can lead back to where it began.
func (k *Key) flawInLinks() string {
	switch {
	case k.Replaces != "" && (!ValidKeyID(k.Replaces) || k.Replaces >= k.ID):
		return "the key that it replaces is not an older one"
	case k.Family != "" && (k.Replaces == "" || !ValidKeyID(k.Family) || k.Family > k.Replaces):
		return "the key that it goes back to is not an older one"
	case k.ReplacedBy != "" && (!ValidKeyID(k.ReplacedBy) || k.ReplacedBy <= k.ID):
		return "the key that replaces it is not a newer one"
	case !k.ReplacedAt.IsZero() && (k.ReplacedBy == "" || !InRange(k.ReplacedAt)):
		return "the time of its replacement is not valid"
	}
	return ""
}

// Flaw says what is wrong with a suspension.
func (w Workspace) Flaw() string {
	switch {
	case ValidateWorkspaceID(w.ID) != nil:
		return "its workspace id is not valid"
	case !InRange(w.SuspendedAt):
		return "its time is out of range"
	case !text(w.Reason, 0, maxReason):
		return "its reason is not valid"
	}
	return ""
}

// Flaw says what is wrong with an event.
func (e *Event) Flaw() string {
	switch {
	case !ValidEventID(e.ID) || !InRange(idTime(e.ID)):
		return "its id is not valid"
	case !InRange(e.At):
		return "its time is out of range"
	case !actor(e.Actor):
		return "its actor is not valid"
	case !text(e.RemoteIP, 0, maxAddress):
		return "its address is not valid"
	case !slices.Contains(operations, e.Operation):
		return "its operation is not known"
	case e.WorkspaceID != "" && ValidateWorkspaceID(e.WorkspaceID) != nil:
		return "its workspace id is not valid"
	case e.KeyID != "" && !ValidKeyID(e.KeyID):
		return "its key id is not valid"
	case e.KeyID != "" && e.WorkspaceID == "" && !e.Refused():
		return "it has a key and no workspace"
	}
	return flawInDetails(e.Details)
}

// Refused reports whether an event is of a change that was refused. Its subject is
// what the caller named, which need not exist.
func (e *Event) Refused() bool { return e.Details["refused"] != nil }

func flawInDetails(details map[string]any) string {
	if len(details) > maxDetails {
		return "it has too many details"
	}
	for name, value := range details {
		if !text(name, 0, maxDetailName) {
			return "the name of a detail is not valid"
		}
		if !validDetail(value) {
			return "a detail is not valid"
		}
	}
	return ""
}

// validDetail accepts a detail as JSON has it.
func validDetail(value any) bool {
	switch v := value.(type) {
	case nil, bool, float64:
		return true
	case string:
		return text(v, 0, maxReason)
	case []any:
		return len(v) <= maxDetailItems && !slices.ContainsFunc(v, func(item any) bool {
			s, ok := item.(string)
			return !ok || !text(s, 0, MaxName)
		})
	}
	return false
}

// Flaw says what is wrong with a use.
func (u Use) Flaw() string {
	switch {
	case !InRange(u.At):
		return "its time is out of range"
	case !text(u.From, 0, maxAddress):
		return "its address is not valid"
	}
	return ""
}

// FeedFlaw says what is wrong with the calendar feed of a workspace.
func FeedFlaw(workspaceID string, createdAt time.Time, createdBy string) string {
	switch {
	case ValidateWorkspaceID(workspaceID) != nil:
		return "its workspace id is not valid"
	case !InRange(createdAt):
		return "its creation time is out of range"
	case !actor(createdBy):
		return "the name of who created it is not valid"
	}
	return ""
}

// text reports whether a text is as long as it may be, and safe to show.
func text(s string, least, most int) bool {
	n := utf8.RuneCountInString(s)
	return n >= least && n <= most && s == strings.TrimSpace(s) && unsafe(s) == ""
}

// actor reports whether a string can be the name of an actor.
func actor(name string) bool {
	return utf8.RuneCountInString(name) <= MaxActor && !HoldsToken(name) && Visible(name) == name
}

// InRange reports whether anything can have happened at a time.
func InRange(t time.Time) bool { return t.UnixMilli() > 0 && !t.After(latest) }

// idTime returns the time in a valid id.
func idTime(id string) time.Time {
	parsed := ulid.MustParseStrict(id[len(id)-ulid.EncodedSize:])
	return ulid.Time(parsed.Time())
}
