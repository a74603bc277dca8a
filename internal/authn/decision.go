package authn

import (
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/assertion"
)

// Result is why a request passed or was refused. Its values are the ones of the
// metric and of the access log.
type Result string

const (
	Allowed          Result = "allowed"
	Missing          Result = "missing"      // no credentials at all
	Malformed        Result = "malformed"    // not exactly one token that is well-formed
	Unknown          Result = "unknown"      // no key has this token
	Expired          Result = "expired"      // the key's life is over
	Revoked          Result = "revoked"      // the key was revoked
	ReadOnly         Result = "read_only"    // a write by a key that may only read
	Suspended        Result = "suspended"    // the key's workspace is suspended
	Browser          Result = "browser"      // a browser sent it
	Preflight        Result = "preflight"    // a browser asks whether a page may send a request
	MethodNotAllowed Result = "method"       // TRACE or CONNECT
	RateLimited      Result = "rate_limited" // over the limit
	EarlyData        Result = "early_data"   // a write that could be a replay
	Unavailable      Result = "unavailable"  // the store could not answer
)

// Results returns every result.
func Results() []Result {
	return []Result{
		Allowed, Missing, Malformed, Unknown, Expired, Revoked, ReadOnly, Suspended,
		Browser, Preflight, MethodNotAllowed, RateLimited, EarlyData, Unavailable,
	}
}

// Action is what a request wants to do.
type Action string

const (
	Read  Action = "read"
	Write Action = "write"
)

// Lookup is how a key was found.
type Lookup string

const (
	Hit    Lookup = "hit"    // the key was in the cache
	Miss   Lookup = "miss"   // the source was asked
	Failed Lookup = "failed" // the source failed
)

// Decision is what a check found. The zero Decision refuses.
type Decision struct {
	Result Result
	Action Action
	// Key is the key whose complete token matched, even if the request is refused;
	// otherwise nil. It is shared: never change it.
	Key *apikey.Grant
	// Signed has the assertions about that key; nil without a key.
	Signed *assertion.Slot
	// At is when the decision was made; zero if no key was found.
	At time.Time
	// KeyQuota and WorkspaceQuota are the limits that the request was judged by: it counts
	// in both, or it was refused and counts in neither.
	KeyQuota, WorkspaceQuota Quota
	// Lookup is how the key was looked up; "" if it was not.
	Lookup Lookup
}

// Allowed reports whether the request may pass.
func (d *Decision) Allowed() bool { return d.Result == Allowed }

func (d Decision) refuse(why Result) Decision {
	d.Result = why
	return d
}
