package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// ErrNotServed means that the response came from a server that does not have the
// API: a Caddy without the gateway, an older one, or something else.
var ErrNotServed = errors.New("it does not serve the API of the keys: is this Caddy built with caddy-api-keys, and new enough?")

// Error is a refusal by the API, or by something in front of it. Find one in the
// chain of an error with [errors.As] or [errors.AsType].
type Error struct {
	// StatusCode is the HTTP status of the answer, and 0 if the call was refused
	// before it was sent.
	StatusCode int
	// Code is one of the constants below, or another stable word of a newer
	// gateway. It is empty if something in front of the API refused, such as
	// Caddy's admin endpoint.
	Code string
	// Field names the field of the request at fault, such as "name" or
	// "expires_in". It is empty if no single field is.
	Field string
	// Message is an English sentence for people. It may change, and never contains
	// a token.
	Message string
	// RetryAfter is how long to wait before the call is repeated; 0 if repeating it
	// is not expected to help.
	RetryAfter time.Duration
}

// Error returns the message, the code and the HTTP status.
func (e *Error) Error() string {
	switch {
	case e.StatusCode == 0:
		return fmt.Sprintf("%s (%s)", e.Message, e.Code)
	case e.Code == "":
		return fmt.Sprintf("%s (HTTP %d)", e.Message, e.StatusCode)
	}
	return fmt.Sprintf("%s (%s, HTTP %d)", e.Message, e.Code, e.StatusCode)
}

// Codes of an [Error].
const (
	CodeInvalidJSON         = "invalid_json"          // 400: the body is not what the call takes
	CodeInvalidCursor       = "invalid_cursor"        // 400: the cursor is not one of this list
	CodeInvalidLimit        = "invalid_limit"         // 400: a page has 1 to 200 entries
	CodeInvalidDays         = "invalid_days"          // 400: usage is kept for 90 days
	CodeInvalidQuery        = "invalid_query"         // 400: a parameter is malformed or given twice
	CodeInvalidStatus       = "invalid_status"        // 400: not the status of a key
	CodeUnauthorized        = "unauthorized"          // 401: the admin token is missing or wrong
	CodeWrongWorkspace      = "workspace_mismatch"    // 403: the mount serves another workspace
	CodeCrossOrigin         = "cross_origin"          // 403: a page of another origin made the call
	CodeNotFound            = "not_found"             // 404: no such key, token or feed, or no fleet
	CodeMethodNotAllowed    = "method_not_allowed"    // 405
	CodeNameTaken           = "name_taken"            // 409: an active key of the workspace has the name, or one like it
	CodeTooManyKeys         = "too_many_keys"         // 409: the workspace has max_active_keys
	CodeAlreadyRotated      = "already_rotated"       // 409: the key has a live replacement
	CodeNotActive           = "not_active"            // 409: the key has expired or was revoked
	CodeTokenTaken          = "token_taken"           // 409: see [Client.Import]: another key has or had the token
	CodeClockAgrees         = "clock_agrees"          // 409: there is nothing to set
	CodeIntegrityKeyDiffers = "integrity_key_differs" // 409: a gateway of the fleet seals with another integrity key
	CodeBodyTooLarge        = "body_too_large"        // 413: more than 64 KiB
	CodeNotJSON             = "not_json"              // 415
	CodeInvalidName         = "invalid_name"          // 422: see CreateRequest.Name
	CodeVagueName           = "vague_name"            // 422: a name such as "test"
	CodeInvalidOwner        = "invalid_owner"         // 422: see CreateRequest.Owner
	CodeInvalidReason       = "invalid_reason"        // 422: longer than 500 characters, not printable, or missing
	CodeInvalidPreset       = "invalid_preset"        // 422: neither FullAccess nor ReadOnly
	CodeInvalidWorkspace    = "invalid_workspace"     // 422: not a workspace id
	CodeInvalidDuration     = "invalid_duration"      // 422: not a duration, or longer than the gateway allows
	CodeInvalidTokenSHA256  = "invalid_token_sha256"  // 422: see ImportLine.TokenSHA256
	CodeInvalidTokenHint    = "invalid_token_hint"    // 422: see ImportLine.TokenHint
	CodeInvalidCreatedAt    = "invalid_created_at"    // 422: see ImportLine.CreatedAt
	CodeInvalidExpiresAt    = "invalid_expires_at"    // 422: see ImportLine.ExpiresAt
	CodeInvalidBackup       = "invalid_backup"        // 422: damaged, not signed as it has to be, or not a backup
	CodeTooManyChanges      = "too_many_changes"      // 429: the workspace makes more than max_changes
	CodeStoreUnavailable    = "store_unavailable"     // 503: the key store cannot answer, or takes no change
	CodeNoSpace             = "no_space"              // 507: the disk of the key store is full
)

// refused reads the body of an error response, and returns the error.
func refused(response *http.Response) error {
	status := response.StatusCode
	if status < http.StatusMultipleChoices || status == http.StatusNotModified {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	var answer struct {
		Error string `json:"error"`
		Code  string `json:"code"`
		Field string `json:"field"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Error == "" {
		return ErrNotServed
	}
	refusal := &Error{StatusCode: status, Code: answer.Code, Field: answer.Field, Message: answer.Error}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
		refusal.RetryAfter = time.Duration(seconds) * time.Second
	}
	return refusal
}
