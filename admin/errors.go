package admin

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/unread"
)

// Refusals of malformed requests.
var (
	errInvalidJSON      = &apikey.Error{Code: "invalid_json", Message: "The body is not the JSON object that this call expects."}
	errNotJSON          = &apikey.Error{Code: "not_json", Message: `The body must be JSON: send "Content-Type: application/json".`}
	errBodyTooLarge     = &apikey.Error{Code: "body_too_large", Message: "The body is larger than 64 KiB."}
	errInvalidLimit     = &apikey.Error{Code: "invalid_limit", Field: "limit", Message: "The limit must be a number from 1 to 200."}
	errInvalidDays      = &apikey.Error{Code: "invalid_days", Field: "days", Message: "The days must be a number from 1 to 90."}
	errInvalidKeys      = &apikey.Error{Code: errInvalidQuery("").Code, Field: "keys", Message: "keys must be 1 to 200 ids of keys, separated by commas."}
	errInvalidStatus    = &apikey.Error{Code: "invalid_status", Field: "status", Message: `The status must be "active", "expired" or "revoked".`}
	errUnauthorized     = &apikey.Error{Code: "unauthorized", Message: `This call requires "Authorization: Bearer" with the admin token.`}
	errCrossOrigin      = &apikey.Error{Code: "cross_origin", Message: "A page from another origin cannot make this call."}
	errWrongWorkspace   = &apikey.Error{Code: "workspace_mismatch", Message: "This address serves a single workspace, and this call is about another."}
	errIdle             = &apikey.Error{Code: "store_unavailable", Message: "This server has no key store: its configuration has neither the option api_keys nor the handler api_key_auth."}
	errUnknownKey       = &apikey.Error{Code: "not_found", Message: "No workspace has a key with this id."}
	errUnknownToken     = &apikey.Error{Code: "not_found", Message: "No key has this token."}
	errUnknownFeed      = &apikey.Error{Code: "not_found", Message: "There is no such calendar feed. It may have been revoked, or replaced by another."}
	errNoDryRun         = &apikey.Error{Code: errInvalidQuery("").Code, Message: "This call has no dry run: leave that parameter out. Nothing was changed."}
	errNotLines         = &apikey.Error{Code: errNotJSON.Code, Message: `The body must be JSON, one object per line: send "Content-Type: application/x-ndjson", without a Content-Encoding.`}
	errLineTooLarge     = &apikey.Error{Code: errBodyTooLarge.Code, Message: "The line is longer than 64 KiB."}
	errNoBackup         = &apikey.Error{Code: apikey.ErrInvalidBackup.Code, Message: "The body must be the backup exactly as it was taken, without a Content-Encoding. Nothing was changed."}
	errReasonRequired   = &apikey.Error{Code: "invalid_reason", Field: "reason", Message: "Give a reason: it is recorded in the audit trail."}
	errNoFleet          = &apikey.Error{Code: "not_found", Message: "This gateway belongs to no fleet: it has a store of its own."}
	errNoWebhooks       = &apikey.Error{Code: "not_found", Message: "This gateway has no webhooks: configure one with webhook in api_keys."}
	errNoSuchCall       = &apikey.Error{Code: "not_found", Message: "There is no such call."}
	errMethodNotAllowed = &apikey.Error{Code: "method_not_allowed", Message: "This address does not accept that method. The Allow header lists the methods it accepts."}
)

// errInvalidQuery refuses a query that cannot be parsed, or has a parameter twice.
func errInvalidQuery(parameter string) *apikey.Error {
	return &apikey.Error{Code: "invalid_query", Field: parameter, Message: "The query is not valid for this call: give each parameter at most once, and percent-encode special characters."}
}

// statuses maps every code to its status.
var statuses = map[string]int{
	client.CodeInvalidJSON:         http.StatusBadRequest,
	client.CodeInvalidCursor:       http.StatusBadRequest,
	client.CodeInvalidLimit:        http.StatusBadRequest,
	client.CodeInvalidDays:         http.StatusBadRequest,
	client.CodeInvalidQuery:        http.StatusBadRequest,
	client.CodeInvalidStatus:       http.StatusBadRequest,
	client.CodeUnauthorized:        http.StatusUnauthorized,
	client.CodeWrongWorkspace:      http.StatusForbidden,
	client.CodeCrossOrigin:         http.StatusForbidden,
	client.CodeNotFound:            http.StatusNotFound,
	client.CodeMethodNotAllowed:    http.StatusMethodNotAllowed,
	client.CodeNameTaken:           http.StatusConflict,
	client.CodeTooManyKeys:         http.StatusConflict,
	client.CodeAlreadyRotated:      http.StatusConflict,
	client.CodeNotActive:           http.StatusConflict,
	client.CodeTokenTaken:          http.StatusConflict,
	client.CodeClockAgrees:         http.StatusConflict,
	client.CodeIntegrityKeyDiffers: http.StatusConflict,
	client.CodeTooManyChanges:      http.StatusTooManyRequests,
	client.CodeBodyTooLarge:        http.StatusRequestEntityTooLarge,
	client.CodeNotJSON:             http.StatusUnsupportedMediaType,
	client.CodeInvalidName:         http.StatusUnprocessableEntity,
	client.CodeVagueName:           http.StatusUnprocessableEntity,
	client.CodeInvalidOwner:        http.StatusUnprocessableEntity,
	client.CodeInvalidReason:       http.StatusUnprocessableEntity,
	client.CodeInvalidPreset:       http.StatusUnprocessableEntity,
	client.CodeInvalidWorkspace:    http.StatusUnprocessableEntity,
	client.CodeInvalidDuration:     http.StatusUnprocessableEntity,
	client.CodeInvalidTokenSHA256:  http.StatusUnprocessableEntity,
	client.CodeInvalidTokenHint:    http.StatusUnprocessableEntity,
	client.CodeInvalidCreatedAt:    http.StatusUnprocessableEntity,
	client.CodeInvalidExpiresAt:    http.StatusUnprocessableEntity,
	client.CodeInvalidBackup:       http.StatusUnprocessableEntity,
	client.CodeStoreUnavailable:    http.StatusServiceUnavailable,
	client.CodeNoSpace:             http.StatusInsufficientStorage,
}

