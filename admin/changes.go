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
	Message: "This workspace asks for more changes than it may. Wait for as long as Retry-After says. Keys can be revoked meanwhile.",
}

// untilChange counts a call that would change something, where the mount is pinned
// to one workspace, and returns how long that has to wait for it; zero if it need
// not. Calls count whatever comes of them, but for those that have to wait.
func (h *Handler) untilChange(r *http.Request) time.Duration {
	if h.Workspace == nil || h.CountChange == nil || methodOf(r) == http.MethodGet {
		return 0
	}
	return h.CountChange(h.Workspace(r))
}

// wholeSeconds returns a duration rounded up: who waits for so long has waited long
// enough.
func wholeSeconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

type unrecordedKey struct{}

// unrecorded marks a request that was made beyond the limit of changes: where it is
// refused, the audit trail has no event of it, or a flood of such would fill it.
func unrecorded(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), unrecordedKey{}, true))
}

func isUnrecorded(r *http.Request) bool { return r.Context().Value(unrecordedKey{}) != nil }
