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
	TestURL string   `json:"test_url"`
	Keys    KeyRules `json:"keys"`
}

// KeyRules are what the operator has decided about new keys.
type KeyRules struct {
	// TokenPrefix begins every new token, before an underscore: "agk".
	TokenPrefix string `json:"token_prefix"`
	// ExpiresInSeconds is how long a new key lives unless it is asked for less, in
	// seconds; also the most that may be asked for.
	ExpiresInSeconds int64 `json:"expires_in_seconds"`
	// MaxActive is how many keys of a workspace may be active at once.
	MaxActive int `json:"max_active"`
	// VagueNames are names that are refused, in small letters, without spaces,
	// punctuation and digits at the end.
	VagueNames []string `json:"vague_names"`
}

// Health says that the key store answers, so that requests are judged.
type Health struct {
	// Status is "ok".
	Status string `json:"status"`
	// Changes begins with "unavailable: " and says why, where no key can be created
	// or revoked now; "" where it can.
	Changes string `json:"changes,omitzero"`
	// Clock is [ClockAhead] or [ClockBehind] where the clock of the gateway's machine
	// seems to be wrong, and "" where it does not. See [Client.Clock].
	Clock string `json:"clock,omitzero"`
}

// Statuses of a [Clock].
const (
	ClockAgrees = "ok" // to within a minute
	ClockAhead  = "ahead"
	ClockBehind = "behind"
)

// Clock is the clock of the gateway's machine beside the time that is certain to have
// passed. Times are UTC, to the millisecond.
type Clock struct {
	// Status is [ClockAgrees], [ClockAhead] or [ClockBehind].
	Status string `json:"status"`
	// Machine is what the machine's clock says.
	Machine time.Time `json:"machine"`
	// Confirmed is certain to have passed. Nothing is deleted by a later time.
	Confirmed time.Time `json:"confirmed"`
	// Judged is the time by which keys are judged.
	Judged time.Time `json:"judged"`
	// OffsetSeconds is how far the machine's clock is ahead of the confirmed time, in
	// seconds; negative if it is behind.
	OffsetSeconds int64 `json:"offset_seconds"`
}

// ClockTrust is what came of trusting the machine's clock.
type ClockTrust struct {
	Clock Clock `json:"clock"`
	// Revoked is how many keys would be active again by the earlier time, and were
	// revoked instead.
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
	// Check is what was checked, in a word: permissions, space, clock, changes,
	// journal, tables or records.
	Check string `json:"check"`
	// Severity is [SeverityOK], [SeverityWarning] or [SeverityError].
	Severity string `json:"severity"`
	// Message is what was found, as a sentence.
	Message string `json:"message"`
	// Advice is what to do; "" if nothing is to be done.
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

// Health returns whether the key store answers. Where it does not, the error is
// [CodeStoreUnavailable].
func (c *Client) Health(ctx context.Context) (health Health, err error) {
	err = c.call(ctx, http.MethodGet, "/healthz", nil, &health)
	return health, err
}

// Clock returns what the gateway makes of its machine's clock.
func (c *Client) Clock(ctx context.Context) (Clock, error) {
	var answer clockAnswer
	err := c.call(ctx, http.MethodGet, "/clock", nil, &answer)
	return answer.Clock, err
}

// TrustClock has the gateway take its machine's clock for right: make sure of that
// first. Keys that expired only by an earlier clock that was ahead are active again,
// and no revoked key is. The reason is for the audit trail, and may be "". It is
// refused with [CodeClockAgrees] where there is nothing to set.
func (c *Client) TrustClock(ctx context.Context, reason string) (trust ClockTrust, err error) {
	err = c.call(ctx, http.MethodPost, "/clock/trust", reasonRequest{reason}, &trust)
	return trust, err
}

// Doctor has the gateway check everything in its store, and returns what it found,
// good or bad. It changes nothing. It takes seconds for a hundred thousand keys, and
// no timeout bounds it.
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
