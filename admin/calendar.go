package admin

import (
	"context"
	"net/http"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// showCalendar responds with a calendar of the ends of a workspace's active keys,
// or of one of them.
func (h *Handler) showCalendar(r *http.Request) (int, any, error) {
	ws, err := workspaceOf(r)
	if err != nil {
		return 0, nil, err
	}
	query, err := queryOf(r, "key")
	if err != nil {
		return 0, nil, err
	}
	if id := query.Get("key"); id != "" {
		return h.reminder(r.Context(), ws, id)
	}
	return h.calendar(r.Context(), ws)
}

// reminder returns a calendar with the end of one key, if it is active.
func (h *Handler) reminder(ctx context.Context, ws, id string) (int, any, error) {
	if !apikey.ValidKeyID(id) {
		return 0, nil, apikey.ErrNotFound
	}
	key, err := h.keys().Key(ctx, ws, id)
	if err != nil {
		return 0, nil, err
	}
	c := newCalendarWriter(ws, h.now())
	if key.Status(c.now) == apikey.Active {
		if err := c.add(key); err != nil {
			return 0, nil, err
		}
	}
	made, err := c.document()
	return http.StatusOK, made, err
}

// calendar responds with the ends of all active keys of a workspace.
func (h *Handler) calendar(ctx context.Context, ws string) (int, any, error) {
	share, err := h.shares.enter(ctx, ws)
	if err != nil {
		return 0, nil, err
	}
	keys, now := h.keys(), h.now()
	made, err := h.calendars.get(ctx, keys, ws, now, func(ctx context.Context) (calendar, error) {
		c := newCalendarWriter(ws, now)
		if err := keys.EachActive(ctx, ws, now, c.add); err != nil {
			return calendar{}, err
		}
		made, err := c.document()
		return calendar{document: made, until: c.until}, err
	})
	if err != nil {
		share.leave()
		return 0, nil, err
	}
	made.share = share
	return http.StatusOK, made, nil
}
