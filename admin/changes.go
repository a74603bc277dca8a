package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// errTooManyChanges refuses a change of a workspace that makes too many.
var errTooManyChanges = &apikey.Error{
	Code:    "too_many_changes",
	Message: "This workspace has requested too many changes. Wait as long as Retry-After says. Keys can still be revoked in the meantime.",
}

// untilChange counts a call that would change something on a pinned mount, and
// returns how long the workspace must wait before it; zero if it need not. Calls
// count with any outcome, except those that must wait.
func (h *Handler) untilChange(r *http.Request) time.Duration {
	if h.Workspace == nil || h.CountChange == nil || methodOf(r) == http.MethodGet {
		return 0
	}
	return h.CountChange(h.Workspace(r))
}

// wholeSeconds rounds a duration up to whole seconds.
func wholeSeconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

type unrecordedKey struct{}

// unrecorded marks a request beyond the limit of changes. If it is refused, no
// event is recorded: a flood of them would fill the audit trail.
func unrecorded(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), unrecordedKey{}, true))
}

func isUnrecorded(r *http.Request) bool { return r.Context().Value(unrecordedKey{}) != nil }
