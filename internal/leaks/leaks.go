// Package leaks takes reports of tokens that were found in public, as GitHub's secret
// scanning partner program sends them:
// https://docs.github.com/code-security/secret-scanning/secret-scanning-partner-program
//
// It promises that a report has no effect unless GitHub, or someone else with one of the
// configured keys, signed its very bytes; that what it reports is durable and in effect
// before it is answered; and that a token in it is neither kept nor logged nor sent back.
// Anyone without such a key costs a look-up in memory, or, with an identifier of one and a
// signature in the right form, the verification of a bounded body, of which few are in memory
// at a time, for seconds each.
package leaks

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/unread"
)

// Source is who is recorded as having reported a token.
const Source = "github"

// Outcomes of a report, for Observe.
const (
	OK            = "ok"
	UnknownSigner = "unknown_signer" // the key that signed it is not configured
	Unauthorized  = "unauthorized"   // it is not signed
	Malformed     = "invalid_json"
	TooLarge      = "body_too_large"
	TooSlow       = "request_timeout"
	TooMany       = "too_many_requests" // are being read, which anybody can bring about
	WrongMethod   = "method_not_allowed"
	Unavailable   = "store_unavailable"
)

// Outcomes returns all of them.
func Outcomes() []string {
	return []string{OK, UnknownSigner, Unauthorized, Malformed, TooLarge, TooSlow, TooMany, WrongMethod, Unavailable}
}

// Keys is the key store, as this package needs it.
type Keys interface {
	Prefixes() *apikey.Prefixes
	Lookup(apikey.Digest) (*apikey.Key, error)
	Apply(context.Context, apikey.Change) (apikey.Outcome, error)
}

// Handler answers reports. Its fields are required, and not changed while it is in use.
type Handler struct {
	// Keys returns the key store, or nil while none is open.
	Keys func() Keys
	// TokenPrefix is the prefix of new tokens.
	TokenPrefix string
	// Signers may sign reports.
	Signers Signers
	// Revoke revokes the keys of tokens that are reported; else they are only marked.
	Revoke bool
	// Now returns the time.
	Now func() time.Time
	// RemoteIP returns the address that a request comes from, for the audit trail.
	RemoteIP func(*http.Request) string
	// Log should be sampled: anybody can have reports refused.
	Log *zap.Logger
	// Observe is called with the outcome of each report.
	Observe func(outcome string)
}

const (
	// maxBody is the size of the largest report: some thousand matches.
	maxBody = 1 << 20
	// maxTime is how long a report may take. GitHub waits for 30 seconds.
	maxTime = 25 * time.Second
)

// ServeHTTP answers one report.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		h.refuse(w, r, WrongMethod, nil)
		return
	}
	signature, ok := decodeSignature(r.Header.Get("Github-Public-Key-Signature"))
	identifier := r.Header.Get("Github-Public-Key-Identifier")
	if !ok || identifier == "" {
		h.refuse(w, r, Unauthorized, nil)
		return
	}
	signer := h.Signers[identifier]
	if signer == nil {
		h.refuse(w, r, UnknownSigner, errors.New("none of the configured keys has its identifier"))
		return
	}
	body, refused := readSigned(w, r, signer, signature)
	switch refused {
	case "":
		h.take(w, r, body)
	case Unauthorized:
		h.refuse(w, r, refused, errors.New("its signature is wrong"))
	case hungUp:
	default:
		h.refuse(w, r, refused, nil)
	}
}

// take handles a report that is signed.
func (h *Handler) take(w http.ResponseWriter, r *http.Request, body []byte) {
	matches, err := parseReport(body)
	if err != nil {
		h.refuse(w, r, Malformed, errors.New("it is signed, but is not a JSON array of matches"))
		return
	}
	keys := h.Keys()
	if keys == nil {
		h.refuse(w, r, Unavailable, errors.New("the key store is not open"))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), maxTime)
	defer cancel()
	answers, err := h.handle(ctx, keys, matches, h.RemoteIP(r))
	if err != nil {
		h.refuse(w, r, Unavailable, err)
		return
	}
	h.Observe(OK)
	h.Log.Info("GitHub reported tokens that were found in public", zap.Int("tokens", len(answers)), zap.Int("of_keys", count(answers, truePositive)))
	answer(w, http.StatusOK, answers)
}

func count(answers []feedback, wanted label) (n int) {
	for _, a := range answers {
		if a.Label == wanted {
			n++
		}
	}
	return n
}

// refusals are what the sender is told.
var refusals = map[string]struct {
	status  int
	code    string
	message string
}{
	WrongMethod:   {http.StatusMethodNotAllowed, WrongMethod, "This address takes reports of leaked tokens by POST."},
	Unauthorized:  {http.StatusUnauthorized, Unauthorized, "The report is not signed as GitHub signs it."},
	UnknownSigner: {http.StatusUnauthorized, Unauthorized, "The report is signed with a key that is not known here."},
	Malformed:     {http.StatusBadRequest, Malformed, "The body is not a JSON array of matches."},
	TooSlow:       {http.StatusRequestTimeout, TooSlow, "The body did not arrive within 5 seconds."},
	TooMany:       {http.StatusServiceUnavailable, TooMany, "Too many reports are arriving. Send it again."},
	TooLarge:      {http.StatusRequestEntityTooLarge, TooLarge, "The body is larger than 1 MiB."},
	Unavailable:   {http.StatusServiceUnavailable, Unavailable, "The report could not be handled. Send it again."},
}

// refuse answers a report that was not taken. why is for the operator alone; nil if nothing
// is wrong here.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, outcome string, why error) {
	h.Observe(outcome)
	if why != nil {
		h.Log.Warn("a report of leaked tokens was refused", zap.String("refused", outcome), zap.String("remote_ip", h.RemoteIP(r)), zap.Error(why))
	}
	refusal := refusals[outcome]
	if refusal.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	unread.Answer(w, r, func(w http.ResponseWriter) {
		answer(w, refusal.status, map[string]string{"error": refusal.message, "code": refusal.code})
	})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
