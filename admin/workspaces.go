package admin

import (
	"net/http"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/present"
)

// workspaceAnswer is one workspace.
type workspaceAnswer struct {
	Workspace client.Workspace `json:"workspace"`
}

func (h *Handler) listWorkspaces(r *http.Request) (int, any, error) {
	const list = "workspaces"
	query, err := queryOf(r, "q", "limit", "cursor")
	if err != nil {
		return 0, nil, err
	}
	page, err := pageOf(query, list, validWorkspace)
	if err != nil {
		return 0, nil, err
	}
	found, next, err := h.keys().Workspaces(r.Context(), query.Get("q"), page)
	if err != nil {
		return 0, nil, err
	}
	answer := client.WorkspacePage{Workspaces: make([]client.Workspace, 0, len(found)), NextCursor: cursorFor(list, next)}
	for _, ws := range found {
		presented, err := h.presentWorkspace(r, ws)
		if err != nil {
			return 0, nil, err
		}
		answer.Workspaces = append(answer.Workspaces, presented)
	}
	return http.StatusOK, answer, nil
}

func validWorkspace(id string) bool { return apikey.ValidateWorkspaceID(id) == nil }

func (h *Handler) listSuspensions(r *http.Request) (int, any, error) {
	const list = "suspensions"
	query, err := queryOf(r, "limit", "cursor")
	if err != nil {
		return 0, nil, err
	}
	page, err := pageOf(query, list, validWorkspace)
	if err != nil {
		return 0, nil, err
	}
	suspended, next, err := h.keys().Suspensions(r.Context(), page)
	if err != nil {
		return 0, nil, err
	}
	answer := client.SuspensionPage{Suspensions: make([]client.Suspension, 0, len(suspended)), NextCursor: cursorFor(list, next)}
	for _, ws := range suspended {
		answer.Suspensions = append(answer.Suspensions, client.Suspension{WorkspaceID: ws.ID, SuspendedAt: ws.SuspendedAt, Reason: ws.Reason})
	}
	return http.StatusOK, answer, nil
}

func (h *Handler) showWorkspace(r *http.Request) (int, any, error) {
	id, err := workspaceOf(r)
	if err != nil {
		return 0, nil, err
	}
	ws, err := h.keys().Workspace(r.Context(), id)
	if err != nil {
		return 0, nil, err
	}
	return h.answerWorkspace(r, ws)
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
	outcome, err := h.apply(r, h.now(), apikey.Suspend{WorkspaceID: id, Reason: reason, Own: h.Workspace != nil})
	if err != nil {
		return 0, nil, err
	}
	suspended, err := h.presentWorkspace(r, outcome.Workspace)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, client.SuspendedWorkspace{Workspace: suspended, Propagation: presentPropagation(outcome.Propagation)}, nil
}

func (h *Handler) resumeWorkspace(r *http.Request) (int, any, error) {
	id, err := workspaceOf(r)
	if err != nil {
		return 0, nil, err
	}
	if err := decode(r, &struct{}{}); err != nil {
		return 0, nil, err
	}
	outcome, err := h.apply(r, h.now(), apikey.Resume{WorkspaceID: id, Own: h.Workspace != nil})
	if err != nil {
		return 0, nil, err
	}
	return h.answerWorkspace(r, outcome.Workspace)
}

// revokeAll revokes every active key of a workspace. It requires a reason, because
// it cannot be undone.
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
		return 0, nil, errReasonRequired
	}
	outcome, err := h.apply(r, h.now(), apikey.RevokeAll{WorkspaceID: id, Reason: reason})
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, client.RevokedKeys{Revoked: outcome.Revoked, Propagation: presentPropagation(outcome.Propagation)}, nil
}

func (h *Handler) answerWorkspace(r *http.Request, ws apikey.Workspace) (int, any, error) {
	presented, err := h.presentWorkspace(r, ws)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, workspaceAnswer{presented}, nil
}

func (h *Handler) presentWorkspace(r *http.Request, ws apikey.Workspace) (client.Workspace, error) {
	counts, err := h.keys().CountKeys(r.Context(), ws.ID, h.now())
	if err != nil {
		return client.Workspace{}, err
	}
	return client.Workspace{
		ID: ws.ID, Suspended: ws.Suspended(), SuspendedAt: present.Optional(ws.SuspendedAt), Reason: present.Optional(ws.Reason),
		Keys: client.KeyCounts{Active: counts[apikey.Active], Expired: counts[apikey.Expired], Revoked: counts[apikey.Revoked]},
	}, nil
}
