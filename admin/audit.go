package admin

import (
	"net/http"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

func (h *Handler) listWorkspaceEvents(r *http.Request) (int, any, error) {
	ws, err := workspaceOf(r)
	if err != nil {
		return 0, nil, err
	}
	return h.events(r, "audit of "+ws, ws)
}

func (h *Handler) listEvents(r *http.Request) (int, any, error) { return h.events(r, "audit", "") }

func (h *Handler) events(r *http.Request, list, ws string) (int, any, error) {
	query, err := queryOf(r, "limit", "cursor")
	if err != nil {
		return 0, nil, err
	}
	page, err := pageOf(query, list, apikey.ValidEventID)
	if err != nil {
		return 0, nil, err
	}
	events, next, err := h.keys().Events(r.Context(), ws, page)
	if err != nil {
		return 0, nil, err
	}
	answer := client.EventPage{Events: make([]client.Event, 0, len(events)), NextCursor: cursorFor(list, next)}
	for _, e := range events {
		if e.Details == nil {
			e.Details = map[string]any{}
		}
		answer.Events = append(answer.Events, client.Event{
			ID: e.ID, At: e.At, Actor: e.Actor, RemoteIP: e.RemoteIP, Operation: string(e.Operation),
			WorkspaceID: e.WorkspaceID, KeyID: e.KeyID, Details: e.Details,
		})
	}
	return http.StatusOK, answer, nil
}
