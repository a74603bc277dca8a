package admin

import (
	"net/http"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// Workspace is a workspace as the API shows it.
type Workspace struct {
	ID          string     `json:"id"`
	Suspended   bool       `json:"suspended"`
	SuspendedAt *time.Time `json:"suspended_at"`
	Reason      *string    `json:"reason"`
	Keys        KeyCounts  `json:"keys"`
}

// KeyCounts counts a workspace's keys by status.
type KeyCounts struct {
	Active  int `json:"active"`
	Expired int `json:"expired"`
	Revoked int `json:"revoked"`
}

// WorkspaceAnswer is one workspace.
type WorkspaceAnswer struct {
	Workspace Workspace `json:"workspace"`
}

// Suspension says since when a workspace is suspended, and why.
type Suspension struct {
	WorkspaceID string    `json:"workspace_id"`
	SuspendedAt time.Time `json:"suspended_at"`
	Reason      string    `json:"reason"`
}

// SuspensionsAnswer is a page of the workspaces that are suspended.
type SuspensionsAnswer struct {
	Suspensions []Suspension `json:"suspensions"`
	NextCursor  *string      `json:"next_cursor"`
}

func (h *Handler) listSuspensions(r *http.Request) (int, any, error) {
	const list = "suspensions"
	query, err := queryOf(r, "limit", "cursor")
	if err != nil {
		return 0, nil, err
	}
	page, err := pageOf(query, list, func(id string) bool { return apikey.ValidateWorkspaceID(id) == nil })
	if err != nil {
		return 0, nil, err
	}
	suspended, next, err := h.Keys().Suspensions(r.Context(), page)
	if err != nil {
		return 0, nil, err
	}
	answer := SuspensionsAnswer{Suspensions: make([]Suspension, 0, len(suspended)), NextCursor: cursorFor(list, next)}
	for _, ws := range suspended {
		answer.Suspensions = append(answer.Suspensions, Suspension{WorkspaceID: ws.ID, SuspendedAt: ws.SuspendedAt, Reason: ws.Reason})
	}
	return http.StatusOK, answer, nil
}

func (h *Handler) showWorkspace(r *http.Request) (int, any, error) {
	id, err := workspaceOf(r)
	if err != nil {
		return 0, nil, err
	}
	ws, err := h.Keys().Workspace(r.Context(), id)
	if err != nil {
		return 0, nil, err
	}
	return h.presentWorkspace(r, ws)
}

func (h *Handler) suspendWorkspace(r *http.Request) (int, any, error) {
	id, err := workspaceOf(r)
	if err != nil {
		return 0, nil, err
	}
	reason, err := reasonOf(r)
	if err != nil {
		return 0, nil, err
	}
	outcome, err := h.apply(r, h.now(), apikey.Suspend{WorkspaceID: id, Reason: reason})
	if err != nil {
		return 0, nil, err
	}
	return h.presentWorkspace(r, outcome.Workspace)
}

func (h *Handler) resumeWorkspace(r *http.Request) (int, any, error) {
	id, err := workspaceOf(r)
	if err != nil {
		return 0, nil, err
	}
	if err := decode(r, &struct{}{}); err != nil {
		return 0, nil, err
	}
	outcome, err := h.apply(r, h.now(), apikey.Resume{WorkspaceID: id})
	if err != nil {
		return 0, nil, err
	}
	return h.presentWorkspace(r, outcome.Workspace)
}

// RevokedAnswer says how many keys were revoked.
type RevokedAnswer struct {
	Revoked int `json:"revoked"`
}

// revokeAll ends every active key of a workspace. It wants a reason: it is the
// call that nobody can take back.
func (h *Handler) revokeAll(r *http.Request) (int, any, error) {
	id, err := workspaceOf(r)
	if err != nil {
		return 0, nil, err
	}
	reason, err := reasonOf(r)
	if err != nil {
		return 0, nil, err
	}
	if reason == "" {
		return 0, nil, errReasonWanted
	}
	outcome, err := h.apply(r, h.now(), apikey.RevokeAll{WorkspaceID: id, Reason: reason})
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, RevokedAnswer{Revoked: outcome.Revoked}, nil
}

func (h *Handler) presentWorkspace(r *http.Request, ws apikey.Workspace) (int, any, error) {
	counts, err := h.Keys().CountKeys(r.Context(), ws.ID, h.now())
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, WorkspaceAnswer{Workspace{
		ID: ws.ID, Suspended: ws.Suspended(), SuspendedAt: optional(ws.SuspendedAt), Reason: optional(ws.Reason),
		Keys: KeyCounts{Active: counts[apikey.Active], Expired: counts[apikey.Expired], Revoked: counts[apikey.Revoked]},
	}}, nil
}
