package client

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// Mount describes the mount that the client talks to.
type Mount struct {
	// Workspace is the one workspace that the mount serves, and nil if it serves all.
	Workspace *string `json:"workspace"`
	// Actor is who the caller is in the audit trail.
	Actor string `json:"actor"`
	// TestURL is where the holder of a key can try it: an address, or a path on the
	// site of the mount; "" if that is not known.
	TestURL string `json:"test_url"`
	// Keys are the rules for new keys of the mount.
	Keys KeyRules `json:"keys"`
}

// KeyRules are the operator's rules for new keys.
type KeyRules struct {
	// TokenPrefix begins every new token, before an underscore: "agk".
	TokenPrefix string `json:"token_prefix"`
	// ExpiresInSeconds is the default and maximum lifetime of a new key, in
	// seconds.
	ExpiresInSeconds int64 `json:"expires_in_seconds"`
	// MaxActive is how many keys of a workspace may be active at a time.
	MaxActive int `json:"max_active"`
	// VagueNames are names that are refused, in lower case, without spaces,
	// punctuation and trailing digits.
	VagueNames []string `json:"vague_names"`
}

// Health is returned while the key store responds, so that requests can be judged.
type Health struct {
	// Status is "ok".
	Status string `json:"status"`
	// Changes is "unavailable: " and the reason if no key can be created or revoked
	// now, and "" otherwise.
	Changes string `json:"changes,omitzero"`
	// Clock is [ClockAhead] or [ClockBehind] if the clock of the gateway's machine
	// seems to be wrong, and "" otherwise. See [Client.Clock].
	Clock string `json:"clock,omitzero"`
	// Fleet begins with "out of contact since " if the gateway belongs to a fleet, and
	// serves without knowing what the others have changed since then. It is "" otherwise.
	Fleet string `json:"fleet,omitzero"`
}

// Statuses of a [Clock].
const (
	ClockAgrees = "ok" // to within a minute
	ClockAhead  = "ahead"
	ClockBehind = "behind"
)

// Clock compares the clock of the gateway's machine with the confirmed time, which
// has certainly passed. Times are UTC, to the millisecond.
type Clock struct {
	// Status is [ClockAgrees], [ClockAhead] or [ClockBehind].
	Status string `json:"status"`
	// Machine is the time of the machine's clock.
	Machine time.Time `json:"machine"`
	// Confirmed is the confirmed time. Nothing is deleted for its age by a later
	// one.
	Confirmed time.Time `json:"confirmed"`
	// Judged is the time by which keys are judged.
	Judged time.Time `json:"judged"`
	// OffsetSeconds is how far the machine's clock is ahead of the confirmed time, in
	// seconds; negative if it is behind.
	OffsetSeconds int64 `json:"offset_seconds"`
}

// ClockTrust is the result of trusting the machine's clock.
type ClockTrust struct {
	// Clock is the state of the clock afterwards.
	Clock Clock `json:"clock"`
	// Revoked is how many keys would have become active again by the earlier time,
	// and were revoked instead.
	Revoked int `json:"revoked"`
}

// Severities of a [Finding].
const (
	SeverityOK      = "ok"
	SeverityWarning = "warning" // something will go wrong, or is less safe than it could be
	SeverityError   = "error"   // something is wrong
)

// Finding is the result of one check of the gateway.
type Finding struct {
	// Check is what was checked, in one word: permissions, space, clock, changes,
	// journal, tables, records or fleet.
	Check string `json:"check"`
	// Severity is [SeverityOK], [SeverityWarning] or [SeverityError].
	Severity string `json:"severity"`
	// Message is what was found, as a sentence.
	Message string `json:"message"`
	// Advice is what to do; "" if nothing.
	Advice string `json:"advice,omitzero"`
}

type clockAnswer struct {
	Clock Clock `json:"clock"`
}

type findingsAnswer struct {
	Findings []Finding `json:"findings"`
}

type description struct{ json.RawMessage }

func (a *Mount) served() bool          { return a.Actor != "" && a.Keys.TokenPrefix != "" }
func (a *Health) served() bool         { return a.Status != "" }
func (a *clockAnswer) served() bool    { return a.Clock.Status != "" }
func (a *ClockTrust) served() bool     { return a.Clock.Status != "" }
func (a *findingsAnswer) served() bool { return len(a.Findings) > 0 }
func (a *description) served() bool {
	var begin struct {
		OpenAPI string `json:"openapi"`
	}
	return json.Unmarshal(a.RawMessage, &begin) == nil && begin.OpenAPI != ""
}

// Mount returns which workspaces the mount serves, and by which rules.
func (c *Client) Mount(ctx context.Context) (mount Mount, err error) {
	err = c.call(ctx, http.MethodGet, "/mount", nil, &mount)
	return mount, err
}

// Health returns whether the key store responds. If it does not, the error is
// [CodeStoreUnavailable].
func (c *Client) Health(ctx context.Context) (health Health, err error) {
	err = c.call(ctx, http.MethodGet, "/healthz", nil, &health)
	return health, err
}

// Clock returns the state of the clock of the gateway's machine.
func (c *Client) Clock(ctx context.Context) (Clock, error) {
	var answer clockAnswer
	err := c.call(ctx, http.MethodGet, "/clock", nil, &answer)
	return answer.Clock, err
}

// TrustClock makes the gateway accept its machine's clock as correct: check first
// that it is. Keys that had expired only by a clock that was ahead become active
// again; revoked keys do not. The reason is for the audit trail, and may be "". The
// call is refused with [CodeClockAgrees] if there is nothing to set.
func (c *Client) TrustClock(ctx context.Context, reason string) (trust ClockTrust, err error) {
	err = c.call(ctx, http.MethodPost, "/clock/trust", reasonRequest{reason}, &trust)
	return trust, err
}

// Doctor makes the gateway check everything in its store, and returns all findings.
// It changes nothing. It takes seconds for a hundred thousand keys, and no timeout
// applies to it.
func (c *Client) Doctor(ctx context.Context) ([]Finding, error) {
	request, err := c.request(ctx, http.MethodGet, "/doctor", nil)
	if err != nil {
		return nil, err
	}
	var answer findingsAnswer
	err = receive(c.withoutTimeout(), request, &answer)
	return answer.Findings, err
}

// OpenAPI returns the description of the API, OpenAPI 3.1 as JSON.
func (c *Client) OpenAPI(ctx context.Context) ([]byte, error) {
	var answer description
	err := c.call(ctx, http.MethodGet, "/openapi.json", nil, &answer)
	return answer.RawMessage, err
}