type errorAnswer struct {
	Error string `json:"error"`
	Code  string `json:"code"`
	Field string `json:"field,omitzero"`
}

// refuse responds with an error.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, operation string, err error) {
	refusal := h.report(r, operation, err)
	status := statuses[refusal.Code]
	switch {
	case status != http.StatusServiceUnavailable:
	case h.Idle:
		refusal = errIdle
	case refusal == apikey.ErrStoreUnavailable: // any other lasts until an operator intervenes
		w.Header().Set("Retry-After", "1")
	}
	unread.Answer(w, r, func(w http.ResponseWriter) {
		h.answer(w, status, errorAnswer{Error: refusal.Message, Code: refusal.Code, Field: refusal.Field})
	})
}

// failure is an error of the store that determines what the caller is told.
type failure interface {
	error
	Answer() *apikey.Error
}

// report returns the refusal that the caller gets for an error, and passes its code
// to Observe. Details that are not for the caller are logged, and the caller gets
// store_unavailable.
func (h *Handler) report(r *http.Request, operation string, err error) *apikey.Error {
	refusal, failed := refusalOf(err)
	if failed && r.Context().Err() != nil {
		return apikey.ErrStoreUnavailable // the client has hung up: the store did not fail, and nobody reads this
	}
	if failed {
		h.Log.Error("the key store failed", zap.String("operation", operation), zap.Error(err))
	}
	if operation != "" {
		h.Observe(operation, refusal.Code)
		h.logUntried(r, operation, refusal)
	}
	return refusal
}

// refusalOf returns what the caller is told of an error. failed means that the store failed,
// for reasons that are not for the caller.
func refusalOf(err error) (refusal *apikey.Error, failed bool) {
	if refusal, ok := errors.AsType[*apikey.Error](err); ok {
		return refusal, false
	}
	if failed, ok := errors.AsType[failure](err); ok {
		return failed.Answer(), true
	}
	return apikey.ErrStoreUnavailable, true
}

// tried are the codes of refusals by the store, which records them in the audit
// trail.
var tried = []string{"name_taken", "too_many_keys", "already_rotated", "not_active", "clock_agrees", "not_found", "store_unavailable", "no_space"}

// logUntried logs who requested a change that was refused before it reached the
// store. Such a refusal is not in the audit trail, which callers could fill
// otherwise. The claimed identity of an unauthorized caller is ignored.
func (h *Handler) logUntried(r *http.Request, operation string, refusal *apikey.Error) {
	if methodOf(r) == http.MethodGet || slices.Contains(tried, refusal.Code) && !isUnrecorded(r) {
		return
	}
	recognized := refusal.Code != errUnauthorized.Code
	ws := r.PathValue("ws")
	if !recognized || apikey.ValidateWorkspaceID(ws) != nil {
		ws = "" // it is unchecked
	}
	asker := ws
	if recognized && h.Workspace != nil {
		asker = h.Workspace(r)
	}
	if !h.refusals.take(refusal.Code, asker, time.Now()) {
		return
	}
	fields := []zap.Field{zap.String("operation", operation), zap.String("refused", refusal.Code), zap.String("remote_ip", h.RemoteIP(r))}
	if recognized {
		fields = append(fields, zap.String("workspace_id", ws), zap.String("actor", h.actor(r)))
	}
	h.Refusals.Info("change refused before it was tried", fields...)
}

// Unauthorized answers a call that lacks the mount's credentials.
func (h *Handler) Unauthorized(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="api-keys-admin"`)
	h.refuse(w, r, h.callOf(r).operation, errUnauthorized)
}

// MethodNotAllowed refuses a method that an address does not support; allow lists
// those that it does.
func (h *Handler) MethodNotAllowed(w http.ResponseWriter, r *http.Request, allow string) {
	w.Header().Set("Allow", allow)
	h.refuse(w, r, "", errMethodNotAllowed)
}
